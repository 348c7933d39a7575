"""Evaluations and differences as tables of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .evaluation import Difference, Evaluation


def format_evaluation(evaluation: Evaluation) -> str:
    """One aligned table: a block for each section, and one for the classes if there are several."""
    counted = (
        f"{evaluation.images:,} images, {evaluation.instances:,} instances, "
        f"{evaluation.detections:,} detections"
    )
    heading = " · ".join(part for part in (evaluation.dataset, evaluation.model, counted) if part)
    lines: list[list[str]] = []
    for section in dict.fromkeys(row.section for row in evaluation.rows):
        rows = [row for row in evaluation.rows if row.section == section]
        names = list(dict.fromkeys(name for row in rows for name in row.columns))
        lines += [[section, *names]] if not lines else [[], [section, *names]]
        for row in rows:
            title = f"{row.title} ({row.note})" if row.note else row.title
            cells = (format_number(row.columns[n]) if n in row.columns else "" for n in names)
            lines.append([title, *cells])
    blocks = [heading, *(_align(block) for block in (lines, _class_lines(evaluation)) if block)]
    return "\n\n".join(blocks)


def format_differences(a: str, b: str, differences: Sequence[Difference]) -> str:
    """One aligned table of two models; a star marks intervals that do not contain 0."""
    lines = [["", "", "A", "B", "B - A", "95 % interval", ""]]
    shown = None
    for d in differences:
        if math.isnan(d.a) and math.isnan(d.b):
            continue
        title = "" if d.title == shown else d.title
        shown = d.title
        if title:
            lines.append([])
        values = (format_number(float(d.a)), format_number(float(d.b)))
        change = format_change(float(d.difference))
        interval = "–" if d.low is None else f"{format_change(d.low)} … {format_change(d.high)}"
        lines.append([title, d.value, *values, change, interval, "*" * d.is_clear])
    return f"A: {a}\nB: {b}\n\n{_align(lines)}"


def format_number(value: float | None) -> str:
    """A value of a row: a whole number for counts, and a dash if there is no value."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def format_change(value: float | None) -> str:
    """A difference of two values, with its sign; a dash if there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:+,}" if isinstance(value, int) else f"{round(value, 1) + 0:+.1f}"  # no -0.0


def _class_lines(evaluation: Evaluation) -> list[list[str]]:
    """A line for each class, with one value of each measure that has classes."""
    columns = {row.title: row.class_means for row in evaluation.rows if row.by_class}
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    lines = [[name, *(format_number(v.get(name)) for v in columns.values())] for name in names]
    return [["by class", *columns], *lines] if lines else []


def _align(lines: Sequence[Sequence[str]]) -> str:
    """Aligns the first column to the left, the others to the right."""
    from tabulate import tabulate

    sides = ("left", *["right"] * (max(map(len, lines)) - 1))
    table = tabulate(lines, tablefmt="plain", disable_numparse=True, colalign=sides)
    return "\n".join(line.rstrip() for line in table.splitlines())
