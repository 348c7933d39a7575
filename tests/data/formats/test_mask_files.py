from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.formats.mask_files import (
    find_images,
    find_labels,
    find_masks,
    read_labels,
    read_mask,
    split_labels,
)
from semiconv_d2.errors import DatasetError

LABELS = np.array([[0, 0, 7, 7], [3, 0, 7, 0], [3, 3, 0, 250]])
MASK = LABELS == 7


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folder.mkdir(exist_ok=True)
    return folder


def names(found: dict) -> dict:
    return {
        key: [path.name for path in value] if isinstance(value, list) else value.name
        for key, value in found.items()
    }


def test_images_are_found_by_their_stems(tmp_path):
    touch(tmp_path, "b.TIF", "a.png", "a b.c.jpeg", "notes.txt", ".hidden.png", "sub/d.png")
    assert names(find_images(tmp_path)) == {"a b.c": "a b.c.jpeg", "a": "a.png", "b": "b.TIF"}


def test_labels_beside_the_images_are_told_by_their_suffix(tmp_path):
    touch(tmp_path, "a.tif", "a_masks.png", "b.tif", "b_masks.tif")
    images = find_images(tmp_path, without_suffix="_masks")
    assert list(images) == ["a", "b"]
    assert names(find_labels(tmp_path, images, "_masks")) == {
        "a": "a_masks.png",
        "b": "b_masks.tif",
    }


def test_labels_of_some_images_may_be_missing(tmp_path):
    touch(tmp_path, "a.png", "c.tif", "readme.md")
    assert names(find_labels(tmp_path, ["c", "b", "a"])) == {"c": "c.tif", "a": "a.png"}


def test_masks_belong_to_the_longest_name_that_fits(tmp_path):
    touch(tmp_path, "a_1.png", "a_b_1.png", "a_b-2.tif", "a b (2).png", "c/x.png", "c/1.tif")
    touch(tmp_path / "d")
    found = find_masks(tmp_path, ["a", "a_b", "c", "d", "e"])
    assert names(found) == {
        "a": ["a b (2).png", "a_1.png"],
        "a_b": ["a_b-2.tif", "a_b_1.png"],
        "c": ["1.tif", "x.png"],
        "d": [],
    }


@pytest.mark.parametrize(
    ("files", "find", "message"),
    [
        ([], find_images, "in has no images; found: an empty folder"),
        (["a.txt"], find_images, "in has no images; found: a.txt"),
        (["a.png", "a.tif"], find_images, "a.png and .*a.tif have the same name except for the"),
        (["a.png", "a.tif"], lambda f: find_labels(f, ["a"]), "a.png and .*a.tif have the same"),
        (["a.png", "c.png"], lambda f: find_labels(f, ["a"]), "labels without an image: .*c.png;"),
        (
            ["a_cp.png", "b_cp.png"],
            lambda f: find_labels(f, ["a", "b"]),
            r"a_cp\.png; name them .*; or add --label-suffix _cp; ",
        ),
        (["ab_1.png"], lambda f: find_masks(f, ["a"]), "masks without an image: .*ab_1.png; "),
        (["a1.png"], lambda f: find_masks(f, ["a"]), "masks without an image: .*a1.png; begin"),
        (["c/1.png"], lambda f: find_masks(f, ["a"]), "masks without an image: .*/c; begin"),
        (["a.png"], lambda f: find_masks(f, ["a"]), "the name of its image.* rename it to a_1.png"),
        (
            [f"{n:02}_1.png" for n in range(13)],
            lambda f: find_masks(f, ["a"]),
            "13 problems: .*00_1.png; .*09_1.png; .*and 3 more",
        ),
    ],
)
def test_what_cannot_be_matched_is_named(tmp_path, files, find, message):
    folder = touch(tmp_path / "in", *files)
    with pytest.raises(DatasetError, match=message) as caught:
        find(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "find", [find_images, lambda f: find_labels(f, []), lambda f: find_masks(f, [])]
)
def test_a_missing_folder(tmp_path, find):
    with pytest.raises(DatasetError, match=r"there is no folder .*nowhere; found: nothing"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "kind", "mode"),
    [
        ("x.png", np.uint8, "L"),
        ("x.png", np.uint8, "P"),
        ("x.png", np.uint16, "I;16"),
        ("x.tif", np.uint8, "L"),
        ("x.tif", np.uint16, "I;16"),
        ("x.tif", ">u2", "I;16B"),
        ("x.tif", np.int32, "I"),
    ],
)
def test_labels_of_all_depths(tmp_path, name, kind, mode):
    labels = LABELS * (1 if mode in "LP" else 200)
    image = Image.fromarray(labels.astype(kind))
    if mode == "P":
        image.putpalette((np.arange(768) % 256).tolist())
    image.save(tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert saved.mode[0] == mode[0]
    read = read_labels(tmp_path / name)
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("x.png", np.zeros((2, 3, 3), np.uint8), "x.png is an image of mode RGB, expected one num"),
        ("x.png", np.zeros((2, 3, 4), np.uint8), "mode RGBA, .*: export the labels as a single-ch"),
        (
            "x.tif",
            np.full((2, 3), 1.5, np.float32),
            "x.tif has the value 1.5, which is not a label",
        ),
        ("x.tif", np.full((2, 3), np.nan, np.float32), "x.tif has the value nan, which is no"),
        ("x.png", np.zeros((2, 3), bool), "x.png is an image of mode 1, expected"),
        ("x.jpg", np.zeros((2, 3), np.uint8), "x.jpg cannot be labels, because .jpg files change"),
    ],
)
def test_images_that_are_no_labels(tmp_path, name, pixels, message):
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(DatasetError, match=message):
        read_labels(tmp_path / name)


def test_damaged_files_and_stacks_are_named(tmp_path):
    page = Image.fromarray(LABELS.astype(np.uint8))
    page.save(tmp_path / "stack.tif", save_all=True, append_images=[page] * 2)
    page.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-30])
    (tmp_path / "text.tif").write_text("no image")
    for name, message in (
        ("stack.tif", r"stack.tif has 3 pages: save the right page"),
        ("cut.png", r"cannot read the image .*cut.png"),
        ("text.tif", r"cannot read the image .*text.tif"),
        ("none.png", r"there is no image .*none.png"),
    ):
        for read in (read_labels, read_mask):
            with pytest.raises(DatasetError, match=message) as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)


def test_labels_are_split_in_the_order_of_their_values():
    masks = list(split_labels(LABELS))
    np.testing.assert_array_equal(masks, [LABELS == 3, LABELS == 7, LABELS == 250])
    np.testing.assert_array_equal(list(split_labels(LABELS, void=250)), masks[:2])
    others = list(split_labels(LABELS, background=7))
    np.testing.assert_array_equal(others, [LABELS == 0, LABELS == 3, LABELS == 250])
    assert list(split_labels(np.zeros((2, 3), int))) == []
    (full,) = split_labels(np.ones((2, 3), int))
    assert full.all()


def test_many_random_labels_come_back():
    labels = np.random.default_rng(0).integers(-3, 40, size=(50, 61)).astype(np.int32)
    masks = list(split_labels(labels, void=-1))
    values = [value for value in range(-3, 40) if value not in (0, -1)]
    np.testing.assert_array_equal(masks, [labels == value for value in values])


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("x.png", MASK),
        ("x.png", MASK.astype(np.uint8)),
        ("x.tif", MASK.astype(np.uint8) * 255),
        ("x.png", MASK.astype(np.uint16) * 60000),
        ("x.tif", MASK.astype(np.float32)),
        ("x.png", np.stack([MASK.astype(np.uint8) * 255] * 3, axis=2)),
        (
            "x.png",
            np.stack([MASK.astype(np.uint8) * 255] * 3 + [np.full(MASK.shape, 255, np.uint8)], 2),
        ),
    ],
)
def test_masks_of_all_kinds(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


def test_empty_and_full_masks(tmp_path):
    for value in (0, 255):
        Image.fromarray(np.full((2, 3), value, np.uint8)).save(tmp_path / "x.png")
        assert (read_mask(tmp_path / "x.png") == (value > 0)).all()


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("x.png", LABELS.astype(np.uint8), r"x.png has the values 0, 3, 7, 250; the mask of one"),
        ("x.png", np.arange(9).reshape(3, 3).astype(np.uint8), "has the values 0, 1, 2, 3, ...;"),
        ("x.png", np.array([[1, 2]], np.uint8), "has the values 1, 2; .* 0 outside"),
        ("x.tif", np.array([[np.nan, 0]], np.float32), "has the values 0.0, nan;"),
        ("x.png", np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8), "mode RGB with colours or tran"),
        ("x.png", np.array([[[255] * 4, [0] * 4]], np.uint8), "mode RGBA with colours or transpa"),
        ("x.jpeg", MASK.astype(np.uint8), "x.jpeg cannot be a mask, because .jpeg files change"),
    ],
)
def test_images_that_are_no_masks(tmp_path, name, pixels, message):
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(DatasetError, match=message):
        read_mask(tmp_path / name)
