"""Scores of detections that know how good the mask is."""

from __future__ import annotations

from detectron2.structures import Instances
from torch import Tensor

from ...ops import expected_iou

_CLASS_SCORES = "class_scores"  # field for the scores before they were multiplied by mask scores


def score_masks(found: Instances) -> None:
    """Multiplies the `scores` of detections by the IoU that is expected of each mask, from its own
    probabilities in `pred_masks`, (R, 1, M, M). Detections without scores stay as they are."""
    scores = class_scores(found)
    if scores is not None:
        found.set(_CLASS_SCORES, scores)
        found.scores = scores * expected_iou(found.pred_masks[:, 0])


def has_mask_scores(found: Instances) -> bool:
    """Whether `score_masks` has changed the scores."""
    return found.has(_CLASS_SCORES)


def class_scores(found: Instances) -> Tensor | None:
    """Scores before they were multiplied by mask scores; None if there are no scores."""
    known = [name for name in (_CLASS_SCORES, "scores") if found.has(name)]
    return found.get(known[0]) if known else None
