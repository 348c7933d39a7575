"""The reader of the Leaf Segmentation Challenge's plants."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets.cvppp import prepare_cvppp_a1
from semiconv_d2.data.datasets.splits import train_and_test
from semiconv_d2.errors import DatasetError


def test_leaves_come_back_bit_for_bit(cvppp_a1, tmp_path, read_masks):
    summary = prepare_cvppp_a1(cvppp_a1, tmp_path / "out")
    assert summary.images == {"train": 2, "test": 1}
    assert summary.instances == {"train": 4, "test": 2}
    plants = read_masks(tmp_path / "out" / "train.json")
    assert list(plants) == ["plant004_rgb.png", "plant001_rgb.png"]  # in the order of the list
    labels = np.asarray(Image.open(cvppp_a1 / "plant004_label.png"))
    for (mask, category), value in zip(plants["plant004_rgb.png"], (3, 8), strict=True):
        np.testing.assert_array_equal(mask, labels == value)
        assert category == "leaf"


def test_without_lists_every_fifth_plant_is_tested(tmp_path, caplog):
    plants = [f"plant{number:03}" for number in range(1, 12)]
    assert train_and_test(tmp_path, plants, "plant", tmp_path.joinpath) == {
        "train": [p for p in plants if p not in ("plant005", "plant010")],
        "test": ["plant005", "plant010"],
    }
    assert "every fifth plant is for testing" in caplog.text


def test_plants_in_neither_list_are_named(cvppp_a1, tmp_path, caplog):
    (cvppp_a1 / "train.txt").write_text("plant001\n")
    summary = prepare_cvppp_a1(cvppp_a1, tmp_path / "out")
    assert summary.images == {"train": 1, "test": 1}
    assert "plants in neither list are left out: plant004" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: [path.unlink() for path in root.glob("*.png")],
            "A1 is not a folder of the Leaf Segmentation Challenge: expected files such as "
            "plant001_rgb.png .*; found: test.txt, train.txt$",
        ),
        (
            lambda root: (root / "plant002_label.png").unlink(),
            "the plant plant002 has no .*plant002_label.png",
        ),
        (
            lambda root: (root / "plant002_rgb.png").unlink(),
            "the plant plant002 has no .*plant002_rgb.png",
        ),
        (lambda root: (root / "test.txt").unlink(), "test.txt"),
        (
            lambda root: (root / "test.txt").write_text("plant009\n"),
            "no .*plant009_rgb.png, but a list in .*A1 names it",
        ),
        (
            lambda root: (root / "test.txt").write_text("plant001\n"),
            "plant plant001 is listed more than once in .*train.txt and .*test.txt",
        ),
        (lambda root: (root / "test.txt").write_text(""), "the split 'test' has no images"),
        (
            lambda root: Image.new("L", (3, 4)).save(root / "plant002_label.png"),
            r"plant002_label.png is \(4, 3\) pixels .* its image is \(12, 16\)",
        ),
        (
            lambda root: shutil.copy(root / "plant001_rgb.png", root / "plant001_label.png"),
            "plant001_label.png is an image of mode RGBA, expected one number in each pixel",
        ),
        (
            lambda root: (root / "plant002_rgb.png").write_bytes(b"no image"),
            "cannot read the image .*plant002_rgb.png",
        ),
    ],
)
def test_what_is_wrong_is_named(cvppp_a1, tmp_path, spoil, message):
    spoil(cvppp_a1)
    with pytest.raises(DatasetError, match=message):
        prepare_cvppp_a1(cvppp_a1, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.json"))


def test_real_plants(real_cvppp_a1, tmp_path):
    summary = prepare_cvppp_a1(real_cvppp_a1, tmp_path)
    assert summary.images == {"train": 100, "test": 28}
    assert sum(summary.instances.values()) == 2088
    counts = dict(line.split(", ") for line in (real_cvppp_a1 / "A1.csv").read_text().splitlines())
    assert sum(map(int, counts.values())) == 2088
