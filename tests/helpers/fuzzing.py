"""Random mutations of what people give to the commands. Whatever comes of one, a command ends with
a status, in time and memory that are bounded, and writes nothing but its output.

    python tests/helpers/fuzzing.py coco FOLDER 1000
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from semiconv_d2 import evaluation
from semiconv_d2.cli import check, convert, evaluate, report
from semiconv_d2.data.coco.checking import check_before_training
from semiconv_d2.errors import UserError
from semiconv_d2.evaluation.reading import load_truth, read_results
from semiconv_d2.inference.finding import find_config
from semiconv_d2.training import load_config
from semiconv_d2.training.run_folder import check_run_folder

sys.path.insert(0, str(Path(__file__).parent))
from small_coco import make_dataset, rectangle

SECONDS = 30  # for one mutation
MEMORY = 6 * 2**30  # bytes of address space, most of which PyTorch's libraries take

NAMES = (
    "../../evil.png",
    "/etc/passwd",
    "..\\x.png",
    "C:\\a.png",
    "a\0b",
    "\x1b[2J",
    "é" * 300,
    ".",
)
NUMBERS = (0, -1, 1, 0.5, 2**31, 2**63, 10**400, 1e9, -1e308, float("nan"), float("inf"))
ODD = (None, True, False, "", [], {}, [[]], [None], "x", "b'x'", "NaN", "1", "[1, 2]", [[[1]]])
LINES = (
    "",
    "0",
    "0 1 2",
    "a b c",
    "0 " + "0.5 " * 40_001,
    "0 nan nan nan nan nan nan",
    "\0",
    "9" * 999,
)


def odd_value(rng: np.random.Generator) -> object:
    values = (NAMES, NUMBERS, ODD)[rng.integers(3)]
    return copy.deepcopy(values[rng.integers(len(values))])


def mutate(content: object, rng: np.random.Generator) -> object:
    """A copy with one to three changes at random places."""
    content = copy.deepcopy(content)
    for _ in range(rng.integers(1, 4)):
        places = list(_places(content))
        if not places:
            break
        parent, key = places[rng.integers(len(places))]
        way = rng.integers(6)
        if way == 0:
            del parent[key]
        elif way == 1:
            parent[key] = [parent[key]]
        elif way == 2 and isinstance(parent, list):
            parent.extend(copy.deepcopy(parent[key : key + 1]) * int(rng.integers(1, 50)))
        elif way == 3 and isinstance(parent[key], int | float):
            parent[key] = parent[key] * float(10.0 ** rng.integers(-3, 8))
        elif way == 4:
            other, name = places[rng.integers(len(places))]
            parent[key] = copy.deepcopy(other[name])
        else:
            parent[key] = odd_value(rng)
    return content


def _places(value: object) -> Iterator[tuple]:
    """Parents and keys of all values within a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    for key, inner in items:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def fuzz_coco(folder: Path, numbers: range) -> None:
    content, root = make_dataset(folder)
    path = folder / "train.json"
    for number in numbers:
        path.write_text(json.dumps(mutate(content, np.random.default_rng(number))))
        with _watched(number):
            assert check.main([str(path), str(root), "--fix"]) in (0, 1)
            with contextlib.suppress(UserError):
                check_before_training(path, root)
        _only(folder, {"images", "train.json", "train_fixed.json"})


def fuzz_results(folder: Path, numbers: range) -> None:
    content, _ = make_dataset(folder)
    truth, path = folder / "truth.json", folder / "results.json"
    content["annotations"] = [a for a in content["annotations"] if not a["iscrowd"]]
    results = [
        {k: a[k] for k in ("image_id", "category_id", "segmentation", "bbox")} | {"score": 0.5}
        for a in content["annotations"]
    ]
    results[0]["segmentation"].append(rectangle(30, 20, 45, 30))
    for number in numbers:
        rng = np.random.default_rng(number)
        truth.write_text(json.dumps(content if number % 3 else mutate(content, rng)))
        path.write_text(json.dumps(results if not number % 3 else mutate(results, rng)))
        with _watched(number):
            assert evaluate.main([str(truth), str(path), "--measures", "coco", "s"]) in (0, 1)
        _only(folder, {"images", "truth.json", "results.json"})


def fuzz_yolo(folder: Path, numbers: range) -> None:
    root, output = folder / "yolo", folder / "out"
    square = "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"
    files = {
        "data.yaml": "train: images/train\nval: images/val\nnames: [cat, dog]\n",
        **{f"labels/{n}.txt": f"0 {square}\n1 {square}\n" for n in ("train/a", "train/b", "val/c")},
    }
    for name in ("train/a", "train/b", "val/c"):
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20)).save(root / "images" / f"{name}.png")
    for number in numbers:
        rng = np.random.default_rng(number)
        names = list(files)
        chosen = names[rng.integers(len(names))]
        for name, text in files.items():
            changed = _mutate_text(text, rng) if name == chosen else text
            (root / name).write_bytes(changed.encode("utf-8", "surrogateescape"))
        with _watched(number):
            strict = ["--strict"] if rng.integers(4) == 0 else []
            assert convert.main(["yolo", str(root), "--output", str(output), *strict]) in (0, 1)
        _only(folder, {"yolo", "out"})
        if output.exists():
            _only(output, {"images", "train.json", "val.json"})


def fuzz_run(folder: Path, numbers: range) -> None:
    """The folder of a run: its report, and whether it can be resumed or predict."""
    truth, root = make_dataset(folder)
    truth["annotations"] = [a for a in truth["annotations"] if not a["iscrowd"]]
    data, run = folder / "test.json", folder / "run"
    data.write_text(json.dumps(truth))
    keys = ["OWN_DATA.TEST_JSON", str(data), "OWN_DATA.TEST_IMAGES", str(root)]
    keys += ["OUTPUT_DIR", str(run), "MODEL.DEVICE", "cpu"]
    cfg = load_config("demo_semiconv", keys)
    found = [
        {k: a[k] for k in ("image_id", "category_id", "segmentation", "bbox")} | {"score": 0.5}
        for a in truth["annotations"]
    ]
    (folder / "found.json").write_text(json.dumps(found))
    loaded = load_truth(data)
    detections = evaluation.Detections(loaded, read_results(folder / "found.json", loaded))
    measured = evaluation.evaluate(detections, ["coco"], str(data)).to_json()
    losses = [{"iteration": i, "total_loss": 1 / (i + 1), "lr": 0.1} for i in (19, 39)]
    files = {
        "config.yaml": cfg.dump(),
        "run.json": json.dumps({"command": ["semiconv", "train"], "classes": ["a", "b"]}),
        "metrics.json": "".join(json.dumps(line) + "\n" for line in losses),
        "last_checkpoint": "model_0000039.pth",
        "inference/evaluation.json": json.dumps(measured),
        "inference/coco_instances_results.json": json.dumps(found),
    }
    (run / "inference").mkdir(parents=True)
    (run / "model_0000039.pth").write_bytes(b"")
    for number in numbers:
        rng = np.random.default_rng(number)
        chosen = list(files)[rng.integers(len(files))]
        for name, text in files.items():
            as_json = name == chosen and chosen.endswith("n.json") and rng.integers(2)
            if as_json:
                text = json.dumps(mutate(json.loads(text), rng))
            elif name == chosen:
                text = _mutate_text(text, rng)
            (run / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        with _watched(number):
            page = str(folder / "page.html")
            assert report.main([str(run), "--output", page, "--resamples", "0"]) in (0, 1)
            for look in (
                lambda: check_run_folder(cfg, resume=True),
                lambda: find_config(run),
                lambda: load_config(str(run / "config.yaml")),
            ):
                with contextlib.suppress(UserError):
                    look()
        _only(folder, {"images", "test.json", "found.json", "run", "page.html"})
        _only(run, {*(name.split("/")[0] for name in files), "model_0000039.pth"})


def _mutate_text(text: str, rng: np.random.Generator) -> str:
    for _ in range(rng.integers(1, 4)):
        begin, end = sorted(rng.integers(0, len(text) + 1, 2))
        way = rng.integers(4)
        if way == 0:
            text = text[:begin] + text[end:]
        elif way == 1:
            text = text[:begin] + LINES[rng.integers(len(LINES))] + text[begin:]
        elif way == 2:
            text = text[:begin] + chr(rng.integers(1, 0x250)) + text[begin + 1 :]
        else:
            text = text[:begin] + str(odd_value(rng))[:999] + text[end:]
    return text


FUZZ: dict[str, Callable[[Path, range], None]] = {
    "coco": fuzz_coco,
    "results": fuzz_results,
    "yolo": fuzz_yolo,
    "run": fuzz_run,
}


@contextlib.contextmanager
def _watched(number: int) -> Iterator[None]:
    """Names the mutation that goes wrong, and stops one that takes too long."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"{SECONDS} seconds")

    said = io.StringIO()
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield
    except BaseException as error:
        raise AssertionError(f"mutation {number}: {error!r}; said: {said.getvalue()}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert "\x1b[2J" not in said.getvalue(), number
    assert "Traceback" not in said.getvalue(), number


def _only(folder: Path, names: set[str]) -> None:
    assert {path.name for path in folder.iterdir()} <= names


if __name__ == "__main__":
    kind, where, count = sys.argv[1:4]
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    FUZZ[kind](Path(where), range(first, first + int(count)))
    print("fine")
