"""AP^r, the average precision of regions (Hariharan et al., ECCV 2014), as reported on PASCAL VOC
and on the Semantic Boundaries Dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..matching import THRESHOLDS, match_as_voc
from ..pairs import ImagePairs
from ..ranking import Ranking, rank


def region_rankings(
    pairs: Sequence[ImagePairs], categories: Iterable[int], thresholds: np.ndarray = THRESHOLDS
) -> dict[int, Ranking]:
    """A ranking for each class.

    A detection is matched with the instance of its class that it overlaps most. It is a false
    positive if this overlap is too small, or if a better detection has the same instance.

    Args:
        pairs: pairs of all images, with the overlap "region".
        categories: ids of the classes.
        thresholds: (T,) smallest overlaps of a match.
    """
    rankings = {}
    for category in sorted(categories):
        own = [p.of_class(category) for p in pairs]
        hit = np.concatenate([match_as_voc(p.iou, thresholds) for p in own], axis=1)
        rankings[category] = rank(
            np.concatenate([p.scores for p in own]),
            hit,
            np.ones_like(hit),
            np.repeat(np.arange(len(own)), [len(p.scores) for p in own]),
            np.array([len(p.truth_ids) for p in own]),
        )
    return rankings
