"""The picture of the experiment with dots: the result of each operator on a grid of copies, and its
accuracy by the number of copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semiconv_d2.visualization.figures import save
from semiconv_d2.visualization.masks import PALETTE, instance_colours

BEHIND, NOTHING = 0.93, 0.55  # grey of the background, and of pixels that match no instance
FLOOR = 1e-8  # smallest distance in the plot; smaller ones are 0 up to rounding


class Panel(NamedTuple):
    """A row of pictures."""

    title: str
    image: np.ndarray
    """(H, W) uint8."""
    labels: Mapping[str, np.ndarray]
    """The instance of each pixel, (H, W), −1: none; by the title of the picture. The first is the
    ground truth."""


class Curve(NamedTuple):
    """A line of a plot, of K points."""

    name: str
    """Lines of the same name, in all plots, have the same colour."""
    dashed: bool
    x: np.ndarray
    """(K,) ascending."""
    mean: np.ndarray
    """(K,)"""
    spread: np.ndarray
    """(K,)"""


def draw_experiment(
    path: Path,
    panels: Sequence[Panel],
    accuracy: Mapping[str, Sequence[Curve]],
    border: Sequence[Curve],
    reach: int,
    dashed: str,
) -> None:
    """Writes the picture, in the format of the path's ending.

    Args:
        panels: the rows of pictures.
        accuracy: curves over the number of copies, by the title of the plot.
        border: distance of embeddings to that of the dot in the middle, over pixels to the border.
        reach: `REACH` of `grids`.
        dashed: meaning of dashed lines.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = 1 + len(panels[0].labels)
    figure = Figure(figsize=(2 * columns, 2 * len(panels) + 3.9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2 * len(panels) + 0.3, 3.6))
    pictures = above.subplots(len(panels), columns, squeeze=False)
    for row, panel in zip(pictures, panels, strict=True):
        truth, *_ = panel.labels.values()
        row[0].imshow(panel.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        row[0].set_ylabel(panel.title)
        for ax, labels in zip(row[1:], panel.labels.values(), strict=True):
            ax.imshow(paint_labels(labels, truth), interpolation="nearest")
        for ax in row:
            ax.set(xticks=[], yticks=[])
    for ax, title in zip(pictures[0], ("image", *panels[0].labels), strict=True):
        ax.set_title(title, fontsize=11)

    *plots, last = below.subplots(1, len(accuracy) + 1)
    names = dict.fromkeys(c.name for curves in (*accuracy.values(), border) for c in curves)
    colours = dict(zip(names, PALETTE, strict=False))
    for ax, (title, curves) in zip(plots, accuracy.items(), strict=True):
        _draw_curves(ax, curves, colours)
        ticks = curves[0].x
        ax.set(xscale="log", ylim=(-0.04, 1.08), title=title, xlabel="copies")
        ax.set_xticks(ticks, labels=[f"{x:g}" for x in ticks])
        ax.set_xticks([], minor=True)
    _draw_curves(last, [c._replace(mean=np.maximum(c.mean, FLOOR)) for c in border], colours)
    last.axvline(reach, color="black", linewidth=1, linestyle=":")
    last.set(yscale="log", title="dots: distance of Φ to the middle dot's")
    last.set(xlabel="pixels to the border; dotted: as far as Φ looks", xlim=(0, 4 * reach))
    lines = [Line2D([], [], color=colours[n], marker=_marker(n, colours), label=n) for n in names]
    lines.append(Line2D([], [], color="black", linestyle="--", label=dashed))
    below.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
    save(figure, path, scale=1)


def paint_labels(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels in the colours of their predicted instances, (H, W, 3) in [0, 1].

    Args:
        labels: (H, W); −1: no instance.
        truth: (H, W); −1: background.
    """
    colours = instance_colours(1 + max(labels.max(), truth.max()))
    colours = np.vstack([colours, [[BEHIND] * 3], [[NOTHING] * 3]])  # for indices −2 and −1
    return colours[np.where(truth < 0, -2, labels)]


def _draw_curves(ax, curves: Sequence[Curve], colours: Mapping[str, np.ndarray]) -> None:
    """Draws lines with their spread."""
    for number, curve in enumerate(curves):
        ax.errorbar(
            curve.x,
            curve.mean,
            curve.spread,
            color=colours[curve.name],
            linestyle="--" if curve.dashed else "-",
            marker=_marker(curve.name, colours),
            markersize=9 - number,  # smaller, so that earlier markers stay visible
            capsize=2,
        )
    ax.grid(alpha=0.3)


def _marker(name: str, names: Mapping[str, object]) -> str:
    return "osD^v*"[list(names).index(name)]
