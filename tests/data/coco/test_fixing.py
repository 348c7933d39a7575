"""What `fix` makes of single defects; `test_checking` has them all."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.coco.checking import find_defects
from semiconv_d2.data.coco.fixing import fix, fixed_path, write_fixed
from semiconv_d2.data.coco.segmentations import decode_mask
from semiconv_d2.errors import DatasetError

SIZE = (30, 40)


@pytest.fixture
def mend(tmp_path: Path):
    """Mend one annotation of one image of 30 × 40 pixels; returns it and what was changed."""
    Image.fromarray(np.zeros(SIZE, dtype=np.uint8)).save(tmp_path / "a.png")

    def mend(polygons: object, bbox: object, **other) -> tuple[dict | None, list[str]]:
        other = {"area": 1.0, "iscrowd": 0, "segmentation": polygons, "bbox": bbox} | other
        keep = {
            "id": 2, "image_id": 1, "category_id": 1, "area": 16.0, "iscrowd": 0,
            "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]], "bbox": [1, 1, 4, 4],
        }  # fmt: skip
        content = {
            "info": {"year": 1},
            "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **other}, keep],
        }
        before = copy.deepcopy(content)
        mended, changes = fix(content, find_defects(content, tmp_path))
        assert content == before
        assert mended["info"] == {"year": 1}
        assert mended["annotations"][-1] | {"id": 2} == keep
        return (mended["annotations"][0] if len(mended["annotations"]) > 1 else None), changes

    return mend


def test_a_polygon_is_cut_off_where_the_image_ends_and_its_box_and_area_follow(mend):
    triangle = [[-10, 10, 10, 0, 10, 20]]
    mended, changes = mend(triangle, [-10, 0, 20, 20], area=200)
    assert mended["bbox"] == [0, 0, 10, 20]
    assert mended["area"] == pytest.approx(150)  # 200 less a quarter
    before, after = (decode_mask(s, SIZE) for s in (triangle, mended["segmentation"]))
    np.testing.assert_array_equal(before, after)
    assert list(map(str, changes)) == [
        "annotation 1 of image 1 (a.png): its polygon 0 reaches 10 px out of the image → cut the "
        "polygon off at the border of the image"
    ]


def test_one_polygon_is_cut_off_another_dropped_and_a_third_one_stays(mend):
    good, short = [20, 20, 30, 20, 30, 28], [1, 1, 2, 2]
    mended, _ = mend([short, [30, 5, 50, 5, 50, 15, 30, 15], good], [20, 5, 30, 23])
    assert len(mended["segmentation"]) == 2
    assert sorted(map(tuple, np.reshape(mended["segmentation"][0], (-1, 2)))) == [
        (30, 5), (30, 15), (40, 5), (40, 15)
    ]  # fmt: skip
    assert mended["segmentation"][1] == good
    assert mended["bbox"] == [20, 5, 20, 23]
    assert mended["area"] == 100 + 40


def test_a_polygon_with_nothing_inside_is_dropped_with_its_annotation(mend):
    """It passes the corner of the image, so that its box does not tell."""
    mended, _ = mend([[-20, 15, 15, -20, -20, -20]], [-20, -20, 35, 35])
    assert mended is None


def test_a_box_is_measured_from_the_mask(mend):
    mended, _ = mend([[5, 5, 20, 5, 20, 15, 5, 15]], [5, 5, 20, 15])
    assert mended["bbox"] == [5, 5, 15, 10]
    runs = [3 * 30 + 4, 10, 20, 12, 30 * 40 - (3 * 30 + 4 + 42)]
    mended, _ = mend({"size": [30, 40], "counts": runs}, None, area=None)
    assert mended["bbox"] == [3, 4, 2, 12]
    assert mended["area"] == 22


def test_a_new_id_is_one_that_nothing_has(mend):
    mended, _ = mend([[5, 5, 20, 5, 20, 15, 5, 15]], [5, 5, 15, 10], id=2)
    assert mended["id"] == 2  # it is the first one and keeps it
    mended, _ = mend([[5, 5, 20, 5, 20, 15, 5, 15]], [5, 5, 15, 10], id=0)
    assert mended["id"] == 3


def test_a_crowd_region_takes_the_place_of_what_is_ignored(mend):
    polygon = [[5, 5, 20, 5, 20, 15, 5, 15]]
    mended, _ = mend(polygon, [5, 5, 15, 10], ignore=1)
    assert (mended["ignore"], mended["iscrowd"]) == (0, 1)
    mended, _ = mend(polygon, [5, 5, 15, 10], ignore=None)
    assert (mended["ignore"], mended["iscrowd"]) == (0, 0)


def test_the_copy_lies_beside_the_original_and_is_written_whole_or_not_at_all(tmp_path):
    original = tmp_path / "train.json"
    original.write_text("{}")
    path = write_fixed(original, {"images": []})
    assert path == fixed_path(original) == tmp_path / "train_fixed.json"
    with pytest.raises(TypeError):
        write_fixed(original, {"images": [object()]})
    assert json.loads(path.read_text()) == {"images": [], "info": {"written_by": "semiconv_d2"}}
    assert original.read_text() == "{}"
    assert {p.name for p in tmp_path.iterdir()} == {"train.json", "train_fixed.json"}


def test_a_mended_copy_replaces_its_like_alone(dataset, tmp_path):
    content, _ = dataset
    original = tmp_path / "train.json"
    path = write_fixed(original, content)
    write_fixed(original, content)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"train_fixed\.json would be overwritten"):
        write_fixed(original, content)
    assert json.loads(path.read_text()) == content
