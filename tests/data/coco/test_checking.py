"""Every kind of defect is found, mended, and stops a training or not."""

from __future__ import annotations

import copy
import json

import pytest
from broken_coco import BROKEN
from small_coco import truncate

from semiconv_d2.data.coco.checking import check_before_training, find_defects
from semiconv_d2.data.coco.coco_json import read_coco
from semiconv_d2.data.coco.defects import ERROR, errors_of, format_defects
from semiconv_d2.data.coco.fixing import fix, write_fixed
from semiconv_d2.data.datasets.bbbc010 import prepare_bbbc010
from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms
from semiconv_d2.errors import DatasetError
from semiconv_d2.writing import write_json

UNMENDABLE = ("no categories", "no images", "no annotations")
UNDECIDED = (
    "category twice",
    "absurdly large",
    "several pages",
    "half of them crowds, one for each category",
)


def shown(defects) -> str:
    return format_defects(defects, None)


def test_what_is_fine_has_no_defects(dataset):
    content, root = dataset
    assert find_defects(content, root, read_images=True) == []


@pytest.mark.parametrize(
    ("change", "kinds", "where"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_defect_is_found_alone_and_where_it_is(dataset, change, kinds, where):
    content, root = dataset
    change(content, root)
    before = copy.deepcopy(content)
    if "polygon-crosses-itself" in kinds:
        pytest.importorskip("shapely")

    defects = find_defects(content, root, read_images=True)

    assert {d.kind: d.severity for d in defects} == kinds, shown(defects)
    assert str(defects[0]).startswith(where)
    assert all("\n" not in str(d) and len(str(d)) <= 300 for d in defects)
    assert repr(content) == repr(before)


@pytest.mark.parametrize(
    ("name", "change"), [row[:2] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_mended_copy_has_no_errors(dataset, tmp_path, name, change):
    content, root = dataset
    change(content, root)
    original = tmp_path / "train.json"
    original.write_text("untouched")
    defects = find_defects(content, root, read_images=True)
    if name in UNMENDABLE:
        with pytest.raises(DatasetError, match="nothing can be mended: no "):
            fix(content, defects)
        return

    mended, changes = fix(content, defects)
    path = write_fixed(original, mended)

    left = find_defects(read_coco(path), root, read_images=True)
    assert bool(errors_of(left)) == (name in UNDECIDED), shown(left)
    repaired = {d.kind for d in defects if d.mending}
    assert not repaired & {d.kind for d in left}, shown(left)
    assert bool(changes) == bool(repaired)
    assert original.read_text() == "untouched"
    assert {p.name for p in tmp_path.iterdir()} == {"train.json", "train_fixed.json", "images"}


@pytest.mark.parametrize(
    ("change", "kinds"), [row[1:3] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_before_training_errors_stop_and_warnings_do_not(dataset, tmp_path, change, kinds):
    content, root = dataset
    change(content, root)
    path = tmp_path / "train set.json"
    path.write_text(json.dumps(content))
    if ERROR not in kinds.values() or change is truncate:  # pixels are not looked at
        check_before_training(path, root)
        return
    with pytest.raises(DatasetError) as caught:
        check_before_training(path, root)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path} has ")
    assert message.endswith(f"--fix to write a mended copy: semiconv check '{path}' {root}")
    assert all(f"({kind}: " in message for kind in kinds if kinds[kind] == ERROR)


def test_a_missing_folder_of_images_is_one_error(dataset):
    content, root = dataset
    with pytest.raises(DatasetError, match=r"there is no folder of images .*nowhere"):
        find_defects(content, root / "nowhere")


def test_two_images_of_one_id_go_with_their_annotations_and_a_repeated_entry_does_not(dataset):
    content, root = dataset
    other = {**content["images"][2], "id": 4}
    content["images"] += [dict(content["images"][1]), other]
    mended, _ = fix(content, find_defects(content, root))
    assert [image["file_name"] for image in mended["images"]] == ["two.jpg", "empty.png"]
    assert [a["id"] for a in mended["annotations"]] == [12, 13, 14]


def test_images_of_one_file_become_one_with_all_annotations(dataset):
    content, root = dataset
    content["images"] += [{**content["images"][0], "id": number} for number in (20, 21)]
    content["annotations"][1]["image_id"], content["annotations"][5]["image_id"] = 20, 21
    mended, _ = fix(content, find_defects(content, root))
    assert [image["id"] for image in mended["images"]] == [4, 5, 6]
    assert [a["image_id"] for a in mended["annotations"]] == [4, 4, 5, 5, 5, 4]
    content["images"][3]["height"] += 1  # as nobody knows which of both is right
    defects = [d for d in find_defects(content, root) if d.kind == "same-file-twice"]
    assert [bool(d.mending) for d in defects] == [False, True]


@pytest.mark.parametrize(
    ("category", "value"),
    [({"id": 7, "name": "dog"}, [1, 7]), ({"id": 7, "name": "cow"}, [1, 7, 7])],
)
def test_categories_of_one_id_are_merged_where_their_names_are_equal(dataset, category, value):
    content, root = dataset
    content["categories"].append(category)
    mended, _ = fix(content, find_defects(content, root))
    assert [c["id"] for c in mended["categories"]] == value
    assert len(mended["annotations"]) == len(content["annotations"])


def test_a_category_name_that_is_a_number_becomes_text(dataset):
    content, root = dataset
    content["categories"][1]["name"] = 5
    mended, _ = fix(content, find_defects(content, root))
    assert mended["categories"][1]["name"] == "5"


def test_the_json_alone_can_be_checked(dataset):
    content, _ = dataset
    content["images"][0]["file_name"] = "gone.png"
    content["annotations"][0]["bbox"] = None
    assert [d.kind for d in find_defects(content, None)] == ["bbox"]


def test_detectron2_loads_what_is_fine(dataset, tmp_path):
    coco = pytest.importorskip("detectron2.data.datasets.coco")
    content, root = dataset
    write_json(content, tmp_path / "x.json")
    records = coco.load_coco_json(str(tmp_path / "x.json"), str(root))
    assert [len(record["annotations"]) for record in records] == [3, 3, 0]


def test_made_up_data_are_fine(tmp_path):
    prepare_synthetic_worms(tmp_path, train_images=3, val_images=2)
    for split in ("train", "val"):
        content = read_coco(tmp_path / f"{split}.json")
        assert find_defects(content, tmp_path / "images", read_images=True) == []
        check_before_training(tmp_path / f"{split}.json", tmp_path / "images")


@pytest.mark.parametrize(
    ("split", "kinds"),
    [("train", []), ("val", ["polygon-within", *["polygon-crosses-itself"] * 3])],
)
def test_real_coco_has_no_errors(real_coco_tiny, split, kinds):
    """The warnings are true: those polygons lie within another one, or cross themselves."""
    json_file = real_coco_tiny / "annotations" / f"instances_{split}2017.json"
    images = real_coco_tiny / f"{split}2017"
    defects = find_defects(read_coco(json_file), images, read_images=True)
    pytest.importorskip("shapely")
    assert [d.kind for d in defects] == kinds, shown(defects)
    check_before_training(json_file, images)


def test_real_bbbc010_has_no_defects(real_bbbc010, tmp_path):
    prepare_bbbc010(real_bbbc010, tmp_path)
    for split in ("train", "test"):
        content = read_coco(tmp_path / f"{split}.json")
        assert find_defects(content, tmp_path / "images", read_images=True) == []
