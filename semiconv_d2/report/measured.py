"""Measures the predictions of the runs of a report again, and compares two runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from detectron2.config import get_cfg

from ..config import add_semiconv_config
from ..errors import ConfigError, DatasetError, ReportError
from ..evaluation import (
    Detections,
    Difference,
    Evaluation,
    Row,
    Threshold,
    compare,
    evaluate,
    find_truth,
    lacks,
    read_results,
)
from ..training.configs import register_own_data
from .finished_runs import EVALUATION, RESULTS, Run, read_json

if TYPE_CHECKING:
    from pycocotools.coco import COCO

logger = logging.getLogger(__name__)

_RECORDED = {"boundary": "boundary", "region": "region", "s": "S"}
"""Measures that are computed again if evaluation.json has them, and the keys of their rows."""

_FIRST_ROWS = ("segm", "bbox", "boundary", "region", "S")  # keys; other rows follow


class Measured(NamedTuple):
    """A run's predictions on the dataset of the report."""

    run: Run
    number: int
    """Number of the run in the report."""
    detections: Detections
    evaluation: Evaluation

    def value(self, row: str, name: str) -> float | None:
        """A value of the row with a key; None if the run does not have it."""
        own = next((r for r in self.evaluation.rows if r.key == row), None)
        return None if own is None else own.values.get(name)


class Comparison(NamedTuple):
    """The measured runs, and the differences between two of them."""

    measured: Sequence[Measured]
    differences: Mapping[tuple[str, str], Difference]
    """Differences by key of the row and name of the value; empty unless there are two runs."""

    @property
    def names(self) -> list[str]:
        return [m.run.name for m in self.measured]

    @property
    def rows(self) -> list[Row]:
        """The rows of all runs, each row once."""
        by_key = {row.key: row for m in reversed(self.measured) for row in m.evaluation.rows}
        first = [by_key.pop(key) for key in _FIRST_ROWS if key in by_key]
        return [*first, *by_key.values()]


def choose_dataset(runs: Sequence[Run], wanted: str | None) -> str | None:
    """The dataset of the report; None if no run has been evaluated."""
    evaluated = [run for run in runs if run.evaluations]
    if not evaluated:
        if wanted:
            raise ReportError(f"no run has been evaluated on {wanted}")
        return None
    common = [d for d in evaluated[0].evaluations if all(d in r.evaluations for r in evaluated)]
    known = "; ".join(f"{r.name} on {', '.join(r.evaluations)}" for r in evaluated)
    if wanted and wanted not in common:
        raise ReportError(f"not all runs were evaluated on {wanted}: {known}")
    if not common:
        raise ReportError(
            f"the runs were evaluated on different datasets: {known}; evaluate them on the same "
            "one: semiconv train --eval-only … DATASETS.TEST \"('NAME',)\""
        )
    return wanted or common[0]


def compare_runs(runs: Sequence[Run], dataset: str, resamples: int) -> Comparison:
    """Measures the runs that have been evaluated on a dataset; see `build_page`."""
    truth = _read_truth(dataset, runs)
    measured = [_measure(r, n, dataset, truth) for n, r in enumerate(runs) if r.evaluations]
    two = [m.evaluation for m in measured] if len(measured) == 2 else []
    differences = compare(*two, resamples) if two else []
    return Comparison(measured, {(d.key, d.value): d for d in differences})


def _read_truth(dataset: str, runs: Sequence[Run]) -> COCO:
    """Reads the ground truth; it may be own data that the configs of the runs name."""
    for run in runs:
        cfg = get_cfg()
        add_semiconv_config(cfg)
        for key in cfg.OWN_DATA:
            cfg.OWN_DATA[key] = run.config.get(f"OWN_DATA.{key}", cfg.OWN_DATA[key])
        try:
            register_own_data(cfg)
        except ConfigError as error:
            raise ReportError(f"{run.folder / 'config.yaml'}: {error}") from error
    try:
        return find_truth(dataset)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; the ground truth of {dataset} must be where it was when the runs were "
            "evaluated: set DETECTRON2_DATASETS, or start this command in the same folder as then"
        ) from error


def _measure(run: Run, number: int, dataset: str, truth: COCO) -> Measured:
    """Measures a run's predictions: the measures in evaluation.json, difficulty and errors."""
    folder = run.evaluations[dataset]
    recorded = read_json(folder / EVALUATION, dict)
    keys = {row["key"] for row in recorded.get("rows", [])}
    results = read_results(folder / RESULTS, truth)
    detections = Detections(truth, results, recorded_threshold(recorded))
    names = [name for name, key in _RECORDED.items() if key in keys]
    if detections.has_masks:
        names += ["difficulty", "errors"]
    names = ["coco", *(name for name in names if lacks(name) is None)]
    logger.info("measuring %s", run.name)
    return Measured(run, number, detections, evaluate(detections, names, dataset, run.name))


def recorded_threshold(recorded: dict) -> Threshold:
    """The score threshold in the row of S in evaluation.json; 0.5 if there is none.

    Older files have no "threshold". They have the score only in the note of the row, rounded to
    three digits.
    """
    for row in recorded.get("rows", []):
        if row.get("key") == "S":
            if row.get("threshold") is not None:
                return Threshold(**row["threshold"])
            if noted := re.match(r"score ≥ (\d+(?:\.\d+)?), (.*)", str(row.get("note") or "")):
                return Threshold(float(noted[1]), noted[2])
    return Threshold(0.5, "given")


def disagreements(measured: Measured, dataset: str) -> list[str]:
    """A note if evaluation.json does not agree with the predictions beside it."""
    values = measured.evaluation.values()
    for row in read_json(measured.run.evaluations[dataset] / EVALUATION, dict).get("rows", []):
        for name, value in row["values"].items():
            ours = values.get(row["key"], {}).get(name)
            if None not in (ours, value) and abs(ours - value) > 0.05:
                return [
                    f"{measured.run.name}: {EVALUATION} has {value:.1f} for {row.get('title')} "
                    f"({name}), but the predictions beside it give {ours:.1f}, which this page "
                    "shows. The file may have used another score or another limit of detections, "
                    "or may belong to other predictions."
                ]
    return []
