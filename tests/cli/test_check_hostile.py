"""What `semiconv check` says last, what --fix leaves alone, and input that ends a process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
from small_coco import HEIGHT, WIDTH, each, instance, make_dataset, put, rectangle

from semiconv_d2.cli import check, evaluate
from semiconv_d2.data.coco.segmentations import (
    LONGEST,
    decode_mask,
    draw_polygons,
    outline_length,
)
from semiconv_d2.errors import DatasetError
from semiconv_d2.writing import write_json


@pytest.fixture
def run(tmp_path, capsys):
    """Check the small dataset after a change: status, and what was said."""

    def run(change, *options: str) -> tuple[int, list[str]]:
        if not (tmp_path / "images").exists():
            run.content, run.root = make_dataset(tmp_path)
        change(run.content, run.root)
        write_json(run.content, tmp_path / "train.json")
        capsys.readouterr()
        status = check.main([str(tmp_path / "train.json"), str(run.root), "--no-images", *options])
        out = capsys.readouterr().out
        return status, out.strip().splitlines()

    return run


def nothing(content: dict, root: Path) -> None:
    pass


def test_the_last_line_says_whether_training_starts(run):
    assert run(nothing) == (0, run(nothing)[1])
    assert run(nothing)[1][-1] == "0 errors, 0 warnings: training starts with this dataset"
    status, said = run(put("annotations", 0, bbox=None))
    assert status == 1
    assert said[-1] == (
        "1 error, 0 warnings: training does not start with this dataset; --fix writes a mended copy"
    )


def test_drops_are_named_with_their_reason(run, tmp_path):
    status, said = run(
        put("annotations", 0, segmentation=[]), "--fix", "--output", str(tmp_path / "o")
    )
    assert status == 0
    assert said[-1].startswith("wrote ")
    index = said.index("dropped: 1")
    assert said[index + 1].endswith(
        "its segmentation is empty → drop the annotation, which becomes background"
    )
    assert said[index + 2].startswith("1 of them are instances in images that stay")
    assert "its segmentation is empty" in (tmp_path / "o" / "changes.txt").read_text()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            each((0, 1, 3), lambda a: instance(a["id"], a["image_id"], 1, 40, 5, 80, 20 + a["id"])),
            "the dataset: 3 of 6 instances reach out of their image",
        ),
        (
            each((0, 1), lambda a: {"iscrowd": 1, "bbox": None}),
            "the dataset: 3 of 6 instances are crowds",
        ),
    ],
)
def test_a_copy_that_is_something_else_is_not_written(run, tmp_path, change, reason):
    status, said = run(change, "--fix")
    assert status == 1
    assert said[-1].startswith(f"nothing is written: {reason}")
    assert not (tmp_path / "train_fixed.json").exists()


def test_the_last_line_counts_what_is_dropped(run):
    status, said = run(each((0, 1, 2), lambda a: {"segmentation": []}), "--fix")
    assert status == 0
    assert said[-1].endswith("3 changes, 3 of 6 annotations dropped, 0 errors left")


def test_crowds_that_are_meant_are_noted_in_the_copy(run, tmp_path):
    crowds = each((0, 1), lambda a: {"iscrowd": 1})
    assert run(crowds, "--keep-crowds")[0] == 0
    assert run(nothing, "--keep-crowds", "--fix")[0] == 0
    fixed = json.loads((tmp_path / "train_fixed.json").read_text())
    assert [a["iscrowd"] for a in fixed["annotations"]] == [1, 1, 0, 0, 1, 0]
    assert check.main([str(tmp_path / "train_fixed.json"), str(tmp_path / "images")]) == 0


def test_a_hole_is_cut_out(run, tmp_path):
    hole = [rectangle(5, 5, 20, 15), rectangle(8, 7, 15, 12)]
    status, _ = run(put("annotations", 0, segmentation=hole, area=115), "--fix")
    assert status == 0
    fixed = json.loads((tmp_path / "train_fixed.json").read_text())["annotations"][0]
    assert (fixed["area"], fixed["bbox"]) == (115, [5, 5, 15, 10])
    assert isinstance(fixed["segmentation"], dict)
    _, said = run(put("annotations", 0, area=160), "--fix")  # as nobody knows what it means
    assert any("polygon-within" in line for line in said)


# --- What would end the process


def star(corners: int, radius: float) -> list[float]:
    """Between the middle of the image and far away, all around."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = np.where(np.arange(corners) % 2, radius, 1.0)
    points = np.stack([30 + reach * np.cos(angle), 20 + reach * np.sin(angle)], axis=1)
    return points.round(3).ravel().tolist()


HUGE = {"corners": star(40_001, 9e5), "few corners, far outside": star(200, 9e5)}


@pytest.mark.parametrize("name", HUGE)
def test_endless_outlines_are_refused_or_cut_off(run, name, tmp_path):
    status, said = run(put("annotations", 0, segmentation=[HUGE[name]]))
    assert status == 1
    assert any(line.startswith("  polygon-long: 1") for line in said)
    assert run(nothing, "--fix")[0] == 0
    fixed = json.loads((tmp_path / "train_fixed.json").read_text())["annotations"]
    for polygon in fixed[0]["segmentation"] if len(fixed) == 6 else ():
        assert outline_length(np.reshape(polygon, (-1, 2))) < LONGEST


@pytest.mark.parametrize("name", HUGE)
def test_endless_outlines_among_results(name, tmp_path, capsys):
    content, _ = make_dataset(tmp_path)
    result = {"image_id": 4, "category_id": 1, "score": 0.5, "segmentation": [HUGE[name]]}
    write_json(content, tmp_path / "truth.json")
    write_json([result], tmp_path / "results.json")
    arguments = [str(tmp_path / "truth.json"), str(tmp_path / "results.json"), "--measures", "s"]
    assert evaluate.main(arguments) == 0
    content["images"][0].update(height=9000, width=9000)
    write_json(content, tmp_path / "truth.json")
    result["segmentation"] = [np.random.default_rng(0).uniform(0, 9000, 20_000).tolist()]
    write_json([result], tmp_path / "results.json")
    assert evaluate.main(arguments) == 1
    assert "result 0: has an outline of " in capsys.readouterr().err


def test_what_is_bounded_looks_the_same():
    rng = np.random.default_rng(0)
    for reach in (30, 800):
        for _ in range(20):
            points = rng.uniform((-reach, -reach), (WIDTH + reach, HEIGHT + reach), (3, 2))
            plain = mask_util.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH)
            expected = mask_util.decode(mask_util.merge(plain)) > 0
            drawn = decode_mask([points.ravel().tolist()], (HEIGHT, WIDTH))
            assert (drawn != expected).mean() <= (0.02 if reach > WIDTH else 0)
    with pytest.raises(DatasetError, match="cannot be drawn"):
        draw_polygons([rng.uniform(0, 10_000, (5_000, 2))], (10_000, 10_000))


def test_names_do_not_steer_the_terminal(run):
    evil = "a\x1b[2J\u202eb.png"
    _, said = run(put("images", 0, file_name=evil))
    _, named = run(put("categories", 0, name=f"cat\x1b[31m\n{evil}"))
    for text in ("\n".join(said), "\n".join(named)):
        assert "\\x1b[2J\\u202e" in text
        assert not {"\x1b", "\u202e"} & set(text)
