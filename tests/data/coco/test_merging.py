from __future__ import annotations

import json

import pytest

from semiconv_d2.data.coco.merging import merge_classes
from semiconv_d2.errors import DatasetError


def test_only_classes_change(tmp_path):
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 3, "iscrowd": 1},
        {"id": 2, "image_id": 5, "category_id": 7, "iscrowd": 0},
    ]
    content = {
        "info": "kept",
        "images": [{"id": 5, "file_name": "a.png", "height": 4, "width": 5, "void": {}}],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    output = tmp_path / "new" / "animals.json"
    written = merge_classes(path, output, "animal")
    assert json.loads(output.read_text()) == written
    assert written["categories"] == [{"id": 1, "name": "animal"}]
    assert [a["category_id"] for a in written["annotations"]] == [1, 1]
    same = [
        a | {"category_id": b["category_id"]}
        for a, b in zip(written["annotations"], annotations, strict=True)
    ]
    assert same == annotations
    assert (written["info"], written["images"]) == (content["info"], content["images"])
    assert json.loads(path.read_text()) == content


def test_the_input_is_not_overwritten(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    before = path.read_text()
    with pytest.raises(DatasetError, match=r"a\.json is the input as well"):
        merge_classes(path, tmp_path / "new" / ".." / "a.json")
    assert path.read_text() == before


def test_a_broken_file_is_said(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        merge_classes(tmp_path / "none.json", tmp_path / "one.json")
