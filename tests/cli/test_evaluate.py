"""`tools/evaluate.py`, from the command line to the table and JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms
from semiconv_d2.evaluation import Detections, Threshold, load_truth
from semiconv_d2.report.differences import save_differences

TOOL = "tools/evaluate.py"
SECTIONS = ("mask AP", "box AP", "boundary AP", "AP^r", "S (", "contact: none", "errors")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Ground truth of two splits, and results there: `good` finds all, `poor` every second one."""
    folder = tmp_path_factory.mktemp("evaluate")
    prepare_synthetic_worms(folder / "worms", train_images=3, val_images=4)
    found = {split: folder / "worms" / f"{split}.json" for split in ("train", "val")}
    for split in ("train", "val"):
        truth = load_truth(found[split])
        results = [
            {k: a[k] for k in ("image_id", "category_id", "segmentation", "bbox")} | {"score": 0.9}
            for a in truth.dataset["annotations"]
        ]
        for name, chosen in (("good", results), ("poor", results[::2])):
            found[f"{name}_{split}"] = folder / f"{name}_{split}.json"
            found[f"{name}_{split}"].write_text(json.dumps(chosen))
    return found


def test_one_model(run_tool, files, tmp_path):
    status, out, err = run_tool(TOOL, files["val"], files["poor_val"], "--output", tmp_path / "out")
    assert status == 0, err
    for section in SECTIONS:
        assert f"\n{section}" in out
    assert (tmp_path / "out" / "evaluation.txt").read_text() == out
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    values = {row["key"]: row["values"] for row in content["rows"]}
    assert 45 < values["segm"]["AP"] < 55
    assert content["model"] == str(files["poor_val"])


def test_registered_names_and_a_score_of_other_images(run_tool, files):
    """The registered worms begin with the same images, drawn from the same seed."""
    status, out, err = run_tool(
        TOOL, "synthetic_worms_val", files["good_val"], "--measures", "s",
        "--threshold-from", "synthetic_worms_train", files["good_train"],
    )  # fmt: skip
    assert status == 0, err
    assert "score ≥ 0.900, chosen on synthetic_worms_train" in out
    assert out.rstrip().endswith("80.0")  # of its five images the results have four


def test_two_models(run_tool, files, tmp_path):
    status, out, err = run_tool(
        TOOL, files["val"], "--compare", files["poor_val"], files["good_val"],
        "--threshold-from", files["train"], files["poor_train"], files["good_train"],
        "--resamples", 50, "--output", tmp_path,
    )  # fmt: skip
    assert status == 0, err
    [line] = [line for line in out.splitlines() if line.startswith("S ")]
    a, b, difference = map(float, line.split()[2:5])
    assert b == 100
    assert difference == pytest.approx(b - a, abs=0.11)
    assert line.endswith("*")
    assert "bootstrap" in err  # progress of the draws
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert {"a", "b", "differences"} == set(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "{good_val}"), "nowhere is neither a JSON file nor a registered dataset"),
        (("gone.json", "{good_val}"), "cannot read gone.json"),
        (("{val}", "gone.json"), "cannot read gone.json"),
        (("{val}", "{good_val}", "--measures", "recall"), "unknown measure 'recall'"),
        (("{val}",), "give either RESULTS or --compare"),
        (("{val}", "{good_val}", "--compare", "{good_val}", "{good_val}"), "give either RESULTS"),
        (("{val}", "{good_val}", "--threshold-from", "{train}"), "one results file for each"),
        (("{good_val}", "{good_val}"), "list"),
        (("{val}", "{good_val}", "--max-detections", "0"), "--max-detections must be 1 or more"),
        (("{val}", "{good_val}", "--resamples", "-1"), "--resamples must be 0 or more"),
        (
            ("{val}", "{good_val}", "--score-threshold", "50"),
            "--score-threshold must be from 0 to 1",
        ),
        (
            ("{val}", "{good_val}", "--score-threshold", "nan"),
            "--score-threshold must be from 0 to 1",
        ),
        (
            ("{val}", "{good_val}", "--threshold-from", "{val}", "{good_val}"),
            "chosen on the tested images makes results look too good",
        ),
    ],
)
def test_what_cannot_be_done_is_said(run_tool, files, tmp_path, arguments, message):
    arguments = [a.format(**files) for a in arguments]
    output = tmp_path / "out"
    status, out, err = run_tool(TOOL, *arguments, "--output", output)
    assert status != 0
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not output.exists()


def test_pictures_of_what_changes(run_tool, files, tmp_path):
    folder, images = tmp_path / "pictures", files["val"].parent / "images"
    status, out, err = run_tool(
        TOOL, files["val"], "--compare", files["poor_val"], files["good_val"], "--measures", "s",
        "--pictures", folder, "--most", 3, "--image-root", images,
    )  # fmt: skip
    assert status == 0, err
    assert f"Pictures: 3 in {folder}" in out
    names = sorted(p.name for p in folder.iterdir())
    gains = [float(name.split("_")[1]) for name in names]
    assert gains == sorted(gains, reverse=True)  # all are gains: `good` finds all
    assert min(gains) > 0.3
    image = load_truth(files["val"]).imgs
    assert {n.split("_", 2)[2] for n in names} < {
        f"{Path(i['file_name']).stem}.png" for i in image.values()
    }


def test_close_ups_show_a_part_of_the_images(run_tool, files, tmp_path):
    one_less, folder = tmp_path / "results.json", tmp_path / "pictures"
    one_less.write_text(json.dumps(json.loads(files["good_val"].read_text())[1:]))
    arguments = (
        TOOL, files["val"], "--compare", files["good_val"], one_less, "--measures", "s",
        "--pictures", folder, "--most", 1, "--image-root", files["val"].parent / "images",
    )  # fmt: skip
    sizes = []
    for options in ((), ("--close-up",)):
        status, _, err = run_tool(*arguments, *options)
        assert status == 0, err
        (path,) = folder.iterdir()
        picture = np.asarray(Image.open(path).convert("RGB"))
        panel = picture[: len(picture) // 3, : picture.shape[1] // 2]
        sizes.append((picture.shape, (panel.std(axis=2) > 20).mean()))
        path.unlink()
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > 1.5 * sizes[0][1]  # instances are larger
    status, _, err = run_tool(TOOL, files["val"], files["good_val"], "--close-up")
    assert status == 2
    assert "--close-up needs --pictures" in err


def test_pictures_show_models_under_their_names(files, tmp_path, monkeypatch):
    """What A lacks is missing in its panel, and what changes is gained."""
    truth = load_truth(files["val"])
    good = json.loads(files["good_val"].read_text())
    threshold = Threshold(0.0, "given")
    by_model = {
        "less": Detections(truth, good[1:], threshold),
        "all": Detections(truth, good, threshold),
    }
    drawn = []
    monkeypatch.setattr(
        "semiconv_d2.report.differences.draw_differences",
        lambda *arguments: drawn.append(arguments) or Figure(),
    )
    root = files["val"].parent / "images"
    save_differences({**by_model}, root, tmp_path, most=len(truth.imgs))
    changed = [d for d in drawn if len(d[2]) != len(d[3])]
    [(_, instances, less, every, names, window, owners)] = changed
    assert names == ("less", "all")
    assert window is None
    assert len(less) + 1 == len(every) == len(instances)
    for masks, owner in zip((less, every), owners, strict=True):
        for mask, index in zip(masks, owner, strict=True):
            assert (mask & instances[index]).sum() > 0.5 * mask.sum()


def test_folders_are_checked_before_the_work(run_tool, files, tmp_path):
    (tmp_path / "file").touch()
    compare = (TOOL, "nowhere.json", "--compare", files["good_val"], files["poor_val"])
    for option in ("--output", "--pictures"):
        status, _, err = run_tool(*compare, option, tmp_path / "file")
        assert status == 2
        assert f"{option} {tmp_path / 'file'}: this is a file" in err


def test_pictures_of_models_whose_folders_have_dots(run_tool, files, tmp_path):
    results = []
    for name, source in (("sigma_0.1", "poor_val"), ("sigma_0.5", "good_val")):
        (tmp_path / name).mkdir()
        results.append(tmp_path / name / "results.json")
        results[-1].write_bytes(files[source].read_bytes())
    status, out, err = run_tool(
        TOOL, files["val"], "--compare", *results, "--measures", "s",
        "--pictures", tmp_path / "pictures", "--most", 2,
        "--image-root", files["val"].parent / "images",
    )  # fmt: skip
    assert status == 0, err
    assert "Pictures: 2" in out


def test_pictures_need_images_and_two_models(run_tool, files, tmp_path):
    alone = tmp_path / "val.json"
    alone.write_bytes(files["val"].read_bytes())
    compare = [TOOL, alone, "--compare", files["poor_val"], files["good_val"]]
    status, _, err = run_tool(*compare, "--pictures", tmp_path)
    assert status == 1
    assert "no folder of images" in err
    assert "give --image-root" in err
    beside = [TOOL, files["val"], *compare[2:], "--pictures", tmp_path / "p", "--measures", "s"]
    status, out, err = run_tool(*beside)  # whose folder has the images
    assert status == 0, err
    assert "Pictures: " in out
    status, _, err = run_tool(TOOL, files["val"], files["good_val"], "--pictures", tmp_path)
    assert status == 2
    assert "--compare" in err
    status, _, err = run_tool(
        *compare, "--pictures", tmp_path / "q", "--measures", "s", "--image-root", tmp_path
    )
    assert status == 1
    assert "4 images cannot be drawn, the first: " in err.replace("\n", " ")
    assert not (tmp_path / "q").exists()


WITHOUT = """
import runpy, sys
sys.modules["detectron2"] = None  # importing it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_images_that_are_given_need_no_detectron2(files, tmp_path):
    def run(*options):
        arguments = (TOOL, files["val"], *options, "--image-root", files["val"].parent / "images")
        return subprocess.run(
            [sys.executable, "-c", WITHOUT, *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )

    done = run(files["good_val"], "--within-foreground", "--measures", "coco")
    assert done.returncode == 0, done.stderr
    done = run("--compare", files["good_val"], files["poor_val"], "--pictures", tmp_path / "out")
    assert done.returncode == 2
    assert "--pictures needs Detectron2" in done.stderr


def test_within_the_foreground(run_tool, files, tmp_path):
    """Whole boxes for masks: cut to the foreground of a worm that lies alone they are right."""
    truth = load_truth(files["val"])
    height, width = (truth.imgs[1][k] for k in ("height", "width"))
    results = []
    for a in truth.dataset["annotations"]:
        left, top, w, h = a["bbox"]
        polygon = [left, top, left + w, top, left + w, top + h, left, top + h]
        results.append({**a, "segmentation": [polygon], "score": 0.9})
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps(results))
    assert (height, width) == (192, 192)
    images = files["val"].parent / "images"
    values = []
    for option in ([], ["--within-foreground", "--image-root", images]):
        folder = tmp_path / f"out{len(option)}"
        status, _, err = run_tool(
            TOOL, files["val"], boxes, "--measures", "coco", "--output", folder, *option
        )
        assert status == 0, err
        rows = json.loads((folder / "evaluation.json").read_text())["rows"]
        [segm] = [row["values"] for row in rows if row["key"] == "segm"]
        values.append(segm["AP50"])
    assert values[1] > values[0] + 10


def test_ranked_by_size(run_tool, files, tmp_path):
    """The same masks with and without scores, on equal terms: the same numbers."""
    truth = load_truth(files["val"])
    results = []
    for number, a in enumerate(truth.dataset["annotations"]):
        results.append({**a, "score": 0.9 if number % 3 else 0.2})
        if number % 3:
            path = tmp_path / "masks" / Path(truth.imgs[a["image_id"]]["file_name"]).stem
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 * truth.annToMask(a)).save(path / f"{number}.png")
    with_scores = tmp_path / "results.json"
    with_scores.write_text(json.dumps(results))
    values = []
    for name, path in (("scores", with_scores), ("masks", tmp_path / "masks")):
        status, _, err = run_tool(
            *(TOOL, files["val"], path, "--rank-by-size"),
            *("--measures", "coco", "s", "--output", tmp_path / name),
        )
        assert status == 0, err
        rows = json.loads((tmp_path / name / "evaluation.json").read_text())["rows"]
        values.append([row["values"] for row in rows])
    assert values[0] == values[1]
    assert 0 < values[0][0]["AP"] < 100
    assert (
        "ranked by size, of scores from 0.500 on"
        in (tmp_path / "scores/evaluation.txt").read_text()
    )
