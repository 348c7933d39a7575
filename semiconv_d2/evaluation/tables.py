"""The tables that people read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .evaluation import Difference, Evaluation
from .measures import Row

_COUNTS = ("instances",)


def format_evaluation(evaluation: Evaluation) -> str:
    """One aligned table: a block for each section, and one for the classes if there are several."""
    heading = " · ".join(
        part
        for part in (
            evaluation.dataset,
            evaluation.model,
            f"{evaluation.images:,} images, {evaluation.instances:,} instances, "
            f"{evaluation.detections:,} detections",
        )
        if part
    )
    lines: list[list[str]] = []
    for section in dict.fromkeys(row.section for row in evaluation.rows):
        rows = [row for row in evaluation.rows if row.section == section]
        names = list(dict.fromkeys(n for row in rows for n in row.values if "-" not in n))
        lines += [[section, *names]] if not lines else [[], [section, *names]]
        lines += [[_title(row), *(_number(row, n) for n in names)] for row in rows]
    blocks = [heading, *(_align(block) for block in (lines, _class_lines(evaluation)) if block)]
    return "\n\n".join(blocks)


def format_differences(a: str, b: str, differences: Sequence[Difference]) -> str:
    """One aligned table of two models; a star where the interval is clear of 0."""
    lines = [["", "", "A", "B", "B - A", "95 % interval", ""]]
    shown = None
    for d in differences:
        if math.isnan(d.a) and math.isnan(d.b):
            continue
        title = "" if d.title == shown else d.title
        shown = d.title
        if title:
            lines.append([])
        clear = d.low is not None and (d.low > 0 or d.high < 0)
        interval = "–" if d.low is None else f"{_signed(d.low)} … {_signed(d.high)}"
        lines.append(
            [title, d.value, _plain(d.a), _plain(d.b), _signed(d.difference), interval, "*" * clear]
        )
    return f"A: {a}\nB: {b}\n\n{_align(lines)}"


def _class_lines(evaluation: Evaluation) -> list[list[str]]:
    """A line for each class, with one value of each measure that has classes."""
    columns = {
        row.title: {
            name.partition("-")[2]: value
            for name, value in row.values.items()
            if name.startswith(("AP-", "mean-"))
        }
        for row in evaluation.rows
    }
    columns = {title: values for title, values in columns.items() if values}
    if not columns:
        return []
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    lines = [["by class", *columns]]
    for name in names:
        lines.append([name, *(_plain(v.get(name, math.nan)) for v in columns.values())])
    return lines


def _title(row: Row) -> str:
    return f"{row.title} ({row.note})" if row.note else row.title


def _number(row: Row, name: str) -> str:
    if name not in row.values:
        return ""
    value = row.values[name]
    whole = name in _COUNTS or row.key == "error_count"
    return f"{value:,.0f}" if whole else _plain(value)


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{round(value, 1) + 0:+.1f}"  # + 0: no -0.0


def _align(lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    from tabulate import tabulate

    sides = ("left", *["right"] * (max(map(len, lines)) - 1))
    table = tabulate(lines, tablefmt="plain", disable_numparse=True, colalign=sides)
    return "\n".join(line.rstrip() for line in table.splitlines())
