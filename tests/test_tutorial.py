"""The commands of README and of the tutorial on data of one's own, as they are printed."""

import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from detectron2.config import get_cfg

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "tutorials" / "own_data.md").read_text(encoding="utf-8")
PREDICT = (ROOT / "docs" / "how_to" / "predict.md").read_text(encoding="utf-8")
ATTACHING = (ROOT / "docs" / "tutorials" / "attaching.md").read_text(encoding="utf-8")
LARGE, SMALL, STOCK = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SHORT = ("SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()")


def commands_of(text: str) -> list[list[str]]:
    """Every `semiconv` command in the code blocks of a document, in words."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    shell = "".join(block for language, block in blocks if not language)
    lines = shell.replace("\\\n", " ").splitlines()
    return [line.split()[1:] for line in lines if line.startswith("semiconv ")]


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


@pytest.fixture
def clone(tmp_path) -> Path:
    """What the tutorial supposes: configs of a clone, images of discs, and their label images."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for folder in ("images", "labels", "new_images"):
        (tmp_path / folder).mkdir()
    random = np.random.default_rng(0)
    for number in range(10):
        labels = np.zeros((96, 96), np.uint16)
        for label in range(1, 5):
            centre = random.integers(16, 80, 2).tolist()
            cv2.circle(labels, centre, 12, label, cv2.FILLED)
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), labels)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), 40 + 30 * labels.astype(np.uint8))
    for number in range(2):
        shutil.copy(tmp_path / "images" / f"{number}.png", tmp_path / "new_images")
    return tmp_path


def test_data_of_ones_own_from_label_images_to_comparison(clone, run_tool, quick):
    def run(words: list[str]) -> str:
        keys = (*SHORT, *quick) if words[0] == "train" else ()
        status, out, err = run_tool("semiconv_d2/__main__.py", *words, *keys, cwd=clone)
        assert status == 0, (words, out[-1000:], err)
        return out

    for words in commands_of(section(PAGE, "1. ")):
        run(words)
    made = {path.name for path in (clone / "prepared").iterdir()}
    assert made == {"images", "train.json", "val.json", "train_fit.json", "train_holdout.json"}

    check, train, predict = commands_of(section(README, "Train on your own data"))
    assert check == commands_of(section(PAGE, "3. "))[0]
    assert [train] == commands_of(section(PAGE, "4. "))
    for config in (LARGE, SMALL):
        (clone / "mine.yaml").write_text(config)
        said = run(check)
        assert said.count("training starts with this dataset") == 2
        assert "does not start" not in said
    run(train)
    assert (clone / "output" / "mine" / "inference" / "evaluation.txt").is_file()
    run(predict)
    for words in commands_of(section(PAGE, "5. ")):
        run(words)
    assert len(list((clone / "pictures").iterdir())) == 2
    assert len(list((clone / "labels").glob("*_labels.png"))) == 2
    assert isinstance(json.loads((clone / "results.json").read_text()), list)

    trained = (clone / "output" / "mine" / "inference" / "evaluation.txt").read_text()
    for words in commands_of(section(PREDICT, "Measure the results")):
        said = run(words)
    [row] = [line for line in trained.splitlines() if line.startswith("mask AP  ")]
    assert row.split()[2:5] == next(
        line.split()[2:5] for line in said.splitlines() if line.startswith("mask AP  ")
    )

    (clone / "mine_stock.yaml").write_text(STOCK)
    for words in commands_of(section(PAGE, "Is it better")):
        said = run(words)
    assert "mask AP" in said
    assert (clone / "report.html").is_file()


@pytest.fixture
def real_wells(real_bbbc010, tmp_path) -> Path:
    """What predict.md supposes: a run, here of the shipped model, two real wells, and stacks."""
    from PIL import Image

    from semiconv_d2 import add_semiconv_config, get_config_file

    cfg = get_cfg()
    add_semiconv_config(cfg)
    cfg.merge_from_file(get_config_file("bbbc010_small_semiconv"))
    cfg.MODEL.DEVICE = "cpu"
    run = tmp_path / "output" / "mine"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(cfg.dump())
    checkpoint = ROOT / "checkpoints" / "bbbc010_small_one_stage.pth"
    shutil.copy(checkpoint, run / "model_final.pth")
    for folder in ("wells", "stacks"):
        (tmp_path / folder).mkdir()
    for well in ("C04", "D18"):
        [path] = (real_bbbc010 / "BBBC010_v1_foreground").glob(f"{well}_*")
        image = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(image).save(tmp_path / "wells" / f"{well}.png")
        stack = np.stack([np.zeros_like(image), image]).astype(np.uint16) * 16
        tifffile.imwrite(tmp_path / "stacks" / f"{well}.tif", stack, imagej=True)
    return tmp_path


def test_from_images_to_results(real_wells, run_tool, monkeypatch):
    """The commands of predict.md on real images. Those that train or start processes are left to
    other tests."""
    for package in ("roifile", "shapely"):
        pytest.importorskip(package, reason=f"pip install {package}")
    commands = commands_of(PREDICT.replace(section(PREDICT, "Measure the results"), ""))
    commands = [c for c in commands if c[0] == "predict" and "--processes" not in c]
    assert len(commands) == 7
    said = []
    for words in commands:
        status, out, err = run_tool("semiconv_d2/__main__.py", *words, cwd=real_wells)
        assert status == 0, (words, err)
        said.append(out)
    counts = {line for out in said for line in out.splitlines() if line.startswith("2 of 2 inputs")}
    assert len(counts) == 1  # each command finds the same, in stacks too
    files = {p.relative_to(real_wells).as_posix() for p in real_wells.rglob("*") if p.is_file()}
    assert {
        *("results.json", "worms.csv", "shared.json", "planes.json", "labels/C04_labels.png"),
        *("layers/C04_labels.tif", "rois/C04_rois.zip", "geojson/C04.geojson"),
    } <= files
    results = json.loads((real_wells / "results.json").read_text())
    assert results == json.loads((real_wells / "shared.json").read_text())
    assert len(results) > 10
    assert {p.name for p in real_wells.glob("*.parts")} == {"shared.json.parts"}
    [code] = re.findall(r"```python\n(.*?)```", PREDICT, re.DOTALL)
    monkeypatch.chdir(real_wells)
    made: dict = {}
    exec(code, made)
    assert len(made["rows"]) == len(made["detections"]) > 5
    assert (real_wells / "C04_rois.zip").read_bytes()


def test_the_commands_on_a_project_see_its_datasets_and_runs(clone, run_tool, quick):
    """What attaching.md says under "The commands on your project"."""
    page = section(ATTACHING, "The commands on your project")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    check, report = commands_of(page)
    status, _, err = run_tool("semiconv_d2/__main__.py", *commands_of(PAGE)[0], cwd=clone)
    assert status == 0, err
    (clone / "myproject.py").write_text(
        "from detectron2.data.datasets import register_coco_instances\n"
        "for split in ('train', 'val'):\n"
        "    name = f'mycells_{split}'\n"
        "    register_coco_instances(name, {}, f'prepared/{split}.json', 'prepared/images')\n"
    )
    (clone / "train.py").write_text(
        "import sys\n"
        "import myproject\n"
        "import semiconv_d2\n"
        "from detectron2.config import CfgNode, get_cfg\n"
        "from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup\n"
        f"{code}\n"
        "args = default_argument_parser().parse_args()\n"
        "cfg = get_cfg()\n"
        "semiconv_d2.add_semiconv_config(cfg)\n"
        "cfg.MYPROJECT = CfgNode({'KEY': 1})\n"
        "cfg.merge_from_file(args.config_file)\n"
        "cfg.merge_from_list(args.opts)\n"
        "default_setup(cfg, args)\n"
        "trainer = MyTrainer(cfg)\n"
        "trainer.resume_or_load()\n"
        "trainer.train()\n"
    )
    for name, heads in (("stock", "StandardROIHeads"), ("semiconv", "SemiConvROIHeads")):
        status, _, err = run_tool(
            clone / "train.py", "--config-file", "configs/demo_semiconv.yaml", *quick, *SHORT,
            "MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ROOT / "checkpoints" / "demo_mask_rcnn.pth",
            "MODEL.ROI_HEADS.NAME", heads, "DATASETS.TRAIN", "('mycells_train',)",
            "DATASETS.TEST", "('mycells_val',)", "OUTPUT_DIR", f"output/{name}", cwd=clone,
        )  # fmt: skip
        assert status == 0, err
        sys.modules.pop("myproject")
    for words in (check, report):
        status, _, err = run_tool("semiconv_d2/__main__.py", *words, cwd=clone)
        assert status == 0, (words, err)
        sys.modules.pop("myproject")
    assert "mask AP" in (clone / "report.html").read_text()
    status, _, err = run_tool(
        *("semiconv_d2/__main__.py", "predict", "--model", "output/semiconv"),
        *("--input", "new_images", "--json", "results.json"),
        cwd=clone,
    )
    assert status == 0, err
    assert (clone / "results.json").is_file()
