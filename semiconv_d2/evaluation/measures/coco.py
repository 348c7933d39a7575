"""COCO's average precision of masks, boxes and boundaries.

faster-coco-eval computes it if it is installed, otherwise pycocotools, with the same numbers. Only
faster-coco-eval can compute boundaries. `coco_rankings` gives the same AP as rankings, which can be
evaluated for any choice of images.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ..matching import match_greedily
from ..pairs import ImagePairs
from ..ranking import Ranking, mean_average_precision, rank

if TYPE_CHECKING:
    from pycocotools.coco import COCO

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps that AP is averaged over."""

IOU_TYPES = {"mask": "segm", "box": "bbox", "boundary": "boundary"}
"""COCO's names of overlaps."""

AREAS = {"APs": (0, 32**2), "APm": (32**2, 96**2), "APl": (96**2, 1e10)}
"""Smallest and largest area of small, medium and large instances, in pixels, both inclusive."""


def has_faster_coco_eval() -> bool:
    return find_spec("faster_coco_eval") is not None


def coco_values(
    truth: COCO,
    detections: Sequence[dict],
    overlap: str,
    max_detections: int = 100,
    fast: bool | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """AP, AP50, AP75, APs, APm and APl in percent; and AP of each class by its name, if there are
    several.

    NaN if there is nothing to find.

    Args:
        truth: ground truth.
        detections: COCO results.
        overlap: "mask", "box" or "boundary".
        max_detections: number of detections per image and class, the best ones, that count.
        fast: whether to use faster-coco-eval; None: if it is installed.
    """
    fast = has_faster_coco_eval() if fast is None else fast
    precision = _precision(truth, detections, IOU_TYPES[overlap], max_detections, fast)
    values = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[5, ..., 0]),
    } | {name: _mean(precision[..., area]) for area, name in enumerate(AREAS, start=1)}
    classes = sorted(truth.cats) if len(truth.cats) > 1 else ()
    aps = {truth.cats[c]["name"]: _mean(precision[:, :, k, 0]) for k, c in enumerate(classes)}
    return values, aps


def coco_rankings(
    pairs: Sequence[ImagePairs],
    categories: Iterable[int],
    thresholds: np.ndarray = THRESHOLDS,
    chosen: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
) -> dict[int, Ranking]:
    """A ranking for each class.

    Args:
        pairs: pairs of all images.
        categories: ids of the classes.
        thresholds: (T,) smallest overlaps of a match.
        chosen: for each image, the instances (G,) to find, and the detections (D,) that are false
            positives when they find none. The others are ignored. By default all are chosen.
    """
    nothing = np.zeros((len(thresholds), 0), dtype=bool)
    found = {
        c: [(np.zeros(0), nothing, nothing, np.zeros(0, dtype=int))] for c in sorted(categories)
    }
    positives = {c: np.zeros(len(pairs), dtype=int) for c in found}
    for index, image in enumerate(pairs):
        instances, detections = (
            (np.ones(len(image.crowd), dtype=bool), np.ones(len(image.scores), dtype=bool))
            if chosen is None
            else chosen[index]
        )
        ignored = image.crowd | ~instances
        for category in np.union1d(image.classes, image.truth_classes).tolist():
            own = image.classes == category
            truths = image.truth_classes == category
            left_out = ignored[truths]
            if left_out.all() and not detections[own].any():
                continue  # nothing to find here, and nothing that counts
            taken = match_greedily(
                image.iou[own][:, truths], thresholds, left_out, image.crowd[truths]
            )
            hit = taken >= 0
            # For a detection without an instance, -1, the value looked up here is not used.
            takes_one_left_out = hit & np.append(left_out, False)[taken]
            counted = np.where(hit, ~takes_one_left_out, detections[own])
            found[category].append((image.scores[own], hit, counted, np.full(own.sum(), index)))
            positives[category][index] = (~left_out).sum()
    rankings = {}
    for category, entries in found.items():
        parts = (np.concatenate(part, axis=-1) for part in zip(*entries, strict=True))
        scores, hit, counted, of_image = parts
        rankings[category] = rank(scores, hit, counted, of_image, positives[category])
    return rankings


def choose_area(
    pairs: Sequence[ImagePairs], low: float, high: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Chooses instances (G,) and detections (D,) with areas from `low` to `high`, per image."""

    def inside(areas: np.ndarray) -> np.ndarray:
        return (low <= areas) & (areas <= high)

    return [(inside(image.truth_areas), inside(image.areas)) for image in pairs]


def ranked_values(
    rankings: dict[int, Ranking], weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """AP, AP50 and AP75 in percent of rankings at `THRESHOLDS`.

    Args:
        weights: (..., I) how often each image counts; by default (I,) ones.

    Returns: (...) each.
    """
    areas = 100 * mean_average_precision(rankings, weights)
    return {
        "AP": areas.mean(axis=-1),
        "AP50": areas[..., 0],
        "AP75": areas[..., areas.shape[-1] // 2],
    }


def _mean(precision: np.ndarray) -> float:
    """The mean of the defined values, in percent; NaN if there are none."""
    known = precision[precision > -1]
    return float(100 * known.mean()) if known.size else float("nan")


def _precision(
    truth: COCO, detections: Sequence[dict], iou_type: str, max_detections: int, fast: bool
) -> np.ndarray:
    """Precision at each threshold, recall, class and area (T, R, K, A), -1 where undefined."""
    if not detections:
        return _precision_of_nothing(truth)
    if fast:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        both = []
        for annotations in (truth.dataset["annotations"], _with_areas(detections, iou_type)):
            both.append(COCO())
            copies = [dict(annotation) for annotation in annotations]
            both[-1].dataset = {**truth.dataset, "annotations": copies}
            both[-1].createIndex()
        evaluation = COCOeval(*both, iou_type)
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[..., -1]


def _with_areas(detections: Sequence[dict], iou_type: str) -> list[dict]:
    """Detections as annotations, with the areas of boxes or masks, for APs, APm and APl."""
    from pycocotools import mask as mask_util

    results = []
    for number, detection in enumerate(detections, start=1):
        if iou_type == "bbox":
            area = detection["bbox"][2] * detection["bbox"][3]
        else:
            area = float(mask_util.area(detection["segmentation"]))
        results.append({**detection, "id": number, "area": area, "iscrowd": 0})
    return results


def _precision_of_nothing(truth: COCO) -> np.ndarray:
    """The precision if there are no detections: 0 for classes and areas that have an instance.
    Neither library accepts an empty list of detections."""
    limits = np.array([(0, 1e10), *AREAS.values()])
    categories = sorted(truth.cats)
    precision = np.full((len(THRESHOLDS), 101, len(categories), len(limits)), -1.0)
    for annotation in truth.dataset["annotations"]:
        if not annotation.get("iscrowd", 0):
            area = annotation["area"]
            inside = (limits[:, 0] <= area) & (area <= limits[:, 1])
            precision[:, :, categories.index(annotation["category_id"]), inside] = 0
    return precision
