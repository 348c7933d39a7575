from __future__ import annotations

import json

import pytest

from semiconv_d2.data.coco.derived import hold_out, merge_classes
from semiconv_d2.errors import DatasetError


@pytest.fixture
def train(tmp_path):
    """Seven images, image k with k annotations."""
    images = [{"id": 10 + k, "file_name": f"{k}.png", "height": 4, "width": 5} for k in range(7)]
    annotations = [
        {"id": 100 * k + i, "image_id": 10 + k, "category_id": 3}
        for k in range(7)
        for i in range(k)
    ]
    content = {
        "info": {"year": 2026},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "worm"}],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    return path


def test_every_image_and_its_annotations_are_in_one_part(train):
    written = hold_out(train, every=3)
    fit, holdout = (json.loads(path.read_text()) for path in written)
    assert [path.name for path in written] == ["train_fit.json", "train_holdout.json"]
    assert [image["id"] for image in holdout["images"]] == [12, 15]
    assert [image["id"] for image in fit["images"]] == [10, 11, 13, 14, 16]
    assert {a["image_id"] for a in holdout["annotations"]} == {12, 15}
    whole = json.loads(train.read_text())
    parts = [*fit["annotations"], *holdout["annotations"]]
    assert sorted(a["id"] for a in parts) == [a["id"] for a in whole["annotations"]]
    assert list(written.values()) == [(5, 14), (2, 7)]
    for part in (fit, holdout):
        assert part["categories"] == whole["categories"]
        assert part["info"] == {"year": 2026, "written_by": "semiconv_d2"}


@pytest.mark.parametrize("every", [-1, 0, 1, 8])
def test_no_part_may_be_empty(train, every):
    with pytest.raises(DatasetError, match="one part would be empty"):
        hold_out(train, every)
    assert [p.name for p in train.parent.iterdir()] == ["train.json"]


@pytest.mark.parametrize("change", [{"image_id": "11"}, {"image_id": None}, {"image_id": [11]}])
def test_no_annotation_is_lost(train, change):
    content = json.loads(train.read_text())
    content["annotations"][0] |= change
    train.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"1 annotations have no image; semiconv check"):
        hold_out(train)
    content["annotations"][0]["image_id"] = 11
    del content["images"][0]["id"]
    train.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"1 images have no id of their own"):
        hold_out(train)
    assert [p.name for p in train.parent.iterdir()] == ["train.json"]


def test_files_of_somebody_else_stay(train):
    hold_out(train)
    hold_out(train)  # which replaces its own files
    path = train.with_name("train_holdout.json")
    path.write_text(train.read_text())
    fit = train.with_name("train_fit.json")
    fit.unlink()
    with pytest.raises(DatasetError, match=r"train_holdout\.json would be overwritten"):
        hold_out(train)
    assert path.read_text() == train.read_text()
    assert not fit.exists()


def test_a_broken_file_is_said(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        hold_out(tmp_path / "none.json")


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


def test_a_broken_file_is_not_merged(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        merge_classes(tmp_path / "none.json", tmp_path / "one.json")
