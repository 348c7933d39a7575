"""Charts of stored results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from semiconv_d2.visualization.masks import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The number of markers, and of lines, shares no divisor with the number of colours that they are
# combined with. So no two curves of a figure have the same combination.
_MARKERS = "os^Dv*P"
_LINES = ("--", "-.", ":")


def draw_attaching(
    attached: Mapping[float, float], tuned: Mapping[float, float], levels: Mapping[str, float]
) -> Figure:
    """Draws the mask AP after attaching with ŝ = s + log K, by the σ at the start.

    Args:
        attached: mask AP right after attaching, by σ.
        tuned: mask AP after fine-tuning, by the σ at the start.
        levels: mask AP of other models, by name, drawn as horizontal lines.
    """
    figure, ax = _axes("σ of the kernel at the start, in cells", "mask AP")
    curves = {"just attached, s + log K": attached, "s + log K, fine-tuned": tuned}
    for (label, points), (colour, marker) in _with_looks(curves, PALETTE, _MARKERS):
        ordered = sorted(points.items())
        ax.plot(*zip(*ordered, strict=True), color=colour, marker=marker, label=label)
    for (label, level), (colour, style) in _with_looks(levels, PALETTE[2:], _LINES):
        ax.axhline(level, color=colour, linestyle=style, label=f"{label}: {level:.1f}")
    ticks = sorted(attached)
    ax.set(xscale="log", ylim=(0, None))
    ax.set_xticks(ticks, labels=[f"{t:g}" for t in ticks])
    ax.set_xticks([], minor=True)
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure


def draw_difficulty(
    by_model: Mapping[str, Sequence[float]], labels: Sequence[str], meaning: str
) -> Figure:
    """Draws mask AP of models by the difficulty of instances.

    Args:
        by_model: AP of each bin, the easiest first, by the name of the model.
        labels: names of the bins.
        meaning: quantity that the bins divide.
    """
    figure, ax = _axes(meaning, "mask AP")
    for (name, values), (colour, marker) in _with_looks(by_model, PALETTE, _MARKERS):
        ax.plot(range(len(labels)), values, color=colour, marker=marker, label=name)
    ax.set(ylim=(0, 105), xlim=(-0.2, len(labels) - 0.7))
    ax.set_xticks(range(len(labels)), labels=labels)
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure


def draw_costs(
    panels: Mapping[str, Mapping[str, Sequence[float | None]]], labels: Sequence[str]
) -> Figure:
    """Draws the cost of models, as multiples of the first one.

    Args:
        panels: for each measured quantity, the ratios of each model in all settings; None: not
            measured.
        labels: names of the settings.
    """
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for by_model in panels.values() for name in by_model)
    looks = {name: look for (name, _), look in _with_looks(names, PALETTE, _MARKERS)}
    handles = {}
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(8, 1.2 + rows * (0.5 + 0.6 * len(labels))), layout="constrained")
    axes = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    for ax, (title, by_model) in zip(axes.flat, panels.items(), strict=False):
        for name, ratios in by_model.items():
            known = [i for i, r in enumerate(ratios) if r is not None]
            colour, marker = looks[name]
            style = {"color": colour, "marker": marker, "linestyle": "", "label": name}
            [handles[name]] = ax.plot([ratios[i] for i in known], known, **style)
        ax.set(title=title)
        ax.axvline(1, color="grey", linewidth=0.8)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    first = axes[0, 0]
    first.set(xscale="log")
    low, high = first.get_xlim()
    ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8) if low <= t <= high]
    first.set_xticks(ticks, labels=[f"{t:g} ×" for t in ticks])
    first.set_xticks([], minor=True)
    first.set_yticks(range(len(labels)), labels=labels)
    first.set_ylim(len(labels) - 0.5, -0.5)
    figure.legend(
        [handles[n] for n in names], names, frameon=False, loc="outside lower center", ncols=4
    )
    return figure


def _with_looks(
    content: Mapping[str, object], colours: np.ndarray, shapes: Sequence[str]
) -> Iterator[tuple[tuple[str, object], tuple[np.ndarray, str]]]:
    """The items, each with its own combination of a colour and a marker or line style."""
    if len(content) > len(colours) * len(shapes):
        raise ValueError(
            f"{len(content)} curves are too many for a chart: "
            f"at most {len(colours) * len(shapes)} have different looks"
        )
    looks = zip(cycle(colours), cycle(shapes), strict=True)
    return zip(content.items(), islice(looks, len(content)), strict=True)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.set(xlabel=x, ylabel=y)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax
