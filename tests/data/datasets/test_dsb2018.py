"""The reader of the 2018 Data Science Bowl's nuclei."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets.dsb2018 import prepare_dsb2018
from semiconv_d2.errors import DatasetError


def test_nuclei_come_back_bit_for_bit(dsb2018, tmp_path, read_masks):
    summary = prepare_dsb2018(dsb2018, tmp_path / "out")
    assert summary.images == {"train": 2, "test": 1}
    assert summary.instances == {"train": 4, "test": 2}
    samples = read_masks(tmp_path / "out" / "train.json")
    assert list(samples) == ["2c/images/2c.png", "0a/images/0a.png"]  # in the order of the list
    for number, (mask, category) in enumerate(samples["2c/images/2c.png"]):
        source = np.asarray(Image.open(dsb2018 / "2c" / "masks" / f"2c{number}.png"))
        np.testing.assert_array_equal(mask, source > 0)
        assert category == "nucleus"
    assert (tmp_path / "out" / "images" / "0a" / "images" / "0a.png").is_file()


def test_without_lists_every_fifth_sample_is_tested(dsb2018, tmp_path, read_masks, caplog):
    for split in ("train", "test"):
        (dsb2018 / f"{split}.txt").unlink()
    for name in ("3d", "4e", "5f"):
        shutil.copytree(dsb2018 / "0a", dsb2018 / name)
    prepare_dsb2018(dsb2018, tmp_path / "out")
    assert list(read_masks(tmp_path / "out" / "test.json")) == ["4e/images/0a.png"]
    assert "every fifth sample is for testing" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: [shutil.rmtree(root / name) for name in ("0a", "1b", "2c")],
            "stage1_train is not the unpacked stage1_train of the 2018 Data Science Bowl: expected "
            "folders with images and masks in them; found: test.txt, train.txt$",
        ),
        (lambda root: shutil.rmtree(root / "1b" / "masks"), "1b has no folder masks"),
        (
            lambda root: (root / "1b" / "images" / "1b.png").unlink(),
            "1b/images has 0 images, expected one; found: an empty folder",
        ),
        (
            lambda root: Image.new("L", (3, 4)).save(root / "1b" / "images" / "other.png"),
            "1b/images has 2 images, expected one; found: 1b.png, other.png",
        ),
        (
            lambda root: Image.new("L", (3, 4), 255).save(root / "1b" / "masks" / "1b0.png"),
            r"1b0.png is \(4, 3\) pixels .* its image is \(10, 14\)",
        ),
        (
            lambda root: (root / "1b" / "masks" / "1b0.png").write_bytes(b"no image"),
            "cannot read the image .*1b0.png",
        ),
        (
            lambda root: (root / "test.txt").write_text("3d\n"),
            "no .*stage1_train/3d, but a list in .*stage1_train names it",
        ),
    ],
)
def test_what_is_wrong_is_named(dsb2018, tmp_path, spoil, message):
    spoil(dsb2018)
    with pytest.raises(DatasetError, match=message):
        prepare_dsb2018(dsb2018, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.json"))
