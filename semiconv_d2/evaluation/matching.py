"""Matching of detections with instances. D detections, best first; G instances; T thresholds."""

from __future__ import annotations

import numpy as np

THRESHOLDS = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
"""Overlaps at which AP^r and S are reported; their mean is reported too."""


def match_greedily(
    iou: np.ndarray, thresholds: np.ndarray, ignored: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """COCO's matching: each detection takes the best instance that is still free.

    It takes an ignored instance only if no other instance overlaps enough. A crowd region can be
    taken any number of times.

    Args:
        iou: (D, G) overlap.
        thresholds: (T,) smallest overlap of a match.
        ignored: (G,) bool, instances that do not count.
        crowd: (G,) bool, crowd regions, which are ignored as well.

    Returns: (T, D) int, the instance that each detection takes; -1: none.
    """
    detections, instances = iou.shape
    taken = np.full((len(thresholds), detections), -1)
    if not iou.size:
        return taken
    needed = np.minimum(thresholds, 1 - 1e-10)[:, None]
    free = np.ones((len(thresholds), instances), dtype=bool)
    rows = np.arange(len(thresholds))
    for d in np.flatnonzero(iou.max(axis=1) >= needed.min()):
        enough = (iou[d] >= needed) & free
        wanted = enough & ~ignored
        eligible = np.where(wanted.any(axis=1, keepdims=True), wanted, enough)
        # Of equally good instances the last one, as in pycocotools.
        best = instances - 1 - np.argmax(np.where(eligible, iou[d], -1)[:, ::-1], axis=1)
        found = eligible.any(axis=1)
        taken[found, d] = best[found]
        used = found & ~crowd[best]
        free[rows[used], best[used]] = False
    return taken


def match_one_to_one(allowed: np.ndarray) -> np.ndarray:
    """The size of the largest one-to-one matching, for the best 1, 2, … D detections.

    Detections are added one after the other. If there is an augmenting path for a detection, the
    matching grows by one pair. If not, this detection never increases it.

    Args:
        allowed: (D, G) bool, pairs that may be matched.

    Returns: (D,) bool, whether a detection makes the matching larger. The sum over the first k is
        the size of the largest matching of these k.
    """
    owner: dict[int, int] = {}

    def augment(detection: int, visited: set[int]) -> bool:
        for instance in np.flatnonzero(allowed[detection]).tolist():
            if instance not in visited:
                visited.add(instance)
                if instance not in owner or augment(owner[instance], visited):
                    owner[instance] = detection
                    return True
        return False

    return np.array([augment(d, set()) for d in range(len(allowed))], dtype=bool)


def match_as_voc(iou: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """PASCAL VOC's matching: each detection is matched with the instance that it overlaps most, and
    only the first detection of an instance finds it.

    Returns: (T, D) bool, whether a detection finds an instance.
    """
    hit = np.zeros((len(thresholds), len(iou)), dtype=bool)
    if not iou.size:
        return hit
    best = iou.argmax(axis=1)
    enough = iou[np.arange(len(iou)), best] >= thresholds[:, None]
    for t, candidates in enumerate(enough):
        which = np.flatnonzero(candidates)
        _, first = np.unique(best[which], return_index=True)
        hit[t, which[first]] = True
    return hit
