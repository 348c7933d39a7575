"""The sections of a report about measured values: results, difficulty, errors and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..evaluation import Difference, Row
from ..evaluation.measures.coco import coco_rankings
from ..evaluation.measures.errors import KINDS
from ..evaluation.ranking import RECALLS, mean_known, precision_at_recalls
from ..evaluation.tables import format_change, format_number
from .charts import BarChart, LineChart, Series
from .finished_runs import Run
from .gallery import common_overlap
from .measured import Comparison
from .page import Section, Table, Tile

_TILES = (  # titles, keys of rows and names of values
    ("mask AP", "segm", "AP"),
    ("mask AP75", "segm", "AP75"),
    ("box AP", "bbox", "AP"),
    ("AP^r, mean", "region", "mean"),
    ("avS", "S", "mean"),
    ("AP, contact > 30 %", "contact_3", "AP"),
)


def tiles(runs: Sequence[Run], comparison: Comparison) -> list[Tile]:
    """The most important numbers, for the top of the page."""
    measured = {m.number: m for m in comparison.measured}
    shown = []
    for title, key, name in _TILES:
        values = [measured[n].value(key, name) if n in measured else None for n in range(len(runs))]
        if any(v is not None and not math.isnan(v) for v in values):
            change = ", ".join(_change(comparison.differences.get((key, name))))
            shown.append(Tile(title, [format_number(v) for v in values], change))
    return shown


def results(comparison: Comparison) -> Section:
    """All values over all images, and those of single classes."""
    text = []
    if comparison.differences:
        first, second = comparison.names
        text.append(
            f"The difference is {second} minus {first}. The 95 % interval (bootstrap) covers the "
            "choice of test images. It does not cover what another random seed of the training "
            "would change. A star marks intervals that do not contain 0."
        )
    scores = [
        f"{threshold.score:.3f} for {m.run.name} ({threshold.origin})"
        for m in comparison.measured
        for row in m.evaluation.rows
        if (threshold := row.threshold)
    ]
    if scores:
        text.append(f"S counts detections with at least this score: {', '.join(scores)}.")
    tables = []
    for row in comparison.rows:
        if row.section in ("AP", "at IoU"):
            title = f"{row.title} {row.section}" if row.section == "at IoU" else row.title
            tables.append(_value_table(title, [row], comparison))
    return Section("results", "Results", text, tables=[*tables, *class_tables(comparison)])


def class_tables(comparison: Comparison) -> list[Table]:
    """AP of each class, one column for each run."""
    tables = []
    for row in comparison.rows:
        if row.by_class:
            means = [
                next((r.class_means for r in m.evaluation.rows if r.key == row.key), {})
                for m in comparison.measured
            ]
            lines = [[n, *(format_number(own.get(n)) for own in means)] for n in row.by_class]
            columns = [f"{row.title} by class", *comparison.names]
            tables.append(Table(columns[0], columns, lines))
    return tables


def difficulty(comparison: Comparison) -> Section | None:
    """AP by crowding and elongation."""
    charts, tables = [], []
    for name, title, meaning in (
        ("contact", "crowding", "share of the outline in contact"),
        ("elongation", "elongation", "elongation"),
    ):
        of_kinds = [r for r in comparison.rows if r.part and r.part.property == name]
        if rows := [r for r in of_kinds if r.part.instances]:
            charts.append(
                BarChart(
                    f"Mask AP by {title}",
                    meaning,
                    "mask AP, %",
                    [r.part.label for r in rows],
                    [f"{r.part.instances:,} inst." for r in rows],
                    _bars(comparison, [(r.key, "AP") for r in rows]),
                )
            )
            tables.append(_value_table(f"mask AP by {name}", rows, comparison))
    text = [
        "Contact is the share of an instance's outline that lies on another instance, or at most 2 "
        "pixels beside it. Elongation is the area of an instance divided by the area of the "
        "largest disc inside it. A detection belongs to the kind of the instance that it overlaps "
        "most."
    ]
    title = "Crowding and elongation"
    return Section("difficulty", title, text, charts, tables) if charts else None


def errors(comparison: Comparison) -> Section | None:
    """Errors by kind, and the AP50 that they cost."""
    rows = [row for row in comparison.rows if row.section == "errors"]
    if not rows:
        return None
    kinds = (*KINDS, "FP", "FN")
    charts = [
        BarChart(
            title,
            "kind of error",
            unit,
            kinds,
            [""] * len(kinds),
            _bars(comparison, [(key, kind) for kind in kinds]),
            digits,
        )
        for title, unit, key, digits in (
            ("AP50 lost to errors", "points of AP50", "error_cost", 1),
            ("Number of errors", "detections or instances", "error_count", 0),
        )
    ]
    text = [
        "Errors of masks at IoU 0.5, by kind as in TIDE. Cls: misclassified. Loc: badly localised. "
        "Both: misclassified and badly localised. Dupe: duplicate. Bkg: background. Miss: missed. "
        "FP: all false positives. FN: all instances that are not found. The cost of a kind is the "
        "rise of AP50 when all errors of this kind are corrected. Detections of all scores count."
    ]
    tables = [_value_table(row.title, [row], comparison) for row in rows]
    return Section("errors", "Errors by kind", text, charts, tables)


def precision_recall(comparison: Comparison) -> Section:
    """Precision-recall curves at three values of IoU."""
    overlap = common_overlap([m.detections for m in comparison.measured])
    categories = comparison.measured[0].detections.truth.cats
    thresholds = np.array([0.5, 0.75, 0.9])
    series: list[list[Series]] = [[] for _ in thresholds]
    for m in comparison.measured:
        rankings = coco_rankings(m.detections.pairs(overlap), categories, thresholds)
        curves = mean_known(np.array([precision_at_recalls(r) for r in rankings.values()]))
        for lines, curve in zip(series, curves, strict=True):
            if np.isfinite(curve).all():
                lines.append(Series(m.number, m.run.name, RECALLS.tolist(), curve.tolist()))
    charts = [
        LineChart(f"IoU {t:g}", "recall", "precision", lines, (0, 1, 0, 1))
        for t, lines in zip(thresholds, series, strict=True)
        if lines
    ]
    several = " They are the mean over the classes." if len(categories) > 1 else ""
    what = {"mask": "masks", "box": "boxes"}[overlap]
    text = [
        f"Curves for {what}, as in COCO: at each recall the best precision at this or a larger "
        f"recall.{several}"
    ]
    return Section("curves", "Precision and recall", text, charts)


def _value_table(title: str, rows: Sequence[Row], comparison: Comparison) -> Table:
    """A line for each value, a column for each run, and the difference of two."""
    changes = {
        (row.key, name): _change(comparison.differences.get((row.key, name)))
        for row in rows
        for name in row.values
    }
    most = max(map(len, changes.values()), default=0)  # cells after those of the runs
    lines: list[list[str]] = []
    for row in rows:
        if len(rows) > 1:  # several kinds of instances
            lines.append([f"{row.title}, {row.part.instances:,} instances"])
        for name in row.values:
            cells = [format_number(m.value(row.key, name)) for m in comparison.measured]
            change = changes[row.key, name]
            lines.append([name, *cells, *change, *[""] * (most - len(change))])
    columns = [title, *comparison.names, *("difference", "95 % interval")[:most]]
    return Table(title, columns, lines)


def _change(difference: Difference | None) -> list[str]:
    """The difference of two runs and its interval, if they are known."""
    if difference is None or math.isnan(difference.difference):
        return []
    change = _signed(difference.difference) + " *" * difference.is_clear
    if difference.low is None:
        return [change]
    return [change, f"{_signed(difference.low)} to {_signed(difference.high)}"]


def _signed(value: float) -> str:
    return format_change(value).replace("-", "−")


def _bars(comparison: Comparison, keys: Sequence[tuple[str, str]]) -> list:
    """The bars of a `BarChart`; `keys` are keys of rows and names of values."""
    bars = []
    for m in comparison.measured:
        values = [m.value(*key) for key in keys]
        bars.append((m.number, m.run.name, [math.nan if v is None else v for v in values]))
    return bars
