"""The measures by name: what each of them needs, and the rows that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import MeasureError
from ..pairs import ImagePairs, pair_images
from ..ranking import Ranking, average_precision, mean_average_precision, voc_area
from . import coco, counting, difficulty, errors, region

if TYPE_CHECKING:
    from pycocotools.coco import COCO


class Threshold(NamedTuple):
    """From which score on detections count in S, and where that comes from."""

    score: float
    origin: str


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    section: str
    """Rows of a section stand together under the names of their values."""
    key: str
    """Name in results; unique."""
    title: str
    """Name in the table."""
    values: dict[str, float]
    """By name; NaN where there is nothing to measure. Names with a "-" are of a single class."""
    resample: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
    """Values (B,) over images that count as often as each of B rows of weights (B, I) says."""
    note: str = ""
    """Stands beside the title."""


class Detections:
    """What a model found in the images of a dataset, and what was there.

    Args:
        truth: ground truth.
        results: COCO results that `semiconv_d2.evaluation.read_results` would return.
        threshold: needed by the measure "s".
        max_detections: the best of each image and class that COCO's measures look at; AP^r and S
            look at all.
    """

    def __init__(
        self,
        truth: COCO,
        results: Sequence[dict],
        threshold: Threshold | None = None,
        max_detections: int = 100,
    ):
        self.truth = truth
        self.results = list(results)
        self.threshold = threshold
        self.max_detections = max_detections
        self.pairs = lru_cache(maxsize=None)(self._pairs)

    def _pairs(self, overlap: str) -> list[ImagePairs]:
        limit = None if overlap == "region" else self.max_detections
        return pair_images(self.truth, self.results, overlap, limit)

    @cached_property
    def without_masks(self) -> str:
        """Which detections and instances have none, for people; "" where all have."""
        parts = []
        for what, things in (
            ("annotations", self.truth.dataset["annotations"]),
            ("detections", self.results),
        ):
            lacking = [thing for thing in things if not thing.get("segmentation")]
            if lacking:
                first = lacking[0].get("id", f"of image {lacking[0]['image_id']}")
                part = f"{len(lacking):,} of {len(things):,} {what}"
                parts.append(f"{part} have no mask, the first is {first}")
        return "; ".join(parts)

    @property
    def has_masks(self) -> bool:
        """Whether all detections and instances have."""
        return not self.without_masks

    @cached_property
    def counts(self) -> list[counting.Counts]:
        return counting.count(self.pairs("region"))


def measure_coco(detections: Detections) -> list[Row]:
    """Mask AP and box AP; box AP alone where the detections have no masks."""
    overlaps = ("mask", "box") if detections.has_masks else ("box",)
    return [_coco_row(detections, overlap) for overlap in overlaps]


def measure_boundary(detections: Detections) -> list[Row]:
    """Boundary AP."""
    return [_coco_row(detections, "boundary")]


def _coco_row(detections: Detections, overlap: str) -> Row:
    @lru_cache(maxsize=1)
    def rankings() -> dict[str, dict[int, Ranking]]:
        pairs, categories = detections.pairs(overlap), detections.truth.cats
        by_area = {
            name: coco.coco_rankings(pairs, categories, chosen=coco.choose_area(pairs, *limits))
            for name, limits in coco.AREAS.items()
        }
        return {"": coco.coco_rankings(pairs, categories)} | by_area

    def resample(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = coco.ranked_values(rankings()[""], weights)
        for name in coco.AREAS:
            values[name] = coco.ranked_values(rankings()[name], weights)["AP"]
        return values

    values = coco.coco_values(
        detections.truth, detections.results, overlap, detections.max_detections
    )
    key = {"mask": "segm", "box": "bbox"}.get(overlap, overlap)
    return Row("AP", key, f"{overlap} AP", values, resample)


def measure_region(detections: Detections) -> list[Row]:
    """AP^r at IoU 0.5 to 0.9 and their mean."""
    names = {c: category["name"] for c, category in detections.truth.cats.items()}
    rankings = region.region_rankings(detections.pairs("region"), names)

    def values(weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        areas = mean_average_precision(rankings, weights, voc_area)
        return _at_thresholds(areas, region.THRESHOLDS)

    by_class = {}
    for category, ranking in rankings.items() if len(names) > 1 else ():
        at = _at_thresholds(average_precision(ranking, area=voc_area), region.THRESHOLDS)
        by_class |= {f"{value}-{names[category]}": number for value, number in at.items()}
    return [Row("at IoU", "region", "AP^r", _floats(values() | by_class), values)]


def measure_s(detections: Detections) -> list[Row]:
    """S at IoU 0.5 to 0.9 and their mean, avS."""
    if detections.threshold is None:
        raise MeasureError("the measure 's' needs a score from which on detections count")
    score, origin = detections.threshold
    by_image = counting.s_scores(detections.counts, score)

    def values(weights: np.ndarray) -> dict[str, np.ndarray]:
        means = weights @ by_image / weights.sum(axis=-1, keepdims=True)
        return _at_thresholds(means, counting.THRESHOLDS)

    note = f"score ≥ {score:.3f}, {origin}"
    return [Row("at IoU", "S", "S", _floats(values(np.ones(len(by_image)))), values, note)]


def choose_threshold(detections: Detections, dataset: str) -> Threshold:
    """The score for the largest avS on these detections.

    Args:
        dataset: its name, which must not be that of the images that S is then reported on.

    Raises:
        MeasureError: masks are missing.
    """
    if not detections.has_masks:
        raise MeasureError(f"no score for S can be chosen on {dataset}: {detections.without_masks}")
    return Threshold(counting.best_score(detections.counts), f"chosen on {dataset}")


def _at_thresholds(values: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Values (..., T) in percent, each (...), and their mean."""
    named = {f"{t:.1f}": 100 * values[..., i] for i, t in enumerate(thresholds)}
    return named | {"mean": 100 * values.mean(axis=-1)}


def _floats(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def measure_difficulty(detections: Detections) -> list[Row]:
    """Mask AP by contact with other instances and by elongation."""
    pairs, categories = detections.pairs("mask"), detections.truth.cats
    measured = difficulty.measure_instances(detections.truth)
    rows = []
    for bins in (difficulty.CONTACT, difficulty.ELONGATION):
        for number, label in enumerate(bins.labels):
            chosen = difficulty.choose_bin(pairs, bins, measured[bins.name], number)
            rankings = coco.coco_rankings(pairs, categories, chosen=chosen)
            instances = sum(int(inside.sum()) for inside, _ in chosen)
            rows.append(
                Row(
                    "mask AP by difficulty",
                    f"{bins.name}_{number}",
                    f"{bins.name}: {label}",
                    {"instances": instances} | _floats(coco.ranked_values(rankings)),
                    lambda weights, rankings=rankings: coco.ranked_values(rankings, weights),
                )
            )
    return rows


def measure_errors(detections: Detections) -> list[Row]:
    """Errors by kind: how many there are, and the AP50 that they cost."""
    images = errors.sort_errors(detections.pairs("mask"))
    rankings = errors.error_rankings(images)
    counts = errors.count_errors(images)
    return [
        Row(
            "errors",
            "error_cost",
            "AP50 lost to errors",
            _floats(errors.error_costs(rankings)),
            lambda weights: errors.error_costs(rankings, weights),
        ),
        Row("errors", "error_count", "number of errors", {k: float(n) for k, n in counts.items()}),
    ]


MEASURES: dict[str, Callable[[Detections], list[Row]]] = {
    "coco": measure_coco,
    "boundary": measure_boundary,
    "region": measure_region,
    "s": measure_s,
    "difficulty": measure_difficulty,
    "errors": measure_errors,
}
"""What EVALUATION.MEASURES and `tools/evaluate.py --measures` may name."""


def check_measures(names: Sequence[str]) -> None:
    """Raises `MeasureError` where one is unknown or lacks what it needs to be installed."""
    for name in names:
        if name not in MEASURES:
            raise MeasureError(f"unknown measure {name!r}; there are: {', '.join(MEASURES)}")
        package = lacks(name)
        if package:
            raise MeasureError(f"the measure {name!r} needs {package}: pip install {package}")


def lacks(name: str) -> str | None:
    """Name of the package that has to be installed for a measure, if one has to be."""
    if name == "boundary" and not coco.has_faster_coco_eval():
        return "faster-coco-eval"
    if name == "difficulty" and find_spec("scipy") is None:
        return "scipy"
    return None
