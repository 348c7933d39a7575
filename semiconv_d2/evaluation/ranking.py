"""Average precision of ranked detections, over all images or with a weight for each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which COCO samples the precision."""

Area = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Ranking(NamedTuple):
    """Detections of one class in I images, best first: D detections, T thresholds."""

    hit: np.ndarray
    """(T, D) bool: the detection finds an instance."""
    counted: np.ndarray
    """(T, D) bool: the detection counts, as true or false positive; the others are ignored."""
    image: np.ndarray
    """(D,) int: index of the image."""
    positives: np.ndarray
    """(I,) int: number of instances to find in each image."""


def rank(
    scores: np.ndarray,
    hit: np.ndarray,
    counted: np.ndarray,
    image: np.ndarray,
    positives: np.ndarray,
) -> Ranking:
    """Sorts detections by falling scores (D,); equal scores keep their order."""
    order = np.argsort(-scores, kind="stable")
    return Ranking(hit[:, order], counted[:, order], image[order], positives)


def average_precision(
    ranking: Ranking, weights: np.ndarray | None = None, area: Area | None = None
) -> np.ndarray:
    """Area under the precision-recall curve at each threshold, (..., T) in [0, 1].

    NaN if there is nothing to find.

    Args:
        weights: (..., I) how often each image counts; by default (I,) ones.
        area: function of recall and precision after each detection, (..., D); COCO's by default.
    """
    positives, recall, precision = _recall_and_precision(ranking, weights)
    return np.where(positives > 0, (area or coco_area)(recall, precision), np.nan)


def precision_at_recalls(ranking: Ranking) -> np.ndarray:
    """The precision-recall curve whose mean is COCO's area, (T, 101) in [0, 1].

    For each of `RECALLS` it has the best precision at this or a larger recall; 0 if the recall is
    not reached. NaN if there is nothing to find.
    """
    [positives], recalls, precision = _recall_and_precision(ranking)
    if not positives:
        return np.full((len(ranking.hit), len(RECALLS)), np.nan)
    reached = [np.searchsorted(recall, RECALLS) for recall in recalls]
    pairs = zip(_best_beyond(precision), reached, strict=True)
    return np.array([np.append(best, 0)[index] for best, index in pairs])


def mean_average_precision(
    rankings: dict[int, Ranking], weights: np.ndarray | None = None, area: Area | None = None
) -> np.ndarray:
    """Mean of `average_precision` over the classes that have something to find, (..., T).

    NaN if no class has. There must be at least one class.
    """
    return mean_known(np.array([average_precision(r, weights, area) for r in rankings.values()]))


def mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of (K, ...), without NaN values: (...); NaN where all are NaN."""
    known = ~np.isnan(values)
    number = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def coco_area(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """COCO's area: for each of 101 recalls the best precision at this or a larger recall; their
    mean."""
    reached = np.searchsorted(RECALLS, recall, side="right")  # recalls up to each detection
    new = np.diff(reached, axis=-1, prepend=0)
    return (new * _best_beyond(precision)).sum(axis=-1) / len(RECALLS)


def voc_area(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """PASCAL VOC's area since 2010: the exact area under the curve of the best precision at each or
    a larger recall."""
    return (np.diff(recall, axis=-1, prepend=0) * _best_beyond(precision)).sum(axis=-1)


def _recall_and_precision(
    ranking: Ranking, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of instances to find (..., 1), and recall and precision after each detection,
    (..., T, D).

    Args:
        weights: see `average_precision`.
    """
    if weights is None:
        weights = np.ones(len(ranking.positives))
    positives = (weights @ ranking.positives)[..., None]
    weight = weights[..., None, ranking.image]
    found = np.cumsum(weight * (ranking.hit & ranking.counted), axis=-1)
    seen = np.cumsum(weight * ranking.counted, axis=-1)
    recall = found / np.maximum(positives, 1)[..., None]
    return positives, recall, found / np.maximum(seen, np.spacing(1))


def _best_beyond(precision: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
