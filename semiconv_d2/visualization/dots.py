"""The experiment with dots: what each operator makes of a grid of copies, and of how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .masks import PALETTE, instance_colours

BEHIND, NOTHING = 0.93, 0.55  # grey of the background, and of pixels that match no instance
FLOOR = 1e-8  # smallest distance drawn; what is smaller is rounding


class Panel(NamedTuple):
    """A row of pictures."""

    title: str
    image: np.ndarray
    """(H, W) uint8."""
    labels: Mapping[str, np.ndarray]
    """By the title of the picture: the instance of each pixel, (H, W), or −1. The first one is the
    truth."""


class Curve(NamedTuple):
    """A line of a plot, of K points."""

    name: str
    x: np.ndarray
    """(K,) ascending."""
    mean: np.ndarray
    """(K,)"""
    spread: np.ndarray
    """(K,)"""
    style: int
    """Curves of the same number look alike, dashes aside."""
    dashed: bool


def draw_experiment(
    path: Path,
    panels: Sequence[Panel],
    accuracy: Mapping[str, Sequence[Curve]],
    border: Sequence[Curve],
    reach: int,
) -> None:
    """Writes the picture; the format is that of the path's ending.

    Args:
        accuracy: by the title of the plot, over the number of copies.
        border: distance of embeddings to that of a dot in the middle, over pixels from the border.
        reach: pixels that Φ looks to the side.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(9.4, 5.6))
    pictures = left.subplots(len(panels), 1 + len(panels[0].labels), squeeze=False)
    for row, panel in zip(pictures, panels, strict=True):
        truth, *_ = panel.labels.values()
        row[0].imshow(panel.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        row[0].set_ylabel(panel.title, fontsize=11)
        for ax, labels in zip(row[1:], panel.labels.values(), strict=True):
            ax.imshow(paint_labels(labels, truth), interpolation="nearest")
        for ax in row:
            ax.set(xticks=[], yticks=[])
    for ax, title in zip(pictures[0], ("image", *panels[0].labels), strict=True):
        ax.set_title(title, fontsize=10)

    *above, below = right.subplots(len(accuracy) + 1, 1)
    for ax, (title, curves) in zip(above, accuracy.items(), strict=True):
        _draw_curves(ax, curves)
        ax.set(xscale="log", ylim=(-0.04, 1.08), title=title, xlabel="copies")
        ticks = curves[0].x
        ax.set_xticks(ticks, labels=[f"{x:g}" for x in ticks])
        ax.set_xticks([], minor=True)
    _draw_curves(below, [c._replace(mean=np.maximum(c.mean, FLOOR)) for c in border])
    below.axvline(reach, color="black", linewidth=1, linestyle=":")
    below.set(yscale="log", title="dots: distance of Φ from that of the dot in the middle")
    below.set(xlabel="pixels from the border; dotted: as far as Φ looks", xlim=(0, 4 * reach))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def paint_labels(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels in the colours of the instances that they are said to be of, (H, W, 3) in [0, 1].

    Args:
        labels: (H, W), −1 for none.
        truth: (H, W), −1 for background.
    """
    colours = instance_colours(truth.max() + 1)
    colours = np.vstack([colours, [[BEHIND] * 3], [[NOTHING] * 3]])  # what −2 and −1 find
    return colours[np.where(truth < 0, -2, labels)]


def _draw_curves(ax, curves: Sequence[Curve]) -> None:
    """Lines with their spread, and the names in a legend."""
    for curve in curves:
        ax.errorbar(
            curve.x,
            curve.mean,
            curve.spread,
            label=curve.name,
            color=PALETTE[curve.style],
            linestyle="--" if curve.dashed else "-",
            marker="osD^v*"[curve.style],
            markersize=5,
            capsize=2,
        )
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
