"""Line and bar charts as inline SVG; the page's style sheet gives them their colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 10, 12, 46
_BARS_WITH_NUMBERS = 15  # smallest width of a bar with a number, in pixels
_HEADROOM = 1.06  # length of the axis for the longest bar, to leave room for its number


class Series(NamedTuple):
    """A line of K points, of one run."""

    run: int
    """Number of the run, which gives the line its colour and dashes."""
    name: str
    x: Sequence[float]
    """(K,) ascending."""
    y: Sequence[float]
    """(K,)"""


class LineChart(NamedTuple):
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    limits: tuple[float, float, float, float] | None = None
    """Left, right, bottom and top of the axes; None: as the lines need."""


class BarChart(NamedTuple):
    title: str
    x_label: str
    y_label: str
    groups: Sequence[str]
    """Names below the bars."""
    notes: Sequence[str]
    """A second line below each name; may be empty."""
    bars: Sequence[tuple[int, str, Sequence[float]]]
    """Number and name of each run, and a value for each group; NaN: no value."""
    digits: int = 1
    """Digits after the decimal point."""


def draw_lines(chart: LineChart) -> str:
    """Draws a line chart as SVG."""
    points = [(x, y) for s in chart.series for x, y in zip(s.x, s.y, strict=True)]
    x0, x1, y0, y1 = chart.limits or _limits(points)
    x_ticks, y_ticks = nice_ticks(x0, x1), nice_ticks(y0, y1)
    if chart.limits is None:
        y1 = max(y1, y_ticks[-1])
    parts = [_axes(chart, x_ticks, y_ticks, (x0, x1), (y0, y1))]
    for series in chart.series:
        places = [
            (_scale(x, x0, x1, _LEFT, WIDTH - _RIGHT), _scale(y, y0, y1, HEIGHT - _BOTTOM, _TOP))
            for x, y in zip(series.x, series.y, strict=True)
        ]
        if len(places) == 1:
            [(x, y)] = places
            parts.append(f'<circle class="dot run-{series.run}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        elif places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path class="line run-{series.run}" d="M{path}"/>')
    ends = [f"{s.name} ends at {compact(s.y[-1])}" for s in chart.series if len(s.y)]
    return _svg(f"{chart.title}, {chart.y_label} over {chart.x_label}: {'; '.join(ends)}", parts)


def draw_bars(chart: BarChart) -> str:
    """Draws a bar chart as SVG; each group has the bars of all runs side by side."""
    values = [v for _, _, row in chart.bars for v in row if math.isfinite(v)]
    low, high = min([0, *values]), max([0, *values])
    y_ticks = nice_ticks(low, high if high > low else 1)
    y0 = min(y_ticks[0], _HEADROOM * low)
    y1 = max(y_ticks[-1], _HEADROOM * high, 1e-12)
    zero = _scale(0, y0, y1, HEIGHT - _BOTTOM, _TOP)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(chart.groups))
    width = 0.8 * step / max(1, len(chart.bars))
    parts = [_axes(chart, [], y_ticks, (0, 1), (y0, y1))]
    for column, (run, name, row) in enumerate(chart.bars):
        for group, value in enumerate(row):
            left = _LEFT + (group + 0.1) * step + column * width
            known = math.isfinite(value)
            end = _scale(value, y0, y1, HEIGHT - _BOTTOM, _TOP) if known else zero
            number = f"{value:,.{chart.digits}f}" if known else "–"
            title = escape(f"{name}, {chart.groups[group]}: {number}")
            parts.append(
                f'<rect class="bar run-{run}" x="{left + 0.5:.1f}" y="{min(end, zero):.1f}" '
                f'width="{width - 1:.1f}" height="{abs(zero - end):.1f}">'
                f"<title>{title}</title></rect>"
            )
            if width >= _BARS_WITH_NUMBERS and value != 0:
                beyond = end + 9 if value < 0 else end - 3
                parts.append(_text("value", left + width / 2, beyond, number, "middle"))
    for group, (name, note) in enumerate(zip(chart.groups, chart.notes, strict=True)):
        middle = _LEFT + (group + 0.5) * step
        parts.append(_text("tick", middle, HEIGHT - _BOTTOM + 14, name, "middle"))
        parts.append(_text("note", middle, HEIGHT - _BOTTOM + 26, note, "middle"))
    return _svg(f"{chart.title}, {chart.y_label}: the numbers are in the table", parts)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers; the first is at most `low`, the last is at least `high`."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(f for f in (1, 2, 5, 10) if (high - low) / (f * step) <= count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def compact(value: float) -> str:
    """A number with about three digits: 0.00123, 1.23, 123, 12k."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    if abs(value) >= 10_000:
        return f"{value / 1000:,.4g}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _limits(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Limits of axes for all points. An axis starts at 0 unless that would waste space."""
    (x0, x1), (y0, y1) = (_limits_along([p[axis] for p in points] or [0.0]) for axis in (0, 1))
    return x0, x1, y0, y1


def _limits_along(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    low = 0.0 if 0 <= low < 0.6 * high else low
    return low, high if high > low else low + max(1.0, abs(low))


def _scale(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _axes(chart: LineChart | BarChart, x_ticks, y_ticks, x_limits, y_limits) -> str:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for tick in y_ticks:
        y = _scale(tick, *y_limits, bottom, _TOP)
        if _TOP - 1 <= y <= bottom + 1:
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(_text("tick", _LEFT - 5, y + 3.5, compact(tick), "end"))
    for tick in x_ticks:
        x = _scale(tick, *x_limits, _LEFT, right)
        if _LEFT - 1 <= x <= right + 1:
            anchor = "end" if x > right - 8 else "middle"
            parts.append(_text("tick", x, bottom + 15, compact(tick), anchor))
    parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>')
    parts.append(_text("label", (_LEFT + right) / 2, HEIGHT - 5, chart.x_label, "middle"))
    middle = (_TOP + bottom) / 2
    label = escape(chart.y_label)
    parts.append(
        f'<text class="label" text-anchor="middle" '
        f'transform="translate(10 {middle}) rotate(-90)">{label}</text>'
    )
    return "".join(parts)


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
