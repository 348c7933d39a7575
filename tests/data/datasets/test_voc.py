from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from semiconv_d2.data.datasets.voc import CATEGORIES, find_year, prepare_voc
from semiconv_d2.errors import DatasetError


def rewrite(path: Path, change, mode: str = "P") -> None:
    """Replace an image by a change of its pixels."""
    pixels = change(np.array(Image.open(path)))
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette((np.arange(768) % 256).tolist())
    image.save(path)


def test_masks_and_classes_of_every_instance(voc, tmp_path, read_masks):
    output = tmp_path / "out"
    summary = prepare_voc(voc, output)

    assert (summary.images, summary.instances) == ({"train": 2, "val": 1}, {"train": 3, "val": 1})
    train, val = read_masks(output / "train.json"), read_masks(output / "val.json")
    assert list(train) == ["one.jpg", "empty.jpg"]
    assert list(val) == ["two.jpg"]
    assert train["empty.jpg"] == []
    assert [name for _, name in train["one.jpg"]] == ["bird", "person", "tvmonitor"]
    for file_name, instances in (train | val).items():
        png = Path(file_name).with_suffix(".png")
        objects = np.array(Image.open(voc / "SegmentationObject" / png))
        for number, (mask, _) in enumerate(instances, start=1):
            np.testing.assert_array_equal(mask, objects == number)
        assert (output / "images" / file_name).read_bytes() == (
            voc / "JPEGImages" / file_name
        ).read_bytes()


def test_the_border_around_objects_is_void(voc, tmp_path):
    prepare_voc(voc, tmp_path / "out")
    for split, names in (("train", ("one", "empty")), ("val", ("two",))):
        entries = json.loads((tmp_path / "out" / f"{split}.json").read_text())["images"]
        for name, entry in zip(names, entries, strict=True):
            border = np.array(Image.open(voc / "SegmentationObject" / f"{name}.png")) == 255
            assert ("void" in entry) == border.any() == (name != "empty")
            if border.any():
                np.testing.assert_array_equal(mask_util.decode(entry["void"]), border)


def test_categories_are_numbered_as_in_the_original():
    assert len(CATEGORIES) == 20
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert (CATEGORIES[0], CATEGORIES[14], CATEGORIES[19]) == ("aeroplane", "person", "tvmonitor")


def test_the_class_is_that_of_most_pixels_that_have_one(voc, tmp_path, read_masks):
    def change(classes):
        person = classes == 15
        classes[person] = [8, 8, 9, 255, 255, 0]  # six pixels: two cats, a chair, void, background
        return classes

    rewrite(voc / "SegmentationClass" / "one.png", change)
    prepare_voc(voc, tmp_path / "out")
    train = read_masks(tmp_path / "out" / "train.json")
    assert [name for _, name in train["one.jpg"]] == ["bird", "cat", "tvmonitor"]
    assert train["one.jpg"][1][0].sum() == 6


def _no_class(classes):
    classes[classes == 15] = 255
    return classes


def _unknown_class(classes):
    classes[classes == 15] = 21
    return classes


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: rewrite(root / "SegmentationObject" / "two.png", lambda x: x[:-1]),
            r"SegmentationObject/two.png is \(8, 11\) .*JPEGImages is \(9, 11\)",
        ),
        (
            lambda root: rewrite(root / "SegmentationClass" / "two.png", lambda x: x[:, 1:]),
            r"SegmentationClass/two.png is \(9, 10\) .*JPEGImages is \(9, 11\)",
        ),
        (
            lambda root: rewrite(root / "SegmentationClass" / "one.png", _no_class),
            "SegmentationClass/one.png: instance 2 has no pixel with a class",
        ),
        (
            lambda root: rewrite(root / "SegmentationClass" / "one.png", _unknown_class),
            "SegmentationClass/one.png: instance 2 has the unknown class 21",
        ),
        (
            lambda root: rewrite(
                root / "SegmentationObject" / "one.png", lambda x: np.stack([x] * 3, axis=2), "RGB"
            ),
            "SegmentationObject/one.png is an image of mode RGB, expected P or L",
        ),
        (
            lambda root: (root / "SegmentationObject" / "two.png").unlink(),
            "cannot read the image .*SegmentationObject/two.png",
        ),
        (
            lambda root: (root / "SegmentationClass" / "two.png").write_bytes(b"no image"),
            "cannot read the image .*SegmentationClass/two.png",
        ),
        (
            lambda root: (root / "JPEGImages" / "two.jpg").write_bytes(b""),
            "cannot read the image .*JPEGImages/two.jpg",
        ),
        (
            lambda root: (root / "JPEGImages" / "two.jpg").unlink(),
            r"Segmentation/val.txt names an image that is missing: .*JPEGImages/two.jpg",
        ),
        (
            lambda root: (root / "ImageSets" / "Segmentation" / "val.txt").unlink(),
            "cannot read .*Segmentation/val.txt",
        ),
        (
            lambda root: (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n"),
            "Segmentation/val.txt names no images",
        ),
        (
            lambda root: shutil.rmtree(root / "SegmentationClass"),
            r"VOC2012 is not a year of a VOCdevkit: expected the folders JPEGImages, "
            r"SegmentationObject, SegmentationClass, ImageSets/Segmentation; "
            r"missing: SegmentationClass; found: ImageSets/, JPEGImages/, SegmentationObject/$",
        ),
    ],
)
def test_an_error_names_the_file_and_no_json_is_left(voc, tmp_path, spoil, message):
    output = tmp_path / "out"
    spoil(voc)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_voc(voc, output)
    assert "\n" not in str(caught.value)
    assert not list(output.glob("*.json*"))


def test_a_truncated_mask_is_named(voc, tmp_path):
    path = voc / "SegmentationObject" / "one.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"cannot read the image .*SegmentationObject/one.png"):
        prepare_voc(voc, tmp_path / "out")


def test_a_failed_run_leaves_no_json_of_an_earlier_one(voc, tmp_path):
    output = tmp_path / "out"
    prepare_voc(voc, output)
    assert {path.name for path in output.iterdir()} == {"train.json", "val.json", "images"}
    (voc / "SegmentationObject" / "two.png").unlink()
    with pytest.raises(DatasetError):
        prepare_voc(voc, output)
    assert {path.name for path in output.iterdir()} == {"images"}


def test_the_parent_or_a_missing_folder_as_root(voc, tmp_path):
    with pytest.raises(DatasetError, match=r"VOCdevkit is not .* expected .*; found: VOC2012/$"):
        prepare_voc(voc.parent, tmp_path / "out")
    with pytest.raises(DatasetError, match=r"found: nothing, there is no such folder$"):
        prepare_voc(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def annotate(root: Path, folder: str) -> None:
    (root / "Annotations").mkdir()
    (root / "Annotations" / "one.xml").write_text(
        f"<annotation>\n\t<folder>{folder}</folder>\n</annotation>\n"
    )


def test_the_year_chooses_the_default_folder(voc, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "all"))
    assert find_year(voc) == 2012
    assert prepare_voc(voc).folder == tmp_path / "all" / "voc_2012"

    plain = voc.rename(voc.with_name("plain"))
    with pytest.raises(DatasetError, match=r"neither .*plain .* tells the year: give --year"):
        prepare_voc(plain)
    assert prepare_voc(plain, year=2007).folder == tmp_path / "all" / "voc_2007"
    annotate(plain, "VOC2007")
    assert find_year(plain) == 2007

    other = plain.rename(plain.with_name("VOC2010"))
    with pytest.raises(DatasetError, match=r"VOC2010 is of 2010.*give --output"):
        prepare_voc(other)
    assert prepare_voc(other, tmp_path / "out").folder == tmp_path / "out"


def test_the_link_to_the_images_is_relative_where_both_move_together(voc, tmp_path):
    home = voc.parent
    prepare_voc(voc, home / "voc_2012")
    link = home / "voc_2012" / "images"
    assert link.readlink() == Path("..", "VOC2012", "JPEGImages")
    moved = home.rename(tmp_path / "moved")
    assert (moved / "voc_2012" / "images" / "one.jpg").is_file()

    prepare_voc(moved / "VOC2012", tmp_path / "apart" / "voc_2012")
    link = tmp_path / "apart" / "voc_2012" / "images"
    assert link.readlink() == moved / "VOC2012" / "JPEGImages"


def test_preparing_again_replaces_the_link(voc, tmp_path):
    output = tmp_path / "out"
    prepare_voc(voc, output)
    moved = voc.rename(tmp_path / "VOC2012")
    assert not (output / "images").exists()
    prepare_voc(moved, output)
    assert (output / "images" / "one.jpg").is_file()


def test_without_links_the_images_in_use_are_copied(voc, tmp_path, monkeypatch, caplog):
    def refuse(*_args, **_kwargs):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for _ in range(2):
        prepare_voc(voc, tmp_path / "out")
        images = tmp_path / "out" / "images"
        assert not images.is_symlink()
        assert {path.name for path in images.iterdir()} == {"one.jpg", "empty.jpg", "two.jpg"}
    assert "no links here" in caplog.text


def test_real_masks_come_back_bit_for_bit(real_voc, tmp_path, monkeypatch, read_masks):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    summary = prepare_voc(real_voc)
    assert summary.folder == tmp_path / "voc_2007"
    assert summary.images == {"train": 20, "val": 10}
    instances = 0
    for split in ("train", "val"):
        for file_name, pairs in read_masks(tmp_path / "voc_2007" / f"{split}.json").items():
            png = Path(file_name).with_suffix(".png")
            objects = np.asarray(Image.open(real_voc / "SegmentationObject" / png))
            classes = np.asarray(Image.open(real_voc / "SegmentationClass" / png))
            assert {*range(1, len(pairs) + 1)} == {*np.unique(objects).tolist()} - {0, 255}
            for number, (mask, category) in enumerate(pairs, start=1):
                np.testing.assert_array_equal(mask, objects == number)
                assert set(classes[mask]) == {CATEGORIES.index(category) + 1}
            instances += len(pairs)
            assert (summary.folder / "images" / file_name).is_file()
    assert instances == sum(summary.instances.values()) == 79
