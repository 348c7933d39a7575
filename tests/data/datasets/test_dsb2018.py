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
            "folders with images and masks in them, or the two folders images and labels; found: "
            "test.txt, train.txt$",
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


@pytest.fixture
def corrected(dsb2018):
    """The same nuclei as label images of 16 bits beside the images."""
    root = dsb2018.parent / "corrected"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for name in ("0a", "1b", "2c"):
        shutil.copy(dsb2018 / name / "images" / f"{name}.png", root / "images")
        labels = np.zeros((10, 14), dtype=np.uint16)
        for number in (0, 1):
            mask = np.asarray(Image.open(dsb2018 / name / "masks" / f"{name}{number}.png")) > 0
            labels[mask] = 300 * (number + 1)
        Image.fromarray(labels).save(root / "labels" / f"{name}.png")
    for split in ("train", "test"):
        shutil.copy(dsb2018 / f"{split}.txt", root)
    return root


def test_corrected_labels_give_the_same_nuclei(dsb2018, corrected, tmp_path, read_masks):
    prepare_dsb2018(dsb2018, tmp_path / "masks")
    prepare_dsb2018(corrected, tmp_path / "labels")
    for split in ("train", "test"):
        expected = read_masks(tmp_path / "masks" / f"{split}.json")
        samples = read_masks(tmp_path / "labels" / f"{split}.json")
        assert [f"{name[7:9]}/{name}" for name in samples] == list(expected)
        for masks, others in zip(samples.values(), expected.values(), strict=True):
            np.testing.assert_array_equal([m for m, _ in masks], [m for m, _ in others])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "labels" / "1b.png").unlink(), "1b.png has no labels: expected .*1b"),
        (lambda root: (root / "images" / "1b.png").unlink(), "labels without an image: .*1b.png"),
        (
            lambda root: Image.new("I;16", (3, 4)).save(root / "labels" / "1b.png"),
            r"1b.png is \(4, 3\) pixels .* its image is \(10, 14\)",
        ),
    ],
)
def test_what_is_wrong_with_labels_is_named(corrected, tmp_path, spoil, message):
    spoil(corrected)
    with pytest.raises(DatasetError, match=message):
        prepare_dsb2018(corrected, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.json"))
