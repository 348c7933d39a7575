"""`semiconv predict` on many images: stopped, resumed, in shards and in processes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from semiconv_d2 import Predictor
from semiconv_d2.data.formats.mask_files import read_labels
from semiconv_d2.inference.outputs.labels import label_instances

ROOT = Path(__file__).resolve().parents[2]
MODEL = ("--model", "demo_mask_rcnn", "--weights", ROOT / "checkpoints" / "demo_mask_rcnn.pth")
SMALL = ("--opts", "INPUT.MIN_SIZE_TEST", "192")


@pytest.fixture(scope="module")
def worms(datasets_folder, tmp_path_factory) -> Path:
    """A folder of four images, and one that is broken."""
    folder = tmp_path_factory.mktemp("worms")
    for path in sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[:4]:
        shutil.copy(path, folder)
    (folder / "broken.png").write_text("no image")
    return folder


@pytest.fixture
def predict(run_tool, worms):
    """Runs the command on the images with the results in a folder, and more options."""

    def run(folder: Path, *options) -> tuple[int, str, str]:
        results = ("--coco", folder / "r.json", "--table", folder / "t.csv")
        words = ("predict", *MODEL, "--input", worms, *results, *options, *SMALL)
        return run_tool("semiconv_d2/__main__.py", *words)

    return run


@pytest.fixture(scope="module")
def whole(worms, tmp_path_factory) -> Path:
    """Results of one command that ran to its end."""
    from semiconv_d2.cli import main

    folder = tmp_path_factory.mktemp("whole")
    results = ("--coco", folder / "r.json", "--table", folder / "t.csv")
    words = ("predict", *MODEL, "--input", worms, *results, *SMALL)
    assert main([str(word) for word in words]) == 1  # one is broken
    return folder


def same(one: Path, other: Path) -> bool:
    return all((one / n).read_bytes() == (other / n).read_bytes() for n in ("r.json", "t.csv"))


def stop_at(monkeypatch, count: int) -> list[str]:
    """Stops a command when it looks at its image of this number; the list gets the images."""
    looked: list[str] = []
    detect = Predictor.detect

    def stop(self, image):
        looked.append(Path(image).name)
        if len(looked) == count:
            raise KeyboardInterrupt
        return detect(self, image)

    monkeypatch.setattr(Predictor, "detect", stop)
    return looked


def test_ids_are_unique_and_the_broken_image_has_none(whole, worms):
    results = json.loads((whole / "r.json").read_text())
    names = sorted(p.name for p in worms.glob("*.png") if p.name != "broken.png")
    ids = {Path(r["file_name"]).name: r["image_id"] for r in results}
    assert ids == {name: number for number, name in enumerate(names, start=1)}
    with (whole / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["image"] for r in rows] == [r["file_name"] for r in results]
    assert [float(r["score"]) for r in rows] == pytest.approx([r["score"] for r in results], 1e-5)


def test_what_is_done_stays_done(predict, whole, worms, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        looked = stop_at(patch, 4)  # one is broken
        status, _, err = predict(tmp_path)
        assert (status, err.strip().splitlines()[-1]) == (
            *(1, "error: stopped; what is done is kept, and --resume goes on"),
        )
    status, _, err = predict(tmp_path)
    assert status == 1
    assert "r.json.parts has 3 inputs of an earlier command: add --resume" in err
    with monkeypatch.context() as patch:
        again = stop_at(patch, 100)
        status, out, err = predict(tmp_path, "--resume")
    assert "4 of 5 inputs" in out
    assert "broken.png: cannot" in err
    assert set(again) == {*looked[-1:], "broken.png", *sorted(p.name for p in worms.iterdir())[4:]}
    assert same(whole, tmp_path)


def test_a_command_with_other_options_cannot_go_on(predict, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        predict(tmp_path)
    status, _, err = predict(tmp_path, "--resume", "--score-threshold", "0.9")
    assert status == 1
    assert "begun with --score-threshold 0.5, and now it is 0.9" in err


def test_shards_give_the_results_of_one_command(predict, whole, tmp_path):
    for k in (3, 1):
        status, out, _ = predict(tmp_path, "--shard", f"{k}/3")
        assert f"This was shard {k}/3" in out
        assert not (tmp_path / "r.json").exists()
    status, out, _ = predict(tmp_path, "--shard", "2/3")
    assert status == 1  # a shard of the others has the broken image
    assert "4 of 5 inputs" in out
    assert same(whole, tmp_path)
    (tmp_path / "r.json").unlink()
    predict(tmp_path, "--resume")  # joins them again
    assert same(whole, tmp_path)


def test_processes_of_torchrun_are_shards(predict, whole, tmp_path, monkeypatch):
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        predict(tmp_path)
    assert same(whole, tmp_path)


def test_a_command_that_ended_well_leaves_its_results_alone(run_tool, worms, tmp_path):
    image = next(p for p in sorted(worms.iterdir()) if p.name != "broken.png")
    words = ("predict", *MODEL, "--input", image, "--coco", tmp_path / "r.json", *SMALL)
    for run in range(2):
        status, out, err = run_tool("semiconv_d2/__main__.py", *words)
        assert status == 0, err
        assert ("has earlier results" in out) == (run == 1)
        assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_mistakes_are_found_before_the_work(run_tool, worms, tmp_path):
    for words, message in (
        (("--resume",), "need results to write"),
        (("--processes", "2"), "need results to write"),
        (("--table", tmp_path / "t.xlsx"), "must end in .csv or .parquet"),
        (("--coco", tmp_path / "r.json", "--shard", "5/4"), "from 1 to 4"),
        (("--table", tmp_path / "t.csv", "--pixel-size", "2"), "--unit um"),
        (("--coco", tmp_path / "r.json", "--pixel-size", "2", "--unit", "um"), "needs --table"),
        (("--labels", tmp_path, "--channel", "1", "2"), "--channel takes one number"),
        (("--labels", tmp_path, "--plane", "-1"), "--plane"),
        (("--labels", tmp_path, "--show", "seeds"), "with --output"),
        (("--coco", tmp_path / "r.csv", "--table", tmp_path / "r.csv"), "--coco and --table are"),
        (("--coco", tmp_path / "r", "--labels", tmp_path / "x" / ".." / "r"), "are both"),
        (("--labels", tmp_path, "--tile", "big"), "'big' is no number of pixels"),
        (("--table", tmp_path / "t.csv", "--pixel-size", "2", "--unit", " "), "--unit must have"),
    ):
        status, _, err = run_tool(
            "semiconv_d2/__main__.py", "predict", "--model", "nowhere", "--input", worms, *words
        )
        assert status, words
        assert message in err


def test_what_a_command_reads_is_never_replaced(run_tool, tmp_path):
    """An image and the ground truth stay, whichever option would write over them."""
    folder = tmp_path / "wells"
    folder.mkdir()
    for name in ("well.png", "well_labels.png", "well_masks.png", "well.json"):
        (folder / name).write_text(name)
    well, truth = folder / "well.png", folder / "well.json"
    for words, message in (
        ((well, "--coco", well), f"--coco would replace {well}, which this command reads"),
        ((well, "--coco", truth, "--annotations", truth), "--coco would replace"),
        ((folder / "*.png", "--labels", folder), "well_labels.png, which this command reads"),
        ((folder / "*.png", "--output", folder), "well_masks.png, which this command reads"),
        ((folder, "--labels", folder), "is a folder of --input"),
        ((folder, "--output", tmp_path / "x" / ".." / "wells"), "is a folder of --input"),
    ):
        status, _, err = run_tool(
            "semiconv_d2/__main__.py", "predict", "--model", "nowhere", "--input", *words
        )
        assert status, words
        assert message in err
        assert all(path.read_text() == path.name for path in folder.iterdir())


def test_all_results_at_once_of_images_in_subfolders(run_tool, worms, tmp_path):
    for package in ("roifile", "shapely"):
        pytest.importorskip(package)
    images = [p for p in sorted(worms.iterdir()) if p.name != "broken.png"]
    for folder, path in zip(("a", "b"), images, strict=False):
        (tmp_path / "in" / folder).mkdir(parents=True)
        shutil.copy(path, tmp_path / "in" / folder / "well.png")
    status, out, err = run_tool(
        *("semiconv_d2/__main__.py", "predict", *MODEL),
        *("--input", tmp_path / "in" / "**" / "*.png", "--labels", tmp_path / "labels"),
        *("--rois", tmp_path / "rois", "--geojson", tmp_path / "geojson", *SMALL),
    )
    assert status == 0, err
    assert "Label images: " in out
    assert "Pictures" not in out
    names = {p.parent.name: {f.name for f in p.parent.iterdir()} for p in tmp_path.glob("*/*.*")}
    assert names == {
        "labels": {"well_labels.png", "well_2_labels.png"},
        "rois": {"well_rois.zip", "well_2_rois.zip"},
        "geojson": {"well.geojson", "well_2.geojson"},
    }
    predictor = Predictor.load(MODEL[1], weights=MODEL[3], overrides=SMALL[1:])
    expected = label_instances(predictor.detect(images[1]))
    assert expected.max() > 2
    np.testing.assert_array_equal(read_labels(tmp_path / "labels" / "well_2_labels.png"), expected)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
def test_a_plane_of_a_stack(run_tool, worms, tmp_path, kind, depth):
    """The plane of a stack is found as the same image alone is, at any depth."""
    path = next(p for p in sorted(worms.iterdir()) if p.name != "broken.png")
    grey = np.asarray(Image.open(path).convert("L"))
    stack = np.stack([np.zeros_like(grey), grey]).astype(depth)
    tifffile.imwrite(tmp_path / "s.tif", stack, **{kind: True}, metadata={"axes": "ZYX"})
    words = ("predict", *MODEL, "--coco", tmp_path / "r.json", "--input", tmp_path / "s.tif")
    status, _, err = run_tool("semiconv_d2/__main__.py", *words, *SMALL)
    assert status == 1
    assert "has 2 pages: choose one of them by INPUT.PAGES" in err
    assert "--plane N" in err
    fixed = ("INPUT.INTENSITY_RANGE", "bounds 0 255")
    status, _, err = run_tool("semiconv_d2/__main__.py", *words, "--plane", "1", *SMALL, *fixed)
    assert status == 0, err
    predictor = Predictor.load(MODEL[1], weights=MODEL[3], overrides=SMALL[1:])
    found = predictor.detect(grey)
    assert len(found) > 2
    results = json.loads((tmp_path / "r.json").read_text())
    assert [r["score"] for r in results] == pytest.approx(found.scores.tolist(), abs=1e-5)


def test_a_channel_of_an_image_with_alpha(run_tool, worms, tmp_path):
    path = next(p for p in sorted(worms.iterdir()) if p.name != "broken.png")
    grey = np.asarray(Image.open(path).convert("L"))
    noise = np.random.default_rng(0).integers(0, 255, grey.shape, np.uint8)
    Image.fromarray(np.dstack([noise, grey, noise, noise]), "RGBA").save(tmp_path / "c.png")
    words = ("predict", *MODEL, "--coco", tmp_path / "r.json", "--input", tmp_path / "c.png")
    status, _, err = run_tool("semiconv_d2/__main__.py", *words, "--channel", "1", *SMALL)
    assert status == 0, err
    predictor = Predictor.load(MODEL[1], weights=MODEL[3], overrides=SMALL[1:])
    results = json.loads((tmp_path / "r.json").read_text())
    expected = predictor.detect(grey).scores.tolist()
    assert [r["score"] for r in results] == pytest.approx(expected, abs=1e-5)


def start(worms: Path, folder: Path, *options) -> subprocess.Popen:
    results = ("--coco", folder / "r.json", "--table", folder / "t.csv")
    words = (*MODEL, "--input", worms, *results, *options, *SMALL)
    command = [sys.executable, "-m", "semiconv_d2", "predict", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.slow
def test_processes_give_the_results_of_one_command(worms, whole, tmp_path):
    assert start(worms, tmp_path, "--processes", "2").wait(timeout=300) == 1  # one is broken
    assert same(whole, tmp_path)


@pytest.mark.slow
def test_a_killed_process_goes_on(worms, whole, tmp_path):
    process = start(worms, tmp_path)
    deadline = time.monotonic() + 300
    file = tmp_path / "r.json.parts" / "1_of_1.jsonl"
    while not (file.exists() and file.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start(worms, tmp_path, "--resume").wait(timeout=300) == 1
    assert same(whole, tmp_path)


def test_earlier_results_stay_if_no_image_can_be_read(run_tool, worms, tmp_path):
    (tmp_path / "r.json").write_text("[1]")
    words = ("predict", *MODEL, "--input", worms / "broken.png", "--coco", tmp_path / "r.json")
    status, _, err = run_tool("semiconv_d2/__main__.py", *words, *SMALL)
    assert status == 1
    assert "broken.png" in err
    assert (tmp_path / "r.json").read_text() == "[1]"
