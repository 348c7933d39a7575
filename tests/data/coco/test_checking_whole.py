"""What holds for most of the instances, and what the person may say about it."""

from __future__ import annotations

import logging

import pytest
from small_coco import each, instance, put

from semiconv_d2.data.coco.checking import check_before_training, find_defects
from semiconv_d2.data.coco.checking_whole import (
    check_fit,
    check_pieces,
    check_whole,
    keep_crowds,
)
from semiconv_d2.data.coco.defects import ERROR, WARNING, errors_of
from semiconv_d2.data.coco.describing import DetectorScale, InputScale, describe
from semiconv_d2.data.coco.fixing import fix
from semiconv_d2.errors import DatasetError
from semiconv_d2.writing import write_json


def kinds(content, root, **options) -> dict[str, int]:
    found = find_defects(content, root, **options)
    return {kind: sum(d.kind == kind for d in found) for kind in {d.kind for d in found}}


def test_crowds_that_are_instances_are_counted_as_such(dataset):
    content, root = dataset
    each(range(6), lambda a: {"iscrowd": 1})(content, root)
    mended, _ = fix(content, find_defects(content, root))
    assert [a["iscrowd"] for a in mended["annotations"]] == [0] * 6
    assert find_defects(mended, root) == []


def test_crowds_may_be_meant_but_something_has_to_be_left(dataset):
    content, root = dataset
    each((0, 1, 2), lambda a: {"iscrowd": 1})(content, root)
    assert errors_of(find_defects(content, root))
    meant = keep_crowds(content)
    assert find_defects(meant, root) == []
    each(range(6), lambda a: {"iscrowd": 1})(content, root)
    assert kinds(keep_crowds(content), root) == {"mostly-left-out": 1}


def test_a_share_of_crowds_below_half_is_told_before_training(dataset, tmp_path, caplog):
    content, root = dataset
    content["annotations"] += [instance(20 + i, 6, 7, 5, 5, 20, 15 + i) for i in range(20)]
    each((0, 2, 6), lambda a: {"iscrowd": 1})(content, root)
    write_json(content, tmp_path / "train.json")
    with caplog.at_level(logging.WARNING, logger="semiconv_d2"):
        check_before_training(tmp_path / "train.json", root)
    assert "4 of 26 instances are crowds" in caplog.text
    each((2, 6), lambda a: {"iscrowd": 0})(content, root)
    assert find_defects(content, root) == []


@pytest.mark.parametrize("box", ["relative", "of pixels"])
def test_relative_coordinates_come_back(dataset, box):
    content, root = dataset
    before = [dict(a) for a in content["annotations"]]
    for entry in content["annotations"]:
        if isinstance(entry["segmentation"], list):
            entry["segmentation"] = [
                [v / (60, 40)[i % 2] for i, v in enumerate(p)] for p in entry["segmentation"]
            ]
            if box == "relative":
                entry["bbox"] = [v / (60, 40)[i % 2] for i, v in enumerate(entry["bbox"])]
                entry["area"] /= 2400
    mended, _ = fix(content, find_defects(content, root))
    assert find_defects(mended, root) == []
    for entry, original in zip(mended["annotations"], before, strict=True):
        assert entry["bbox"] == pytest.approx(original["bbox"])
        assert entry["area"] == pytest.approx(original["area"])


def in_percent(images: int) -> dict:
    """Two outlines in each image, with coordinates up to 90 in images of 400 × 300 pixels."""
    numbers = range(images)
    outlines = [[10, 10, 90, 12, 50, 60], [30, 40, 35, 90, 20, 70]]
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 400, "height": 300} for n in numbers
        ],
        "annotations": [
            {"id": 2 * n + k, "image_id": n, "category_id": 1, "segmentation": [outline]}
            for n in numbers
            for k, outline in enumerate(outlines)
        ],
        "categories": [{"id": 1, "name": "worm"}],
    }


def test_coordinates_in_percent_are_an_error():
    content = in_percent(10)
    [defect] = check_whole(content, [])
    assert (defect.kind, defect.severity) == ("mostly-percent", ERROR)
    assert "multiply x by width / 100 and y by height / 100" in str(defect)
    content["annotations"][7]["segmentation"][0][2] = 101
    assert check_whole(content, []) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["images"][3].update(width=199),
        lambda content: content["annotations"][3].update(segmentation={"size": [300, 400]}),
        lambda content: content["annotations"].pop(),
    ],
    ids=["a small image", "a mask", "few"],
)
def test_what_may_be_pixels_is_not_percent(change):
    content = in_percent(10)
    change(content)
    assert check_whole(content, []) == []


def test_a_pixel_in_the_corner_is_not_relative(dataset):
    content, root = dataset
    content["annotations"].append(instance(20, 6, 1, 0, 0, 1, 1))
    assert find_defects(content, root) == []


def test_instances_in_pieces_are_remarked_on(dataset):
    content, _ = dataset
    [defect] = check_pieces(describe({**content, "annotations": content["annotations"][5:]}))
    assert str(defect).startswith("the dataset: 100 % of the instances are in several separate")
    assert check_pieces(describe(content)) == []
    assert check_pieces(describe({**content, "annotations": []})) == []


def test_instances_that_the_detector_does_not_fit_are_remarked_on(dataset):
    content, _ = dataset
    sizes = [2.0**k for k in range(2, 10)]
    fine = DetectorScale(400, 800, [sizes], [[0.25, 0.5, 1, 2, 4]], [1])
    assert check_fit(describe(content, fine)) == []
    assert check_fit(describe(content)) == []
    coarse = DetectorScale(20, 40, [[512]], [[1]], [32])
    defects = check_fit(describe(content, coarse))
    assert [d.kind for d in defects] == [
        "small-for-anchors",
        "anchors-do-not-fit",
        "thin-for-features",
    ]
    assert "100 % of the instances are thinner than two cells of 32 px" in str(defects[2])
    assert {d.severity for d in defects} == {WARNING}


def test_an_image_that_vanishes_at_the_size_of_the_model(dataset):
    content, root = dataset
    put("images", 2, height=1, width=3000)(content, root)
    found = find_defects(content, None, scale=InputScale(800, 1333))
    assert [(d.kind, d.severity) for d in found] == [("image-vanishes", ERROR)]
    assert "0 × 1333 at the model's input size" in str(found[0])
    assert find_defects(content, None, scale=InputScale(0, 0)) == []


def test_more_instances_than_the_model_finds(dataset):
    content, root = dataset
    [defect] = find_defects(content, root, scale=InputScale(0, 0, most_detections=2))
    assert (defect.kind, defect.severity) == ("too-many-instances", WARNING)
    assert "raise TEST.DETECTIONS_PER_IMAGE to" in defect.what
    assert find_defects(content, root, scale=InputScale(0, 0, most_detections=6)) == []


def test_images_are_bounded_by_a_limit_that_people_may_raise(dataset, monkeypatch):
    content, root = dataset
    monkeypatch.setenv("SEMICONV_MAX_MEGAPIXELS", "0.002")
    assert kinds(content, root) == {"image-large": 3}
    found = find_defects(content, root)
    assert all("40 × 60 pixels" in str(d) and not d.mending for d in found)
    monkeypatch.setenv("SEMICONV_MAX_MEGAPIXELS", "0.0025")
    assert find_defects(content, root) == []
    monkeypatch.setenv("SEMICONV_MAX_MEGAPIXELS", "many")
    with pytest.raises(ValueError, match="SEMICONV_MAX_MEGAPIXELS is 'many'; it must be a number"):
        find_defects(content, root)


def test_before_training_the_size_of_the_model_counts(dataset, tmp_path):
    content, root = dataset
    write_json(content, tmp_path / "train.json")
    check_before_training(tmp_path / "train.json", root, InputScale(30, 100))
    with pytest.raises(DatasetError, match=r"image 4 \(one.png\): it has 40 × 60 pixels"):
        check_before_training(tmp_path / "train.json", root, InputScale(30, 0.1))
