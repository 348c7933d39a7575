from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
from own_images import LABELS, labelled, masked, save
from PIL import Image

from semiconv_d2.data.formats.mask_folders import labels_data, masks_data
from semiconv_d2.data.formats.own import prepare_own
from semiconv_d2.data.formats.shapes import check_named_size
from semiconv_d2.errors import DatasetError


def test_label_images_come_back_as_masks(root, tmp_path, read_masks):
    summary = prepare_own(labelled(root, category="worm"), tmp_path / "out", val_fraction=0)
    assert (summary.images, summary.instances) == ({"train": 5}, {"train": 7})
    read = read_masks(tmp_path / "out" / "train.json")
    assert sorted(read) == sorted(f"{name}.jpg" for name in LABELS)
    for file_name, instances in read.items():
        labels = LABELS[Path(file_name).stem]
        values = sorted({*labels.ravel().tolist()} - {0})
        assert [category for _, category in instances] == ["worm"] * len(values)
        for value, (mask, _) in zip(values, instances, strict=True):
            np.testing.assert_array_equal(mask, labels == value)
        assert (tmp_path / "out" / "images" / file_name).is_file()
    assert (tmp_path / "out" / "images").is_symlink()


def test_background_and_void_are_of_ones_choice(root, tmp_path, read_masks):
    prepare_own(labelled(root, background=1, void=0), tmp_path / "out", val_fraction=0)
    (instance,) = read_masks(tmp_path / "out" / "train.json")["one.jpg"]
    np.testing.assert_array_equal(instance[0], LABELS["one"] == 9)
    content = json.loads((tmp_path / "out" / "train.json").read_text())
    (void,) = [image["void"] for image in content["images"] if image["file_name"] == "one.jpg"]
    np.testing.assert_array_equal(mask_util.decode(void) > 0, LABELS["one"] == 0)


def test_images_and_labels_in_one_folder(root, tmp_path, read_masks):
    for path in (root / "labels").iterdir():
        path.rename(root / "images" / f"{path.stem}_cp_masks.png")
    data = labels_data(root / "images", root / "images", suffix="_cp_masks")
    prepare_own(data, tmp_path / "out", val_fraction=0)
    assert len(read_masks(tmp_path / "out" / "train.json")) == 5
    with pytest.raises(DatasetError, match=r"the same folder .*: give --label-suffix"):
        labels_data(root / "images", root / "images")


def test_mask_files_may_overlap(root, tmp_path, read_masks):
    summary = prepare_own(masked(root), tmp_path / "out", val_fraction=0)
    assert summary.instances == {"train": 7}
    read = read_masks(tmp_path / "out" / "train.json")
    np.testing.assert_array_equal(read["one.jpg"][0][0], LABELS["one"] == 1)
    np.testing.assert_array_equal(read["one.jpg"][1][0], LABELS["one"] > 0)
    assert read["three.jpg"] == []


def test_folders_of_masks_are_categories(root, tmp_path, read_masks):
    (root / "masks" / "young").mkdir()
    (root / "masks" / "one_1.png").rename(root / "masks" / "young" / "one_1.png")
    (root / "masks" / "old").mkdir()
    for path in [*(root / "masks").glob("*_*.png"), root / "masks" / "three"]:
        path.rename(root / "masks" / "old" / path.name)
    prepare_own(masked(root, category_folders=True), tmp_path / "out", val_fraction=0)
    read = read_masks(tmp_path / "out" / "train.json")
    assert [name for _, name in read["one.jpg"]] == ["old", "young"]
    assert [name for _, name in read["five.jpg"]] == ["old", "old"]
    content = json.loads((tmp_path / "out" / "train.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "old"}, {"id": 2, "name": "young"}]


def test_a_size_that_does_not_fit_a_turned_image_names_its_orientation(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((*LABELS["one"].shape, 3), dtype=np.uint8)
    save(root / "images" / "one.jpg", pixels, exif=exif)
    message = "because its EXIF orientation 6 turns it: if .*, save it without that orientation"
    with pytest.raises(DatasetError, match=message):
        prepare_own(labelled(root), tmp_path / "out", strict=True)
    with pytest.raises(DatasetError, match=message):
        check_named_size("x", LABELS["one"].shape, root / "images" / "one.jpg", pixels.shape[1::-1])


def replace(path: str, pixels: np.ndarray) -> Callable[[Path], None]:
    return lambda root: save(root / path, pixels)


def overwrite(path: str, content: bytes = b"no image") -> Callable[[Path], object]:
    return lambda root: (root / path).write_bytes(content)


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def cut(path: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-40])


ONE, SIZE = LABELS["one"], LABELS["one"].shape


@pytest.mark.parametrize(
    ("read", "spoil", "message"),
    [
        (labelled, lambda r: shutil.rmtree(r / "images"), "there is no folder .*images; found: n"),
        (labelled, lambda r: shutil.rmtree(r / "labels"), "there is no folder .*labels; found: n"),
        (masked, lambda r: shutil.rmtree(r / "masks"), "there is no folder .*masks; found: nothi"),
        (
            labelled,
            remove("labels/two.png"),
            r"image without labels or masks: .*two.jpg; expected .*lab",
        ),
        (
            masked,
            remove("masks/four_0.png"),
            "image without labels or masks: .*four.jpg; expected .*_1",
        ),
        (labelled, remove("images/two.jpg"), "labels without an image: .*labels/two.png; name"),
        (masked, remove("images/four.jpg"), "masks without an image: .*masks/four_0.png; begin"),
        (labelled, overwrite("images/two.jpg"), "cannot read the image .*images/two.jpg"),
        (labelled, cut("images/two.jpg"), "cannot read the image .*images/two.jpg"),
        (labelled, overwrite("labels/two.png", b""), "cannot read the image .*labels/two.png"),
        (labelled, cut("labels/two.png"), "cannot read the image .*labels/two.png"),
        (masked, cut("masks/two_0.png"), "cannot read the image .*masks/two_0.png"),
        (
            labelled,
            replace("labels/one.png", ONE[1:].astype(np.uint8)),
            r"labels/one.png is \(7, 11\) pixels \(height, width\), its image .*one.jpg is \(8, 11",
        ),
        (
            masked,
            replace("masks/one_0.png", ONE.T.astype(bool)),
            r"masks/one_0.png is \(11, 8\) pixels .*one.jpg is \(8, 11\)",
        ),
        (labelled, replace("labels/one.png", np.zeros((*SIZE, 3), np.uint8)), "mode RGB, expected"),
        (
            labelled,
            replace("labels/one.png", (ONE > 0).astype(np.uint8) * 255),
            "one.png has only the label 255, like one mask of all instances",
        ),
        (masked, replace("masks/one_0.png", ONE.astype(np.uint8)), "has the values 0, 1, 9; the m"),
        (masked, replace("masks/one_0.png", np.zeros(SIZE, bool)), "one_0.png is an empty mask"),
        (masked, replace("masks/one.png", ONE > 0), "masks/one.png has the name of its image"),
        (masked, replace("masks/six/1.png", ONE > 0), "masks without an image: .*masks/six;"),
        (labelled, replace("images/one.png", np.zeros((*SIZE, 3), np.uint8)), "one.jpg and .*one."),
        (
            labelled,
            lambda r: [save(r / f"labels/{n}.png", np.zeros((2, 2), np.uint8)) for n in LABELS],
            "5 problems: .*five.png is .*; .*four.png is .*; .*two.png is ",
        ),
        (
            labelled,
            lambda r: [
                save(r / f"labels/{n}.png", np.zeros(v.shape, np.uint8)) for n, v in LABELS.items()
            ],
            "no image for training has an instance with a mask",
        ),
        (
            lambda r: masked(r, category_folders=True),
            lambda r: (r / "masks" / "three").rmdir(),
            "masks has no folder for each category; found: five_0.png",
        ),
    ],
)
def test_an_error_names_the_file_and_nothing_is_written(root, tmp_path, read, spoil, message):
    spoil(root)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_own(read(root), tmp_path / "out", strict=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_real_masks_come_back_bit_for_bit(real_coco_tiny, tmp_path, read_masks):
    """COCO's instances as mask files, and painted one over the other as labels."""
    coco = read_masks(real_coco_tiny / "annotations" / "instances_val2017.json")
    masks, labels = {}, {}
    for name, instances in list(coco.items())[:30]:
        stem = Path(name).stem
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(real_coco_tiny / "val2017" / name, tmp_path / "images")
        masks[name] = [mask for mask, _ in instances]
        with Image.open(tmp_path / "images" / name) as image:
            painted = np.zeros((image.height, image.width), dtype=np.uint16)
        (tmp_path / "masks" / stem).mkdir(parents=True)
        for number, mask in enumerate(masks[name], start=1):
            painted[mask] = number * 100
            save(tmp_path / "masks" / stem / f"{number:03}.png", mask)
        save(tmp_path / "labels" / f"{stem}.tif", painted)
        values = sorted({*painted.ravel().tolist()} - {0})
        labels[name] = [painted == value for value in values]
    for form, read, expected in (("masks", masks_data, masks), ("labels", labels_data, labels)):
        data = read(tmp_path / "images", tmp_path / form)
        prepare_own(data, tmp_path / "out", val_fraction=0)
        found = read_masks(tmp_path / "out" / "train.json")
        assert set(found) == set(expected)
        for name, instances in found.items():
            assert len(instances) == len(expected[name])
            for (mask, _), original in zip(instances, expected[name], strict=True):
                np.testing.assert_array_equal(mask, original)


def test_real_worms_are_mask_files(real_bbbc010, tmp_path, read_masks):
    wells = ("A01", "B07", "E04")
    foregrounds = real_bbbc010 / "BBBC010_v1_foreground"
    worms = real_bbbc010 / "BBBC010_v1_foreground_eachworm"
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for well in wells:
        shutil.copy(foregrounds / f"{well}_binary.png", tmp_path / "images" / f"{well}.png")
        for path in worms.glob(f"{well}_*.png"):
            shutil.copy(path, tmp_path / "masks")
    data = masks_data(tmp_path / "images", tmp_path / "masks", "worm")
    prepare_own(data, tmp_path / "out", val_fraction=0)
    found = read_masks(tmp_path / "out" / "train.json")
    for well in wells:
        files = sorted(worms.glob(f"{well}_*.png"))
        assert len(found[f"{well}.png"]) == len(files) > 8
        for (mask, _), path in zip(found[f"{well}.png"], files, strict=True):
            np.testing.assert_array_equal(mask, np.asarray(Image.open(path)) > 0)
