"""Results in every form that people have them in, and what is said of broken ones."""

import json
import math
from itertools import product

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util
from scenes import LEFT, RESULTS, RIGHT, TRUTH, build_truth

from semiconv_d2.errors import DatasetError, MeasureError
from semiconv_d2.evaluation import (
    Detections,
    Threshold,
    choose_threshold,
    evaluate,
    find_truth,
    load_truth,
    read_results,
)
from semiconv_d2.evaluation.measures.coco import coco_values


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
    "not json": ("[{", "is not JSON: .*line 1"),
    "too deep": ("[" * 100_000, "cannot be read as JSON"),
    "a number of 5,000 digits": (f"[{'9' * 5000}]", "cannot be read as JSON"),
    "an object": ({"annotations": []}, "expected a list of"),
    "a number in the list": ([3], "result 0: expected an object, not int"),
    "no score": (without("score"), "result 0: no score"),
    "no image": (without("image_id"), "no image_id"),
    "an unknown image": (broken(image_id=7), "image 7 is not in the ground truth, which has 1, 2"),
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
    "runs that stop midway": (broken(segmentation=runs("o")), "not compressed runs"),
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
    with pytest.raises(DatasetError, match=r"1 has \(5, 5\) pixels .* \(12, 15\)"):
        read_results(tmp_path, TRUTH)


@pytest.mark.parametrize("name", ["{}.png", "{}_1.png"])
def test_masks_of_other_images_are_passed_over(name, tmp_path, caplog):
    for stem in ("1", "other"):
        save(tmp_path / name.format(stem), LEFT.astype(np.uint8))
    [result] = read_results(tmp_path, TRUTH)
    assert result["image_id"] == 1
    assert "skipped 1 files of other images" in caplog.text


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
        ({"images": [], "annotations": [], "categories": []}, "'categories' is empty"),
        (truth_with(images=[]), "its list 'images' is empty"),
        (truth_with(images={"id": "gone"}), r"images\[0\] .*it has no id"),
        (truth_with(images={"height": "gone"}), "image 1 .*: it has width 15"),
        (truth_with(images={"void": runs("0", (5, 5))}), "image 1: .* 5 × 5 .* 12 × 15"),
        (truth_with(images={"void": runs([5, 5])}), "void pixels of image 1: .* do not add up"),
        (truth_with(images={"void": [[0, 0, 5, 0, 5, 5]]}), "image 1: not a run-length encoding"),
        (truth_with(categories={"id": "c1"}), r"category c1|categories\[0\]"),
        (truth_with(annotations={"category_id": 7}), "annotation 1 .*no category has the id 7"),
        (truth_with(annotations={"segmentation": "mask"}), "annotation 1 .* neither polygons"),
        (truth_with(annotations={"segmentation": runs([5, 5])}), "annotation 1 .* do not add up"),
        (truth_with(annotations={"segmentation": "gone", "bbox": "gone"}), "has no segmentation"),
        (truth_with(annotations={"segmentation": [], "bbox": [0, 0, -5, 5]}), "segmentation is em"),
        (truth_with(annotations={"ignore": 1}), "annotation 1 .* it has ignore"),
        (truth_with(images=[TRUTH.dataset["images"][1] | {"id": 9}]), "no image has the id 1"),
        (truth_with(images={"file_name": "2.png"}), "its file is also that of image 1"),
    ],
)
def test_broken_ground_truth(content, message, tmp_path):
    with pytest.raises(DatasetError, match=message) as error:
        load_truth(write(tmp_path / "t.json", content))
    assert "\n" not in str(error.value)
    if " error: " in str(error.value):
        assert str(error.value).endswith(f"semiconv check {tmp_path}/t.json IMAGES")


def text_ids(key):
    content = truth_with()
    for annotation in content["annotations"]:
        annotation[key] = str(annotation[key])
    return content


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (truth_with(annotations={"bbox": None}), "bbox"),
        (truth_with(annotations={"bbox": "0 0 5 10"}), "bbox"),
        (truth_with(annotations={"bbox": [0, 0, 5]}), "bbox"),
        (truth_with(annotations={"bbox": [math.nan, 0, 5, 10]}), "bbox"),
        (truth_with(annotations={"bbox": [5, 10, -5, -10]}), "bbox-negative"),
        (truth_with(annotations={"iscrowd": None}), "iscrowd"),
        (truth_with(annotations={"iscrowd": "0"}), "iscrowd"),
        (truth_with(annotations={"area": None}), "area"),
        (truth_with(annotations={"id": "a1"}), "annotation-id"),
        (truth_with(annotations={"id": 0}), "annotation-id-zero"),
        (truth_with(annotations={"id": -1}), "annotation-id-zero"),
        (truth_with(annotations={"id": 2}), "duplicate-annotation-id"),
        (truth_with(images={"height": "12", "width": 15.0}), "image-size"),
        (text_ids("image_id"), "unknown-image"),
        (text_ids("category_id"), "unknown-category"),
    ],
)
def test_what_can_be_mended_without_loss_is(content, kind, tmp_path, caplog):
    content["annotations"].append({"image_id": 99})
    truth = load_truth(write(tmp_path / "t.json", content))
    assert "left out 1 annotations of images not listed" in caplog.text
    assert f"repaired for this evaluation, not in the file: {kind} (" in caplog.text
    detections = Detections(truth, RESULTS, Threshold(0.5, "given"))
    values = evaluate(detections, ["coco", "region", "s", "difficulty", "errors"]).values()
    assert values["segm"]["AP"] == values["bbox"]["AP"] == 100
    assert values["region"]["mean"] == values["S"]["mean"] == 100
    assert values["contact_0"]["instances"] + values["contact_3"]["instances"] == 2
    assert values["error_count"]["Miss"] == 0
    for overlap, fast in product(("mask", "box"), (True, False)):
        assert coco_values(truth, RESULTS, overlap, fast=fast)[0]["AP"] == 100


def test_areas_and_boxes_that_are_merely_far_from_the_mask_stay(tmp_path):
    """They are COCO's own, and its numbers have to come out."""
    content = truth_with(annotations={"area": 5000, "bbox": [0, 0, 15, 12]})
    [first, _] = load_truth(write(tmp_path / "t.json", content)).dataset["annotations"]
    assert (first["area"], first["bbox"]) == (5000, [0, 0, 15, 12])


@pytest.mark.parametrize("key", ["bbox", "area", "iscrowd"])
def test_what_can_be_measured_may_be_missing(key, tmp_path):
    truth = load_truth(write(tmp_path / "t.json", truth_with(annotations={key: "gone"})))
    assert truth.dataset["annotations"][0][key] == TRUTH.dataset["annotations"][0][key]
    values = evaluate(Detections(truth, RESULTS), ["coco", "errors"]).values()
    assert values["segm"]["AP"] == 100
    for overlap in ("mask", "box"):
        assert coco_values(truth, RESULTS, overlap, fast=False)[0]["AP"] == 100


def test_polygons_that_detectron2_leaves_out_are_left_out(tmp_path):
    whole = [0, 0, 5, 0, 5, 10, 0, 10]
    content = truth_with(annotations={"segmentation": [whole, [*whole, 3]]})
    truth = load_truth(write(tmp_path / "t.json", content))
    assert np.array_equal(truth.annToMask(truth.anns[1]) > 0, LEFT)


def test_annotations_of_images_that_are_not_listed_are_left_out(tmp_path, caplog):
    content = truth_with()
    content["annotations"] += [
        a | {"id": 10 + a["id"], "image_id": 7} for a in content["annotations"]
    ]
    truth = load_truth(write(tmp_path / "t.json", content))
    assert list(truth.anns) == [1, 2]
    assert "left out 2 annotations" in caplog.text


@pytest.mark.parametrize("empty", [{}, {"segmentation": []}, {"segmentation": None}])
def test_ground_truth_without_masks_has_box_ap_alone(empty, tmp_path, caplog):
    content = truth_with()
    for annotation in content["annotations"]:
        del annotation["segmentation"]
        annotation |= empty
    detections = Detections(load_truth(write(tmp_path / "t.json", content)), RESULTS)
    assert list(evaluate(detections, ["coco", "errors"]).values()) == ["bbox"]
    assert "only box AP is measured: 2 of 2 annotations have no mask" in caplog.text
    with pytest.raises(
        MeasureError, match="errors: needs masks, but 2 of 2 annotations have no mask, t"
    ):
        evaluate(detections, ["errors"])
    with pytest.raises(MeasureError, match="no score for S"):
        choose_threshold(detections, "these")


def test_how_many_masks_are_missing_is_said(tmp_path, caplog):
    content = truth_with()
    content["annotations"][1]["segmentation"] = []
    truth = load_truth(write(tmp_path / "t.json", content))
    evaluate(Detections(truth, RESULTS), ["coco"])
    evaluate(Detections(truth, RESULTS), ["coco", "errors"])
    assert "1 of 2 annotations have no mask, the first is 2" in caplog.text


@pytest.mark.parametrize("suffix", ["", "_labels"])
def test_a_folder_without_any_file_that_fits(suffix, tmp_path):
    with pytest.raises(
        DatasetError, match=f"has no masks for any of the 2 .* 1{suffix}.png.*-suff"
    ):
        read_results(tmp_path, TRUTH, suffix)


def test_images_without_a_file_are_counted(tmp_path, caplog):
    save(tmp_path / "1.png", LEFT.astype(np.uint8))
    read_results(tmp_path, TRUTH)
    assert "1 of 2 images have no mask file" in caplog.text


def test_photographs_beside_labels_are_not_read_as_such(tmp_path):
    save(tmp_path / "1.png", LEFT.astype(np.uint8))
    save(tmp_path / "1_cp_masks.png", LEFT.astype(np.uint8) * 7)
    with pytest.raises(DatasetError, match=r"has 1\.png and 1_cp_masks: give --label-suffix _cp_m"):
        read_results(tmp_path, TRUTH)
    assert len(read_results(tmp_path, TRUTH, "_cp_masks")) == 1


def test_the_mask_of_all_instances_is_no_labels(tmp_path):
    save(tmp_path / "1.png", (LEFT | RIGHT).astype(np.uint8) * 255)
    with pytest.raises(
        DatasetError, match=r"1\.png has only the label 255, .*number the instances"
    ):
        read_results(tmp_path, TRUTH)


def test_masks_need_names_of_images(tmp_path):
    content = truth_with(images={"file_name": "gone"})
    with pytest.raises(
        DatasetError, match="by the file_name of images, which the ground truth lacks"
    ):
        read_results(tmp_path, load_truth(write(tmp_path / "t.json", content)))


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(RESULTS).encode())
    assert read_results(path, TRUTH) == RESULTS


def test_label_images_of_another_name(tmp_path):
    save(tmp_path / "1_cp_masks.png", LEFT.astype(np.uint8) * 7)
    [result] = read_results(tmp_path, TRUTH, "_cp_masks")
    assert np.array_equal(masks([result])[0], LEFT)


def test_ground_truth_by_name(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is neither a JSON file nor a registered"):
        find_truth("nowhere")
    path = write(tmp_path / "t.json", TRUTH.dataset)
    assert find_truth(str(path)).imgs.keys() == TRUTH.imgs.keys()
