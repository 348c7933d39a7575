from __future__ import annotations

import copy

import pytest
from small_coco import shape, texts

from semiconv_d2.data.coco.checking import find_defects
from semiconv_d2.data.coco.fixing import fix


@pytest.mark.parametrize(
    ("form", "images", "categories"),
    [("{}", {4: 4, 5: 5, 6: 6}, {1: 1, 7: 7}), ("no {}", {4: 1, 5: 2, 6: 3}, {1: 1, 7: 2})],
)
def test_ids_that_are_text_become_numbers_everywhere(dataset, form, images, categories):
    content, root = dataset
    before = copy.deepcopy(content)
    texts("images", "image_id", form)(content, root)
    texts("categories", "category_id", form)(content, root)
    mended, _ = fix(content, find_defects(content, root))
    assert [image["id"] for image in mended["images"]] == list(images.values())
    assert [category["id"] for category in mended["categories"]] == list(categories.values())
    assert mended["annotations"] == [
        a | {"image_id": images[a["image_id"]], "category_id": categories[a["category_id"]]}
        for a in before["annotations"]
    ]
    assert find_defects(mended, root) == []


def test_texts_of_the_same_number_stay_apart_and_numbers_find_their_texts(dataset):
    content, root = dataset
    for image, text in zip(content["images"], ("4", "04", "x"), strict=True):
        image["id"] = text
    for annotation in content["annotations"]:
        annotation["image_id"] = {4: 4, 5: "04"}[annotation["image_id"]]
    defects = find_defects(content, root)
    assert {defect.kind for defect in defects} == {"text-ids", "unknown-image"}
    mended, _ = fix(content, defects)
    assert [image["id"] for image in mended["images"]] == [1, 2, 3]
    assert [a["image_id"] for a in mended["annotations"]] == [1, 1, 2, 2, 2, 1]
    assert find_defects(mended, root) == []


def test_a_category_whose_id_is_the_text_0_is_known(dataset):
    content, root = dataset
    content["categories"][0]["id"], content["categories"][1]["id"] = "0", "7"
    for annotation in content["annotations"]:
        annotation["category_id"] = "0" if annotation["category_id"] == 1 else "7"
    mended, _ = fix(content, find_defects(content, root))
    assert [a["category_id"] for a in mended["annotations"]] == [0, 7, 7, 0, 0, 0]


def test_without_shapely_2_crossings_are_left_out(dataset, monkeypatch):
    content, root = dataset
    shape([5, 5, 20, 15, 20, 5, 5, 15])(content, root)
    monkeypatch.setattr("semiconv_d2.data.coco.checking_annotations.version", lambda name: "1.8.5")
    assert find_defects(content, root) == []
