"""All measures of one model on one dataset, and the difference between two models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MeasureError
from .measures import MEASURES, Detections, Row, check_measures, finite_or_none

logger = logging.getLogger(__name__)

RESAMPLES = 1000
"""Number of bootstrap draws for an interval."""


@dataclass(frozen=True)
class Evaluation:
    """All measured values of one model on one dataset."""

    dataset: str
    model: str
    images: int
    instances: int
    detections: int
    rows: list[Row]

    def values(self) -> dict[str, dict[str, float]]:
        """All numbers, by key of the row and name of the value; see `Row.flat`."""
        return {row.key: row.flat() for row in self.rows}

    def to_json(self) -> dict:
        """Everything, with None for a value that cannot be measured."""
        return {**vars(self), "rows": [row.to_json() for row in self.rows]}


@dataclass(frozen=True)
class Difference:
    """The difference B − A of a value of two models on the same images, and its 95 % interval."""

    key: str
    title: str
    value: str
    a: float
    b: float
    low: float | None
    high: float | None

    @property
    def difference(self) -> float:
        return self.b - self.a

    @property
    def is_clear(self) -> bool:
        """Whether there is an interval, and 0 is not in it."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict:
        texts = {"key": self.key, "title": self.title, "value": self.value}
        numbers = ("a", "b", "difference", "low", "high")
        return texts | {name: finite_or_none(getattr(self, name)) for name in numbers}


def evaluate(
    detections: Detections, measures: Sequence[str], dataset: str = "", model: str = ""
) -> Evaluation:
    """Computes measures.

    Args:
        detections: detections and ground truth.
        measures: names of `MEASURES`. If there are no masks, measures that need them are left out.
        dataset: name for the table.
        model: name for the table.

    Raises:
        MeasureError: a measure is unknown, something that it needs is missing, or no measure is
            left.
    """
    check_measures(measures)
    if not detections.has_masks and set(measures) != {"coco"}:
        if "coco" not in measures:
            raise MeasureError(
                f"{', '.join(measures)}: needs masks, but {detections.without_masks}"
            )
        logger.warning("only box AP is measured: %s", detections.without_masks)
        measures = ["coco"]
    truth = detections.truth
    return Evaluation(
        dataset,
        model,
        len(truth.imgs),
        sum(not a.get("iscrowd", 0) for a in truth.anns.values()),
        len(detections.results),
        [row for name in measures for row in MEASURES[name](detections)],
    )


def compare(
    a: Evaluation, b: Evaluation, resamples: int = RESAMPLES, seed: int = 0
) -> list[Difference]:
    """Differences of all values that two evaluations on the same images have in common.

    The interval is a bootstrap interval. Images are drawn again and again with replacement, the
    same ones for both models. The interval goes from the 2.5 to the 97.5 percentile of the
    difference.

    Args:
        resamples: number of draws; 0: no intervals.
        seed: random seed of the draws.
    """
    others = {row.key: row for row in b.rows}
    common = [(row, others[row.key]) for row in a.rows if row.key in others]
    drawn = _draw(common, a.images, max(a.detections, b.detections), resamples, seed)
    differences = []
    for first, second in common:
        for value, number in first.values.items():
            if value not in second.values:
                continue
            low, high = _interval(drawn.get((first.key, value), []))
            differences.append(
                Difference(first.key, first.title, value, number, second.values[value], low, high)
            )
    return differences


def _draw(
    rows: Sequence[tuple[Row, Row]], images: int, detections: int, resamples: int, seed: int
) -> dict[tuple[str, str], np.ndarray]:
    """The difference of each value in each draw of the images, (resamples,), by key and name."""
    from tqdm import tqdm

    rng = np.random.default_rng(seed)
    # A draw needs about 500 bytes per detection, for ten thresholds: so many draws need half a GB.
    at_once = max(1, min(50, int(1e6 / max(1, detections))))
    drawn: dict[tuple[str, str], list[np.ndarray]] = {}
    with tqdm(total=resamples, desc="bootstrap", unit="draw", leave=False) as bar:
        for begin in range(0, resamples, at_once):
            chosen = rng.integers(images, size=(min(at_once, resamples - begin), images))
            weights = np.stack([np.bincount(c, minlength=images) for c in chosen]).astype(float)
            for first, second in rows:
                if first.resample and second.resample:
                    one, two = first.resample(weights), second.resample(weights)
                    for value in one:
                        drawn.setdefault((first.key, value), []).append(two[value] - one[value])
            bar.update(len(chosen))
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def _interval(values: np.ndarray | Sequence) -> tuple[float | None, float | None]:
    values = np.asarray(values, dtype=float)
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
