from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semiconv_d2.data.coco.checking import check_before_training
from semiconv_d2.data.coco.coco_json import CocoImage, build_coco, read_coco
from semiconv_d2.errors import DatasetError
from semiconv_d2.writing import write_json


def image(*instances: tuple[np.ndarray, int], name: str = "a.png") -> CocoImage:
    return CocoImage(name, 7, 11, instances)


def test_masks_come_back_bit_for_bit_and_keep_their_overlap(tmp_path, read_masks):
    rng = np.random.default_rng(0)
    masks = rng.random((6, 7, 11)) < 0.5
    masks[5] = False
    masks[5, 6, 10] = True
    images = [
        image(*[(mask, 1 + i % 2) for i, mask in enumerate(masks)], name="a.png"),
        image(name="none.png"),
        image((masks[1] | masks[2], 2), name="b.png"),
    ]
    write_json(build_coco(iter(images), ("cat", "dog")), tmp_path / "x.json")

    read = read_masks(tmp_path / "x.json")

    assert list(read) == ["a.png", "none.png", "b.png"]
    assert [name for _, name in read["a.png"]] == ["cat", "dog"] * 3
    np.testing.assert_array_equal([mask for mask, _ in read["a.png"]], masks)
    np.testing.assert_array_equal(read["b.png"][0][0], masks[1] | masks[2])
    assert (read["a.png"][0][0] & read["a.png"][1][0]).any()
    assert read["none.png"] == []


def test_ids_boxes_and_areas():
    mask = np.zeros((7, 11), dtype=bool)
    mask[2:5, 3:9] = True
    mask[2, 3:9] = False
    mask[2, 8] = True
    coco = build_coco([image((mask, 2)), image((mask, 1), (mask, 2), name="b.png")], ("cat", "dog"))

    assert coco["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert [entry["id"] for entry in coco["images"]] == [1, 2]
    assert coco["images"][0] == {"id": 1, "file_name": "a.png", "height": 7, "width": 11}
    instances = coco["annotations"]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in instances] == [
        (1, 1, 2),
        (2, 2, 1),
        (3, 2, 2),
    ]
    for instance in instances:
        assert instance["bbox"] == [3, 2, 6, 3]
        assert instance["area"] == 13
        assert instance["iscrowd"] == 0
        assert instance["segmentation"]["size"] == [7, 11]
        assert isinstance(instance["segmentation"]["counts"], str)


FULL = np.ones((7, 11), dtype=bool)


def corner(row: int, column: int) -> np.ndarray:
    mask = np.zeros((7, 11), dtype=bool)
    mask[row, column] = True
    return mask


def check_encoding(mask: np.ndarray) -> None:
    """Against pycocotools, for an instance and for void pixels."""
    height, width = mask.shape
    coco = build_coco([CocoImage("a.png", height, width, [(mask, 1)], mask)], ("cat",))
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    (instance,) = coco["annotations"]
    assert instance["segmentation"] == coco["images"][0]["void"]
    assert instance["segmentation"] == {
        "size": [height, width],
        "counts": rle["counts"].decode("ascii"),
    }
    assert instance["bbox"] == mask_util.toBbox(rle).tolist()
    assert instance["area"] == mask_util.area(rle) == mask.sum()
    json.dumps(coco)


@pytest.mark.parametrize(
    "mask",
    [
        FULL,
        *(corner(row, column) for row in (0, 6) for column in (0, 10)),
        corner(0, 0) | corner(6, 10),
        np.pad(FULL, ((0, 0), (3, 4))),
        np.pad(FULL, ((2, 0), (0, 0))),
        np.pad(FULL, ((0, 2), (0, 0))),
        np.pad(FULL.T, 400),
        np.ones((1, 1), dtype=bool),
    ],
)
def test_a_mask_is_encoded_as_pycocotools_does(mask):
    check_encoding(mask)
    check_encoding(np.asfortranarray(mask))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    density=st.floats(0, 1),
    before=st.integers(0, 100),
    after=st.integers(0, 100),
)
def test_random_masks_are_encoded_as_pycocotools_does(seed, size, density, before, after):
    rng = np.random.default_rng(seed)
    mask = rng.random(size) < density
    mask[rng.integers(size[0]), rng.integers(size[1])] = True  # an empty one is refused
    check_encoding(np.pad(mask, ((0, 0), (before, after))))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ((~FULL, 1), "b.png, instance 2: the mask is empty"),
        ((FULL.T, 1), r"b.png, instance 2: .*\(11, 7\).* the image is \(7, 11\)"),
        ((FULL, 3), r"b.png, instance 2: category id 3 is not in 1..2"),
        ((FULL, 0), r"b.png, instance 2: category id 0 is not in 1..2"),
    ],
)
def test_an_invalid_instance_is_named(second, message):
    with pytest.raises(DatasetError, match=message):
        build_coco([image((FULL, 1)), image((FULL, 1), second, name="b.png")], ("cat", "dog"))


def test_void_pixels_are_in_the_entry_of_their_image_where_there_are_any(tmp_path, read_masks):
    void = np.zeros((7, 11), dtype=bool)
    void[1:3, 4:9] = True
    images = [
        image((~void, 1))._replace(void=void),
        image((~void, 1), name="none.png"),
        image((~void, 1), name="empty.png")._replace(void=~FULL),
    ]
    write_json(build_coco(images, ("cat",)), tmp_path / "x.json")

    entries = json.loads((tmp_path / "x.json").read_text())["images"]
    assert ["void" in entry for entry in entries] == [True, False, False]
    np.testing.assert_array_equal(mask_util.decode(entries[0]["void"]), void)
    read = read_masks(tmp_path / "x.json")
    assert list(read) == ["a.png", "none.png", "empty.png"]
    for ((mask, _),) in read.values():
        np.testing.assert_array_equal(mask, ~void)


def test_void_pixels_of_another_size_are_named():
    with pytest.raises(DatasetError, match=r"b.png: the void pixels are \(11, 7\) .*\(7, 11\)"):
        build_coco([image(), image(name="b.png")._replace(void=FULL.T)], ("cat",))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "x.json"
    write_json({"old": True}, path)
    with pytest.raises(TypeError):
        write_json({"long": list(range(1000)), "not json": object()}, path)
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]

    write_json({"new": True}, path)
    assert json.loads(path.read_text()) == {"new": True}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*x.json: .*No such file"),
        ("", "x.json is empty"),
        ("  \n", "x.json is empty"),
        ('{"images": [],', r"x.json is not JSON: .* \(line 1, column 15\)"),
        ('{\n "images": 3;\n}', r"x.json is not JSON: .* \(line 2, column 13\)"),
        ("\x89PNG", "x.json is not JSON"),
        (
            '\ufeff{"categories": [], "images": [], "annotations": []}',
            "save it as UTF-8 without BOM",
        ),
        ("[" * 100_000, "x.json cannot be read as JSON"),
        ("9" * 5000, "x.json cannot be read as JSON"),
        ("[]", "x.json is a list at its top"),
        ("{}", "no list 'categories', .*it has: nothing"),
        ('{"categories": [], "images": []}', "no list 'annotations', .*has: categories, images"),
        ('{"categories": {}, "images": [], "annotations": []}', "'categories' is a dict, not a"),
        ('{"categories": [], "images": null, "annotations": []}', "'images' is a NoneType"),
        ('{"categories": [], "images": [3], "annotations": []}', r"images\[0\] is a int"),
    ],
)
def test_what_is_no_coco_json_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_coco(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match=message):
        check_before_training(path, tmp_path)


def test_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        read_coco(tmp_path)
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot read"):
        read_coco(tmp_path / "x.json")


def test_nan_is_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"images": [], "annotations": [{"area": NaN}], "categories": []}')
    assert math.isnan(read_coco(path)["annotations"][0]["area"])
