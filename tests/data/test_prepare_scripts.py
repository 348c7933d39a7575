"""The scripts in `datasets/`, run as a person runs them."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets import prepared
from semiconv_d2.data.datasets import voc as voc_reader
from semiconv_d2.data.datasets.dots import DotSettings, draw_dots


@pytest.fixture
def run(scripts, tmp_path, monkeypatch, capsys):
    """Run a script in this process: what it printed, and the message that it ended with."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "all"))

    def run(script: str, *arguments: object) -> tuple[list[str], str | None]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(scripts / script), run_name="__main__")
        out, err = capsys.readouterr()
        return out.splitlines(), err.splitlines()[-1] if end.value.code else None

    return run


def test_voc(run, voc, tmp_path):
    out, message = run("prepare_voc.py", voc)
    folder = tmp_path / "all" / "voc_2012"
    assert message is None
    assert out[-1] == f"wrote 3 images with 4 instances (train 2 with 3, val 1 with 1) to {folder}"
    assert {path.name for path in folder.iterdir()} == {"train.json", "val.json", "images"}

    out, _ = run("prepare_voc.py", voc, "--year", 2007)
    assert out[-1].endswith(f"to {tmp_path / 'all' / 'voc_2007'}")
    out, _ = run("prepare_voc.py", voc, "--output", tmp_path / "out")
    assert out[-1].endswith(f"to {tmp_path / 'out'}")


def test_bbbc010(run, bbbc010, tmp_path):
    out, message = run("prepare_bbbc010.py", bbbc010)
    folder = tmp_path / "all" / "bbbc010"
    assert message is None
    assert out[-1] == f"wrote 2 images with 4 instances (train 1 with 2, test 1 with 2) to {folder}"
    assert {path.name for path in folder.iterdir()} == {"train.json", "test.json", "images"}
    out, _ = run("prepare_bbbc010.py", bbbc010, "--output", tmp_path / "out")
    assert out[-1].endswith(f"to {tmp_path / 'out'}")


def test_cvppp_a1(run, cvppp_a1, tmp_path):
    out, message = run("prepare_cvppp_a1.py", cvppp_a1)
    folder = tmp_path / "all" / "cvppp_a1"
    assert message is None
    assert out[-1] == f"wrote 3 images with 6 instances (train 2 with 4, test 1 with 2) to {folder}"
    assert (folder / "images").resolve() == cvppp_a1.resolve()
    out, _ = run("prepare_cvppp_a1.py", cvppp_a1, "--output", tmp_path / "out")
    assert out[-1].endswith(f"to {tmp_path / 'out'}")


def test_dsb2018(run, dsb2018, tmp_path):
    out, message = run("prepare_dsb2018.py", dsb2018)
    folder = tmp_path / "all" / "dsb2018"
    assert message is None
    assert out[-1] == f"wrote 3 images with 6 instances (train 2 with 4, test 1 with 2) to {folder}"
    assert (folder / "images").resolve() == dsb2018.resolve()


def test_sbd(run, sbd, tmp_path):
    out, message = run("prepare_sbd.py", sbd)
    folder = tmp_path / "all" / "sbd"
    assert message is None
    assert out[-1] == f"wrote 4 images with 9 instances (train 3 with 7, val 1 with 2) to {folder}"
    assert {path.name for path in folder.iterdir()} == {"train.json", "val.json", "images"}
    out, _ = run("prepare_sbd.py", sbd, "--output", tmp_path / "out")
    assert out[-1].endswith(f"to {tmp_path / 'out'}")


def test_the_union_of_sbd_and_voc(run, sbd, voc, tmp_path):
    out, message = run("prepare_sbd.py", sbd, "--voc", voc)
    folder = tmp_path / "all" / "sbd_voc_2012"
    assert message is None
    assert out[-1] == (
        f"wrote 4 images with 7 instances (train 4 with 7) to {folder}; images of VOC 2012 val "
        f"left out: 1, images of both with VOC's annotation: 1"
    )
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["sbd_voc_2012"]
    assert {path.name for path in folder.iterdir()} == {"train.json", "images"}
    out, _ = run("prepare_sbd.py", sbd, "--voc", voc, "--output", tmp_path / "out")
    assert f"to {tmp_path / 'out'};" in out[-1]


def test_dots(run, tmp_path, read_masks):
    out, message = run(
        *("prepare_dots.py", "--seed", 3, "--train-images", 2, "--val-images", 1),
        *("--rows", 2, 2, "--columns", 3, 3, "--radius", 3, "--spacing", 9, "--margin", 2),
        *("--offset", 4, "--size", 40, 50, "--background", "noise", "--noise", 5),
    )
    folder = tmp_path / "all" / "dots"
    assert message is None
    assert (
        out[-1] == f"wrote 3 images with 18 instances (train 2 with 12, val 1 with 6) to {folder}"
    )
    settings = DotSettings((2, 2), (3, 3), 3, 9, 2, 4, (40, 50), "noise", 5)
    for index, split in enumerate(("train", "val")):
        for number, (name, dots) in enumerate(read_masks(folder / f"{split}.json").items()):
            image, masks = draw_dots(settings, np.random.default_rng((3, index, number)))
            np.testing.assert_array_equal([mask for mask, _ in dots], masks)
            np.testing.assert_array_equal(Image.open(folder / "images" / name), image)
    out, _ = run(
        *("prepare_dots.py", "--output", tmp_path / "out"),
        *("--train-images", 1, "--val-images", 1),
    )
    assert out[-1].endswith(f"to {tmp_path / 'out'}")


def test_synthetic_worms(run, tmp_path, read_masks):
    out, message = run(
        *("prepare_synthetic_worms.py", "--seed", 3, "--train-images", 2, "--val-images", 1),
        *("--size", 100, 140, "--worms", 2, 2, "--width", 5, 6, "--length", 50, 60),
        *("--crowding", 1),
    )
    folder = tmp_path / "all" / "synthetic_worms"
    assert message is None
    assert out[-1] == f"wrote 3 images with 6 instances (train 2 with 4, val 1 with 2) to {folder}"
    for worms in read_masks(folder / "train.json").values():
        assert [mask.shape for mask, _ in worms] == [(100, 140)] * 2
    out, _ = run(
        *("prepare_synthetic_worms.py", "--output", tmp_path / "out"),
        *("--train-images", 1, "--val-images", 1),
    )
    assert out[-1].endswith(f"to {tmp_path / 'out'}")


@pytest.mark.parametrize(
    ("script", "dataset", "expected", "found"),
    [
        ("prepare_voc.py", "bbbc010", "JPEGImages", "BBBC010_v1_foreground/"),
        ("prepare_bbbc010.py", "voc", "BBBC010_v1_foreground_eachworm", "JPEGImages/"),
        ("prepare_sbd.py", "voc", "benchmark_RELEASE/dataset", "JPEGImages/"),
    ],
)
def test_the_wrong_data_set_as_root(run, request, tmp_path, script, dataset, expected, found):
    out, message = run(script, request.getfixturevalue(dataset))
    before, after = message.split("found: ")
    assert before.startswith("error: ")
    assert expected in before
    assert found in after
    assert out == []
    assert not (tmp_path / "all").exists()


def test_settings_that_cannot_be(run):
    _, message = run("prepare_synthetic_worms.py", "--crowding", 2)
    assert message == "error: crowding must be in [0, 1]: 2.0"
    _, message = run("prepare_dots.py", "--radius", 0)
    assert message == "error: radius must be at least 1: 0"


def test_an_interrupted_run_leaves_no_json(run, voc, tmp_path, monkeypatch):
    run("prepare_voc.py", voc)
    read, calls = voc_reader.read_instances, []

    def interrupted(root, name):
        calls.append(name)
        if name == "two":
            raise KeyboardInterrupt
        return read(root, name)

    monkeypatch.setattr(voc_reader, "read_instances", interrupted)
    out, message = run("prepare_voc.py", voc)
    assert calls == ["one", "empty", "two"]
    assert out == []
    assert message == "error: interrupted; nothing is prepared"
    assert {path.name for path in (tmp_path / "all" / "voc_2012").iterdir()} == {"images"}


def test_a_full_disk_leaves_no_json(run, voc, tmp_path, monkeypatch):
    write = prepared.write_json

    def fail_second(content: dict, path: Path) -> None:
        if path.name == "val.json":
            raise OSError("no space left")
        write(content, path)

    monkeypatch.setattr(prepared, "write_json", fail_second)
    _, message = run("prepare_voc.py", voc)
    assert message == "error: no space left"
    assert {path.name for path in (tmp_path / "all" / "voc_2012").iterdir()} == {"images"}


WITHOUT_DETECTRON2 = """
import runpy, sys
sys.modules["detectron2"] = sys.modules["torch"] = None  # importing either fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_readers_and_scripts_work_without_detectron2(scripts, voc, sbd, bbbc010, tmp_path):
    for arguments in (
        ("prepare_voc.py", voc),
        ("prepare_sbd.py", sbd, "--voc", voc),
        ("prepare_bbbc010.py", bbbc010),
        ("prepare_dots.py", "--train-images", 1, "--val-images", 1),
        ("prepare_synthetic_worms.py", "--train-images", 1, "--val-images", 1),
    ):
        script, *rest = map(str, arguments)
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_DETECTRON2, str(scripts / script), *rest]
            + ["--output", str(tmp_path / script)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("wrote ")


def test_an_error_is_one_line_and_exit_status_1(scripts, voc, bbbc010):
    def fail(script: str, root: Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, f"datasets/{script}", str(root), "--output", str(root / "out")],
            cwd=scripts.parent,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        return [line for line in done.stderr.splitlines() if line]

    (line,) = fail("prepare_voc.py", voc.parent)
    assert line.startswith(f"error: {voc.parent} is not a year of a VOCdevkit")
    spoilt = bbbc010 / "BBBC010_v1_foreground" / "A02_binary.png"
    spoilt.write_bytes(b"")
    *progress, line = fail("prepare_bbbc010.py", bbbc010)
    assert line.startswith(f"error: cannot read the image {spoilt}")
    assert all(line.startswith("train: ") for line in progress)
