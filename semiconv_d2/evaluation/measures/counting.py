"""S = TP / (TP + FP + FN) of an image, averaged over images: the usual measure for the worms of
BBBC010 and for nuclei.

S needs a score threshold: detections with a lower score do not count. The threshold belongs to the
model. Choose it on the training images, never on the test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..matching import THRESHOLDS, match_one_to_one
from ..pairs import ImagePairs


class Counts(NamedTuple):
    """How many instances of an image are found by its best detections; D detections, best first."""

    scores: np.ndarray
    """(D,)."""
    found: np.ndarray
    """(T, D + 1) int: how many instances the first 0, 1, … D detections can find, one to one."""
    instances: int

    def s(self, number: int | np.ndarray) -> np.ndarray:
        """S of the first `number` detections at each threshold, (T,) or (T, ...) in [0, 1]. It is 1
        if there are no instances and no detections."""
        found = self.found[:, number]
        union = number + self.instances - found  # TP + FP + FN
        return np.where(union > 0, found / np.maximum(union, 1), 1.0)


def count(pairs: Sequence[ImagePairs], thresholds: np.ndarray = THRESHOLDS) -> list[Counts]:
    """Counts the instances found in each image, for all score thresholds at once.

    Args:
        pairs: pairs of all images, with the overlap "region".
        thresholds: (T,) smallest overlaps of a match.
    """
    counts = []
    for image in pairs:
        same = image.classes[:, None] == image.truth_classes[None]
        found = [
            np.cumsum([0, *match_one_to_one(same & (image.iou >= needed))]) for needed in thresholds
        ]
        counts.append(Counts(image.scores, np.array(found), len(image.truth_ids)))
    return counts


def s_scores(counts: Sequence[Counts], score: float) -> np.ndarray:
    """S of each image at each threshold, (I, T) in [0, 1].

    Args:
        counts: counts of all images.
        score: the smallest score of detections that count.
    """
    values = [image.s(int((image.scores >= score).sum())) for image in counts]
    return np.array(values).reshape(len(counts), -1)


def best_score(counts: Sequence[Counts]) -> float:
    """The score threshold that gives the largest avS over these images.

    It lies in the middle between the scores of two detections, where its exact value matters least.
    0.5 if there are no detections.
    """
    scores = np.unique(np.concatenate([[], *(image.scores for image in counts)]))
    if not len(scores):
        return 0.5
    candidates = np.concatenate([[scores[0]], (scores[:-1] + scores[1:]) / 2])
    means = np.zeros(len(candidates))
    for image in counts:
        number = len(image.scores) - np.searchsorted(np.sort(image.scores), candidates)
        means += image.s(number).mean(axis=0)
    return float(candidates[means.argmax()])
