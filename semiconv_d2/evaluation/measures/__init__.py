"""The measures by name: their requirements, and their rows in the table."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import MeasureError
from ..matching import THRESHOLDS
from ..pairs import ImagePairs, Overlap, pair_images
from ..ranking import Ranking, average_precision, mean_average_precision, voc_area
from . import coco, counting, dice, difficulty, errors, region

if TYPE_CHECKING:
    from pycocotools.coco import COCO

logger = logging.getLogger(__name__)


class Threshold(NamedTuple):
    """The smallest score of detections that count in S, and where it comes from."""

    score: float
    origin: str


class Part(NamedTuple):
    """Instances of one kind."""

    property: str
    """The property that sorts them: "contact" or "elongation"."""
    label: str
    """Label of this kind, such as "10 to 30 %"."""
    instances: int
    """Number of these instances."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    section: str
    """Heading of a group of rows that have the same columns."""
    key: str
    """Name in results; unique."""
    title: str
    """Name in the table."""
    values: Mapping[str, float]
    """Values over all classes, by name: in percent, or int for counts. NaN: cannot be measured."""
    resample: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
    """Computes B values from weights (B, I): how often each of the I images counts."""
    by_class: dict[str, dict[str, float]] = field(default_factory=dict)
    """Values of single classes, by name of the class; empty if there is only one class."""
    threshold: Threshold | None = None
    """The smallest score of detections that count; None: all count."""
    part: Part | None = None
    """The instances that count; None: all count."""

    @property
    def note(self) -> str:
        """The text beside the title."""
        if self.threshold is None:
            return ""
        return f"score ≥ {self.threshold.score:.3f}, {self.threshold.origin}"

    @property
    def columns(self) -> dict[str, float]:
        """The values; if only a part of the instances counts, their number comes first."""
        number = {} if self.part is None else {"instances": self.part.instances}
        return {**number, **self.values}

    @property
    def class_means(self) -> dict[str, float]:
        """One value of each class: its AP over all IoU."""
        return {name: v["AP" if "AP" in v else "mean"] for name, v in self.by_class.items()}

    def flat(self) -> dict[str, float]:
        """All numbers; those of classes have Detectron2's names, such as "AP-worm"."""
        return self.columns | {
            f"{value}-{name}": number
            for name, values in self.by_class.items()
            for value, number in values.items()
        }

    def to_json(self) -> dict:
        """Everything, with None for a value that cannot be measured."""
        texts = ("section", "key", "title", "note")
        content = {name: getattr(self, name) for name in texts}
        if self.threshold is not None:
            content["threshold"] = self.threshold._asdict()
        return content | {"values": {k: finite_or_none(v) for k, v in self.flat().items()}}


def finite_or_none(value: float | None) -> float | None:
    """The value, or None if it is not finite: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else value


class Detections:
    """The detections of a model in the images of a dataset, and the ground truth.

    Args:
        truth: ground truth.
        results: COCO results, as `semiconv_d2.evaluation.read_results` returns them.
        threshold: needed by the measure "s".
        max_detections: number of detections per image and class, the best ones, that COCO's
            measures use. By default all, as in AP^r and S. A warning says how many are cut off.
    """

    def __init__(
        self,
        truth: COCO,
        results: Sequence[dict],
        threshold: Threshold | None = None,
        max_detections: int | None = None,
    ):
        self.truth = truth
        self.results = list(results)
        self.threshold = threshold
        numbers = Counter((d["image_id"], d["category_id"]) for d in self.results)
        self.max_detections = max_detections or max(numbers.values(), default=1)
        cut = sum(max(0, number - self.max_detections) for number in numbers.values())
        if cut:
            logger.warning(
                "%s of %s detections are cut off: COCO's measures use the best %d per image and "
                "class.",
                f"{cut:,}",
                f"{len(self.results):,}",
                self.max_detections,
            )
        self.pairs = lru_cache(maxsize=None)(self._pairs)

    def _pairs(self, overlap: Overlap) -> list[ImagePairs]:
        limit = None if overlap == "region" else self.max_detections
        return pair_images(self.truth, self.results, overlap, limit)

    @cached_property
    def without_masks(self) -> str:
        """A text that says which detections and instances have no mask; "" if all have one."""
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
        """Whether all detections and instances have a mask."""
        return not self.without_masks

    @cached_property
    def counts(self) -> list[counting.Counts]:
        return counting.count(self.pairs("region"))


def measure_coco(detections: Detections) -> list[Row]:
    """Mask AP and box AP; only box AP if detections have no masks."""
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

    values, aps = coco.coco_values(
        detections.truth, detections.results, overlap, detections.max_detections
    )
    by_class = {name: {"AP": ap} for name, ap in aps.items()}
    return Row("AP", coco.IOU_TYPES[overlap], f"{overlap} AP", values, resample, by_class)


def measure_region(detections: Detections) -> list[Row]:
    """AP^r at IoU 0.5 to 0.9 and their mean."""
    names = {c: category["name"] for c, category in detections.truth.cats.items()}
    rankings = region.region_rankings(detections.pairs("region"), names)

    def values(weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        return _at_thresholds(mean_average_precision(rankings, weights, voc_area))

    by_class = {}
    for category, ranking in rankings.items() if len(names) > 1 else ():
        areas = average_precision(ranking, area=voc_area)
        by_class[names[category]] = _floats(_at_thresholds(areas))
    return [Row("at IoU", "region", "AP^r", _floats(values()), values, by_class)]


def measure_s(detections: Detections) -> list[Row]:
    """S at IoU 0.5 to 0.9 and their mean, avS."""
    if detections.threshold is None:
        raise MeasureError("the measure 's' needs a score threshold for detections")
    by_image = counting.s_scores(detections.counts, detections.threshold.score)

    def values(weights: np.ndarray) -> dict[str, np.ndarray]:
        return _at_thresholds(weights @ by_image / weights.sum(axis=-1, keepdims=True))

    overall = _floats(values(np.ones(len(by_image))))
    return [Row("at IoU", "S", "S", overall, values, threshold=detections.threshold)]


def measure_dice(detections: Detections) -> list[Row]:
    """Symmetric best Dice, foreground Dice, and the difference in count."""
    if detections.threshold is None:
        raise MeasureError("the measure 'dice' needs a score threshold for detections")
    by_image = dice.image_scores(
        detections.truth, detections.results, detections.pairs("region"), detections.threshold.score
    )

    def values(weights: np.ndarray) -> dict[str, np.ndarray]:
        means = weights @ by_image / weights.sum(axis=-1, keepdims=True)
        return {name: means[..., i] for i, name in enumerate(dice.NAMES)}

    overall = _floats(values(np.ones(len(by_image))))
    threshold = detections.threshold
    return [Row("Dice", "dice", "Dice and count", overall, values, threshold=threshold)]


def choose_threshold(detections: Detections, dataset: str) -> Threshold:
    """The score threshold that gives the largest avS on these detections.

    Args:
        dataset: name of their dataset. S must be reported on other images than these.

    Raises:
        MeasureError: masks are missing.
    """
    if not detections.has_masks:
        raise MeasureError(f"no score for S can be chosen on {dataset}: {detections.without_masks}")
    return Threshold(counting.best_score(detections.counts), f"chosen on {dataset}")


def _at_thresholds(values: np.ndarray) -> dict[str, np.ndarray]:
    """Values (..., T) in [0, 1] at `THRESHOLDS` by name, in percent, (...) each; and their mean."""
    named = {f"{t:.1f}": 100 * values[..., i] for i, t in enumerate(THRESHOLDS)}
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
            values = partial(
                coco.ranked_values, coco.coco_rankings(pairs, categories, chosen=chosen)
            )
            part = Part(bins.name, label, sum(int(inside.sum()) for inside, _ in chosen))
            key, title = f"{bins.name}_{number}", f"{bins.name}: {label}"
            section = "mask AP by difficulty"
            rows.append(Row(section, key, title, _floats(values()), values, part=part))
    return rows


def measure_errors(detections: Detections) -> list[Row]:
    """Errors by kind: their number, and the AP50 that they cost."""
    images = errors.sort_errors(detections.pairs("mask"))
    rankings = errors.error_rankings(images)
    costs = partial(errors.error_costs, rankings)
    return [
        Row("errors", "error_cost", "AP50 lost to errors", _floats(costs()), costs),
        Row("errors", "error_count", "number of errors", errors.count_errors(images)),
    ]


MEASURES: dict[str, Callable[[Detections], list[Row]]] = {
    "coco": measure_coco,
    "boundary": measure_boundary,
    "region": measure_region,
    "s": measure_s,
    "dice": measure_dice,
    "difficulty": measure_difficulty,
    "errors": measure_errors,
}
"""The choices of EVALUATION.MEASURES and `semiconv evaluate --measures`."""

NEED_THRESHOLD = ("s", "dice")
"""Measures that need a score threshold."""


def check_measures(names: Sequence[str]) -> None:
    """Raises `MeasureError` if a measure is unknown or needs a package that is not installed."""
    for name in names:
        if name not in MEASURES:
            raise MeasureError(f"unknown measure {name!r}; there are: {', '.join(MEASURES)}")
        package = lacks(name)
        if package:
            raise MeasureError(f"the measure {name!r} needs {package}: pip install {package}")


def lacks(name: str) -> str | None:
    """Name of the package that must be installed for a measure; None: no package is missing."""
    if name == "boundary" and not coco.has_faster_coco_eval():
        return "faster-coco-eval"
    if name == "difficulty" and find_spec("scipy") is None:
        return "scipy"
    return None
