"""Errors by kind, and the AP50 that each kind costs, as in TIDE (Bolya et al., ECCV 2020).

A detection that finds no instance has one of these kinds of error, the first that applies:

- `Loc`, badly localised: overlap from 0.1 to 0.5 with an instance of its class;
- `Cls`, misclassified: overlap of at least 0.5 with an instance of another class;
- `Dupe`, duplicate: overlap of at least 0.5 with an instance that a better detection has found;
- `Bkg`, background: overlap of at most 0.1 with all instances;
- `Both`, misclassified and badly localised: everything else.

`Miss` is an instance that no detection finds and no corrected `Loc` or `Cls` error would find.

The cost of a kind is the rise of AP50 when all errors of this kind, and no others, are corrected.
`Loc`, `Cls`: the best error of each instance becomes right, the others are removed. `Miss`: the
instance is removed. All others: the detection is removed. `FP` removes every false positive, and
`FN` every instance that is not found.

Detections in crowd regions of their class are not errors here; in TIDE's own program they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..matching import match_greedily
from ..pairs import ImagePairs
from ..ranking import Ranking, average_precision, mean_known, rank

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
FOREGROUND, BACKGROUND = 0.5, 0.1

_RIGHT, _IGNORED = "right", "ignored"


class SortedImage(NamedTuple):
    """The kinds of the D detections and G instances of an image, without crowd regions."""

    kind: np.ndarray
    """(D,) str: one of `KINDS` but "Miss", or "right" or "ignored"."""
    mended_class: np.ndarray
    """(D,) int: the class of a detection after its correction; -1: the correction removes it."""
    scores: np.ndarray
    """(D,)."""
    classes: np.ndarray
    """(D,) category ids."""
    truth_classes: np.ndarray
    """(G,) category ids."""
    found: np.ndarray
    """(G,) bool: found by a detection."""
    missed: np.ndarray
    """(G,) bool: a `Miss`."""


def sort_errors(pairs: Sequence[ImagePairs]) -> list[SortedImage]:
    """Sorts the detections of all images by kind; `pairs` with the overlap "mask"."""
    return [_sort_image(image) for image in pairs]


def count_errors(images: Sequence[SortedImage]) -> dict[str, int]:
    """The number of errors of each of `KINDS`, of false positives, "FP", and of instances that are
    not found, "FN"."""
    counts = {kind: sum(int((i.kind == kind).sum()) for i in images) for kind in KINDS}
    counts["Miss"] = sum(int(i.missed.sum()) for i in images)
    counts["FP"] = sum(counts[kind] for kind in KINDS if kind != "Miss")
    counts["FN"] = sum(int((~i.found).sum()) for i in images)
    return counts


def error_rankings(images: Sequence[SortedImage]) -> dict[str, dict[int, Ranking]]:
    """Rankings at an overlap of 0.5: under "" without corrections, and with each kind corrected."""
    return {fix: _mended(images, fix) for fix in ("", *KINDS, "FP", "FN")}


def error_costs(
    rankings: dict[str, dict[int, Ranking]], weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The rise of AP50 when each kind is corrected, in points; never below 0.

    Args:
        weights: (..., I) how often each image counts; by default (I,) ones.

    Returns: (...) for each of `KINDS`, "FP" and "FN".
    """
    if not rankings[""]:
        shape = () if weights is None else weights.shape[:-1]
        return dict.fromkeys((*KINDS, "FP", "FN"), np.full(shape, np.nan))
    if weights is None:
        weights = np.ones(len(next(iter(rankings[""].values())).positives))
    areas = {
        fix: 100 * _mean_area(mended, rankings[""], weights) for fix, mended in rankings.items()
    }
    as_is = areas.pop("")
    return {fix: np.maximum(area - as_is, 0) for fix, area in areas.items()}


def _mean_area(
    rankings: dict[int, Ranking], as_is: dict[int, Ranking], weights: np.ndarray
) -> np.ndarray:
    """Mean over the classes that have instances without corrections, (...).

    As in TIDE, a class whose instances have all been removed counts as 0 if it still has
    detections. Otherwise it does not count.
    """
    areas = []
    for category, ranking in rankings.items():
        area = average_precision(ranking, weights)[..., 0]
        left = weights[..., ranking.image].sum(axis=-1) > 0
        known = weights @ as_is[category].positives > 0
        areas.append(np.where(known, np.where(np.isnan(area) & left, 0, area), np.nan))
    return mean_known(np.array(areas))


def _sort_image(image: ImagePairs) -> SortedImage:
    kind = np.full(len(image.scores), "", dtype="<U8")
    taken = np.full(len(image.scores), -1)
    for category in np.unique(image.classes).tolist():
        own, truths = image.classes == category, np.flatnonzero(image.truth_classes == category)
        crowd = image.crowd[truths]
        iou = image.iou[own][:, truths]
        [match] = match_greedily(iou, np.array([FOREGROUND]), crowd, crowd)
        taken[own] = np.where(match >= 0, truths[match] if len(truths) else -1, -1)
    on_crowd = np.append(image.crowd, False)[taken] & (taken >= 0)
    kind[taken >= 0] = _RIGHT
    kind[on_crowd] = _IGNORED

    single = np.flatnonzero(~image.crowd)
    iou = image.iou[:, single]
    truth_classes = image.truth_classes[single]
    found = np.isin(single, taken[taken >= 0])
    same = image.classes[:, None] == truth_classes[None]
    claimed = np.full(len(kind), -1)  # the instance that a corrected detection would find
    for d in np.flatnonzero(kind == ""):
        own, other = np.where(same[d], iou[d], 0), np.where(same[d], 0, iou[d])
        if not len(single):
            kind[d] = "Bkg"
        elif BACKGROUND <= own.max() <= FOREGROUND:
            kind[d], claimed[d] = "Loc", own.argmax()
        elif other.max() >= FOREGROUND:
            kind[d], claimed[d] = "Cls", other.argmax()
        elif own.max() >= FOREGROUND:
            kind[d] = "Dupe"
        elif iou[d].max() <= BACKGROUND:
            kind[d] = "Bkg"
        else:
            kind[d] = "Both"
    mended_class = np.full(len(kind), -1)
    for instance in np.flatnonzero(~found):
        claims = np.flatnonzero(claimed == instance)
        if len(claims):
            mended_class[claims[0]] = truth_classes[
                instance
            ]  # the best one: detections are in order
    return SortedImage(
        kind,
        mended_class,
        image.scores,
        image.classes,
        truth_classes,
        found,
        ~found & ~np.isin(np.arange(len(found)), claimed),
    )


def _mended(images: Sequence[SortedImage], fix: str) -> dict[int, Ranking]:
    """A ranking of each class at one threshold, with the errors of the kind `fix` corrected."""
    parts: list[tuple[np.ndarray, ...]] = []
    positives: dict[int, np.ndarray] = {}
    for number, image in enumerate(images):
        right = image.kind == _RIGHT
        mended = (image.kind == fix) | ((fix == "FP") & ~right)
        new_class = np.where(mended, image.mended_class if fix in KINDS else -1, image.classes)
        kept = (new_class >= 0) & (image.kind != _IGNORED)
        hit, index = right | mended, np.full(len(kept), number)
        parts.append((new_class[kept], image.scores[kept], hit[kept], index[kept]))
        out = {"Miss": image.missed, "FN": ~image.found}.get(fix, np.zeros_like(image.found))
        for category, taken_out in zip(image.truth_classes.tolist(), out, strict=True):
            instances = positives.setdefault(category, np.zeros(len(images), dtype=int))
            instances[number] += not taken_out
    classes, scores, hits, indices = map(np.concatenate, zip(*parts, strict=True))
    return {
        category: rank(
            scores[classes == category],
            hits[None, classes == category],
            np.ones((1, (classes == category).sum()), dtype=bool),
            indices[classes == category],
            positives[category],
        )
        for category in sorted(positives)
    }
