"""Results on the terms of another model: within a foreground, and ranked by size."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util
from scenes import LEFT, RESULTS, RIGHT, TRUTH, rectangle

from semiconv_d2.errors import DatasetError
from semiconv_d2.evaluation import (
    Detections,
    cut_to_foreground,
    evaluate,
    rank_by_size,
    read_results,
)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_masks_are_cut_to_the_bright_pixels(tmp_path, mode):
    bright = rectangle(2, 3, 20, 20)
    for image in TRUTH.imgs.values():
        pixels = Image.fromarray(np.where(bright, 200, 90).astype(np.uint8)).convert("L")
        pixels.point(lambda v: 255 * (v > 127) if mode == "1" else v).convert(mode).save(
            tmp_path / image["file_name"]
        )
    cut = cut_to_foreground(RESULTS, TRUTH, tmp_path)
    for result, expected in zip(cut, (LEFT, RIGHT, LEFT), strict=True):
        assert np.array_equal(mask_util.decode(result["segmentation"]), expected & bright)
    kept = [{k: v for k, v in r.items() if k != "segmentation"} for r in RESULTS]
    assert [{k: v for k, v in r.items() if k != "segmentation"} for r in cut] == kept
    evaluate(Detections(TRUTH, cut), ["coco"])


def test_what_cannot_be_cut_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot read the image .*1\.png"):
        cut_to_foreground(RESULTS, TRUTH, tmp_path)
    Image.new("L", (7, 5)).save(tmp_path / "1.png")
    with pytest.raises(DatasetError, match=r"1\.png has \(5, 7\) pixels, not \(12, 15\)"):
        cut_to_foreground(RESULTS, TRUTH, tmp_path)
    with pytest.raises(DatasetError, match="a box but no mask"):
        cut_to_foreground([{"image_id": 1, "bbox": [0, 0, 1, 1]}], TRUTH, tmp_path)


def test_size_ranks_as_it_does_masks_without_scores(tmp_path):
    for result in RESULTS[:2]:
        path = tmp_path / str(result["image_id"]) / f"{result['score']}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(255 * mask_util.decode(result["segmentation"])).save(path)
    without_scores = read_results(tmp_path, TRUTH)
    ranked = rank_by_size(RESULTS, 0.5)
    assert [r["score"] for r in ranked] == [50 / 180, 90 / 180]
    assert sorted(r["score"] for r in without_scores) == [50 / 180, 90 / 180]
    assert [r["segmentation"] for r in ranked] == [r["segmentation"] for r in RESULTS[:2]]
    assert RESULTS[0]["score"] == 0.9


def test_boxes_have_no_size_to_rank_by():
    with pytest.raises(DatasetError, match="a box but no mask"):
        rank_by_size([{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 0.7}], 0.5)
    assert rank_by_size([{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 0.3}], 0.5) == []
