"""Results in every form that people have them in, and what is said of broken ones."""

import json
import math

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util
from scenes import build_results, build_truth, rectangle

from semiconv_d2.data.files import DatasetError
from semiconv_d2.evaluation import (
    Detections,
    MeasureError,
    choose_threshold,
    evaluate,
    find_truth,
    load_truth,
    read_results,
)
from semiconv_d2.evaluation.coco import coco_values

LEFT, RIGHT = rectangle(0, 0, 10, 5), rectangle(0, 4, 10, 13)  # which share a column
TRUTH = build_truth([[(LEFT, 1, False), (RIGHT, 1, False)], []])
RESULTS = build_results([[(LEFT, 1, 0.9), (RIGHT, 1, 0.8)], [(LEFT, 1, 0.1)]])


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def masks(results):
    return [mask_util.decode(r["segmentation"]) > 0 for r in results]


# --- JSON


def test_results_are_read_as_they_are(tmp_path):
    read = read_results(write(tmp_path / "r.json", RESULTS), TRUTH)
    assert read == RESULTS


def test_a_box_that_is_missing_is_that_of_the_mask(tmp_path):
    bare = [{k: v for k, v in r.items() if k != "bbox"} for r in RESULTS]
    read = read_results(write(tmp_path / "r.json", bare), TRUTH)
    assert [r["bbox"] for r in read] == [r["bbox"] for r in RESULTS]


def test_polygons_and_plain_runs_become_compressed_runs(tmp_path):
    polygon = [[0, 0, 5, 0, 5, 10, 0, 10]]
    runs = {"size": [12, 15], "counts": [0, *[10, 2] * 4, 10, 122 + 10]}
    runs["counts"][-1] = 12 * 15 - sum(runs["counts"][:-1])
    content = [RESULTS[0] | {"segmentation": s} for s in (polygon, runs)]
    for mask in masks(read_results(write(tmp_path / "r.json", content), TRUTH)):
        assert np.array_equal(mask, LEFT)


def test_no_results_at_all(tmp_path):
    assert read_results(write(tmp_path / "r.json", []), TRUTH) == []


def broken(**changes):
    return [RESULTS[0] | changes]


def without(key):
    return [{k: v for k, v in RESULTS[0].items() if k != key}]


def runs(counts, size=(12, 15)):
    return {"size": list(size), "counts": counts}


BROKEN = {
    "not json": ("[{", "cannot read"),
    "an object": ({"annotations": []}, "expected a list of"),
    "a number in the list": ([3], "result 0: expected an object, not int"),
    "no score": (without("score"), "result 0: no score"),
    "no image": (without("image_id"), "no image_id"),
    "an unknown image": (broken(image_id=7), "image 7 is not in the ground truth"),
    "an image that is a list": (broken(image_id=[1]), "image"),
    "an unknown category": (broken(category_id=9), "category 9 .* has 1"),
    "a score that is text": (broken(score="0.9"), "score '0.9' is not a number"),
    "a score of NaN": (broken(score=math.nan), "score nan"),
    "a score of infinity": (broken(score=math.inf), "score inf"),
    "a box of three": (broken(bbox=[1, 2, 3]), "bbox"),
    "a box that is text": (broken(bbox="0 0 5 5"), "bbox"),
    "a box of null": (broken(bbox=None), "bbox"),
    "a box with NaN": (broken(bbox=[0, 0, math.nan, 2]), "bbox"),
    "a mask of another size": (broken(segmentation=runs("0", (5, 5))), "5 × 5 .* 12 × 15"),
    "runs that do not add up": (broken(segmentation=runs([5, 5])), "do not add up"),
    "runs that are garbage": (broken(segmentation=runs("\x00zz")), "runs"),
    "runs that stop midway": (broken(segmentation=runs("o")), "no compressed runs"),
    "runs without size": (broken(segmentation={"counts": "0"}), "run-length"),
    "a polygon of two points": (broken(segmentation=[[0, 0, 5, 5]]), "corners"),
    "a polygon with NaN": (broken(segmentation=[[0, 0, 5, 5, math.nan, 0]]), "finite"),
    "no polygon": (broken(segmentation=[]), "polygon"),
    "a mask that is text": (broken(segmentation="mask"), "neither polygons nor"),
    "some without masks": ([RESULTS[0], *without("segmentation")], "some have none"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_results_say_which_one_and_what(name, tmp_path):
    content, message = BROKEN[name]
    with pytest.raises(DatasetError, match=message) as error:
        read_results(write(tmp_path / "r.json", content), TRUTH)
    assert "\n" not in str(error.value)
    assert "r.json" in str(error.value)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        read_results(tmp_path / "none.json", TRUTH)


# --- Folders


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_a_folder_of_label_images(tmp_path):
    labels = np.where(RIGHT & ~LEFT, 300, np.where(LEFT, 7, 0)).astype(np.uint16)
    save(tmp_path / "1.png", labels)
    read = read_results(tmp_path, TRUTH)
    assert [r["image_id"] for r in read] == [1, 1]
    for mask, expected in zip(masks(read), (LEFT, RIGHT & ~LEFT), strict=True):
        assert np.array_equal(mask, expected)
    assert [r["score"] for r in read] == [LEFT.mean(), (RIGHT & ~LEFT).mean()]


@pytest.mark.parametrize("name", ["1/{}.png", "1_worm{}.png"])
def test_one_mask_for_each_instance(name, tmp_path):
    for number, mask in enumerate((LEFT, RIGHT)):
        save(tmp_path / name.format(number), mask.astype(np.uint8) * 255)
    read = read_results(tmp_path, TRUTH)
    assert all(map(np.array_equal, masks(read), (LEFT, RIGHT)))
    values = evaluate(Detections(TRUTH, read), ["coco"]).values()
    assert values["segm"]["AP"] == values["bbox"]["AP"] == 100


def test_masks_without_classes_need_one_category(tmp_path):
    with pytest.raises(DatasetError, match="2 categories: give a COCO results JSON"):
        read_results(tmp_path, build_truth([[]], classes=2))


def test_a_mask_of_another_size(tmp_path):
    save(tmp_path / "1_1.png", np.ones((5, 5), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"1 is \(5, 5\) pixels .* \(12, 15\)"):
        read_results(tmp_path, TRUTH)


@pytest.mark.parametrize("name", ["{}.png", "{}_1.png"])
def test_masks_of_other_images_are_passed_over(name, tmp_path, caplog):
    for stem in ("1", "other"):
        save(tmp_path / name.format(stem), LEFT.astype(np.uint8))
    [result] = read_results(tmp_path, TRUTH)
    assert result["image_id"] == 1
    assert "passed over 1 files of other images" in caplog.text


def test_a_folder_that_has_nothing_for_the_images(tmp_path):
    save(tmp_path / "other_1.png", np.ones((12, 15), dtype=np.uint8))
    with pytest.raises(DatasetError, match="without an image"):
        read_results(tmp_path, TRUTH)


# --- Ground truth


def test_areas_that_are_missing_are_measured(tmp_path):
    content = json.loads(json.dumps(TRUTH.dataset))
    for annotation in content["annotations"]:
        del annotation["area"]
    truth = load_truth(write(tmp_path / "t.json", content))
    assert [a["area"] for a in truth.dataset["annotations"]] == [LEFT.sum(), RIGHT.sum()]


def truth_with(**changes):
    """The ground truth with a part replaced, or with changes of the first entry of a part."""
    content = json.loads(json.dumps(TRUTH.dataset))
    for part, change in changes.items():
        if isinstance(change, dict):
            content[part][0] |= change
            content[part][0] = {k: v for k, v in content[part][0].items() if v != "gone"}
        else:
            content[part] = change
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ([], "object"),
        ({"images": [], "annotations": []}, "categories"),
        ({"images": [], "annotations": [], "categories": []}, "no categories"),
        (truth_with(images={"id": "gone"}), r"images\[0\] has the id None"),
        (truth_with(images={"height": "gone"}), "image 1 has no height and width"),
        (truth_with(categories={"id": "c1"}), r"categories\[0\] has the id 'c1'"),
        (truth_with(annotations={"id": "a1"}), r"annotations\[0\] has the id 'a1'"),
        (truth_with(annotations={"category_id": 7}), "annotation 1 has the unknown category 7"),
        (truth_with(annotations={"segmentation": "mask"}), "annotation 1: .* neither polygons"),
        (truth_with(annotations={"segmentation": runs([5, 5])}), "annotation 1: .* do not add up"),
        (truth_with(annotations={"segmentation": "gone", "bbox": "gone"}), "neither mask nor box"),
    ],
)
def test_broken_ground_truth(content, message, tmp_path):
    with pytest.raises(DatasetError, match=message) as error:
        load_truth(write(tmp_path / "t.json", content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["bbox", "area", "iscrowd"])
def test_what_can_be_measured_may_be_missing(key, tmp_path):
    truth = load_truth(write(tmp_path / "t.json", truth_with(annotations={key: "gone"})))
    assert truth.dataset["annotations"][0][key] == TRUTH.dataset["annotations"][0][key]
    values = evaluate(Detections(truth, RESULTS), ["coco", "errors"]).values()
    assert values["segm"]["AP"] == 100
    for overlap in ("mask", "box"):
        assert coco_values(truth, RESULTS, overlap, fast=False)["AP"] == 100


def test_polygons_that_detectron2_leaves_out_are_left_out(tmp_path):
    whole = [0, 0, 5, 0, 5, 10, 0, 10]
    content = truth_with(annotations={"segmentation": [whole, [*whole, 3]]})
    truth = load_truth(write(tmp_path / "t.json", content))
    assert np.array_equal(truth.annToMask(truth.anns[1]) > 0, LEFT)


def test_annotations_of_images_that_are_not_listed_are_left_out(tmp_path, caplog):
    content = truth_with(images=TRUTH.dataset["images"][1:])
    truth = load_truth(write(tmp_path / "t.json", content))
    assert not truth.anns
    assert "left out 2 annotations" in caplog.text


@pytest.mark.parametrize("empty", [{}, {"segmentation": []}, {"segmentation": None}])
def test_ground_truth_without_masks_has_box_ap_alone(empty, tmp_path):
    content = truth_with()
    for annotation in content["annotations"]:
        del annotation["segmentation"]
        annotation |= empty
    detections = Detections(load_truth(write(tmp_path / "t.json", content)), RESULTS)
    assert list(evaluate(detections, ["coco", "errors"]).values()) == ["bbox"]
    with pytest.raises(MeasureError, match="there are no masks, which errors need"):
        evaluate(detections, ["errors"])
    with pytest.raises(MeasureError, match="no score for S"):
        choose_threshold(detections, "these")


def test_label_images_of_another_name(tmp_path):
    save(tmp_path / "1_cp_masks.png", LEFT.astype(np.uint8) * 7)
    [result] = read_results(tmp_path, TRUTH, "_cp_masks")
    assert np.array_equal(masks([result])[0], LEFT)


def test_ground_truth_by_name(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is neither a JSON file nor a registered"):
        find_truth("nowhere")
    path = write(tmp_path / "t.json", TRUTH.dataset)
    assert find_truth(str(path)).imgs.keys() == TRUTH.imgs.keys()
