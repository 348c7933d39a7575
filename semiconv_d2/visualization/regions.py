"""Pictures of seed, kernel and mask logits in single regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .figures import plain
from .masks import outline, paint_masks

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

MAX_REGIONS = 8
SCALE = 4  # picture pixels per sample of a region
GAP = 4  # picture pixels between tiles

_COLUMNS = (
    "box and seed",
    "weights of the seed",
    "log kernel or share",
    "mask logits",
    "rescored logits",
    "mask",
)
_CELL, _GAP = 1.7, 0.06  # inches
_ABOVE, _BELOW = 0.3, 0.55  # inches of margin
_LETTERS = 16  # letters per line of a label
_MARGIN = 0.12  # margin around a box, as a share of its longer side
_THINNEST = 0.1  # shortest side of a box that is drawn, in pixels
_SURE = 6.0  # largest end of the scale of logits: larger logits are all equally certain
_TAIL = 0.02  # share of the values that may lie beyond an end of a scale


class InstanceView(NamedTuple):
    """How a model found one instance. M is the side of the region's grid."""

    label: str
    """Text beside it, such as "worm 97 %"."""
    box: np.ndarray
    """x0, y0, x1, y1 of the region, in pixels of the image, (4,)."""
    seed: np.ndarray
    """x and y of the expected position of the seed, in pixels of the image, (2,)."""
    seed_weights: np.ndarray
    """How much each sample point contributes to the seed, (M, M); sums to 1."""
    log_kernel: np.ndarray
    """log K between each sample point and the seed, (M, M); with competition log P."""
    logits: np.ndarray
    """Mask logits of the stock head, (M, M)."""
    rescored: np.ndarray
    """Mask logits after rescoring, (M, M)."""
    mask: np.ndarray
    """The final mask, (H, W) boolean."""


def draw_instance_views(
    image: np.ndarray,
    views: Sequence[InstanceView],
    colours: np.ndarray,
    scales: Mapping[str, Scale] | None = None,
) -> Figure:
    """Draws a row for each instance: its place in the image, the seed, the kernel, the mask logits
    before and after rescoring, and the mask. All panels of a row show the same square of the image.

    Args:
        image: (H, W, 3) uint8, RGB.
        colours: colours of the N instances, (N, 3) in [0, 1].
        scales: scales of `region_scales` that several figures share; None: those of these views.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    if not views:
        return _draw_no_instance(image)
    count, columns = len(views), len(_COLUMNS)
    labels = [wrap(v.label.replace(" %", "\N{NO-BREAK SPACE}%"), _LETTERS) for v in views]
    margin = 0.2 + 0.085 * max(len(line) for lines in labels for line in lines or [""])
    width = margin + columns * (_CELL + _GAP)
    height = _ABOVE + count * (_CELL + _GAP) + _BELOW
    figure = Figure(figsize=(width, height))

    def place(column: int, bottom: float, cells: int, inches: float, inset: float = 0.0):
        left = margin + column * (_CELL + _GAP) + inset
        wide = cells * (_CELL + _GAP) - _GAP - 2 * inset
        return figure.add_axes((left / width, bottom / height, wide / width, inches / height))

    scales = scales or region_scales(views)
    for number, (view, label, colour) in enumerate(zip(views, labels, colours, strict=True)):
        bottom = _BELOW + (count - 1 - number) * (_CELL + _GAP)
        row = [place(column, bottom, 1, _CELL) for column in range(columns)]
        _draw_row(row, image, view, colour, scales)
        row[0].set_ylabel(plain("\n".join(label)), rotation=0, ha="right", va="center")
        if number == 0:
            for ax, title in zip(row, _COLUMNS, strict=True):
                ax.set_title(title, fontsize=10)
    for column, cells, key in ((1, 1, "seed"), (2, 1, "kernel"), (3, 2, "logits")):
        scale = scales[key]
        bar = place(column, _BELOW - 0.22, cells, 0.1, inset=0.15)
        figure.colorbar(
            ScalarMappable(scale.norm, scale.cmap),
            bar,
            orientation="horizontal",
            extend=scale.extend,
            ticks=scale.ticks,
            format="%g",
        )
        bar.tick_params(labelsize=8)
        bar.set_xlabel(scale.meaning, fontsize=8, labelpad=1)
    return figure


class Scale(NamedTuple):
    """The colour scale of a quantity."""

    cmap: str
    norm: Normalize
    extend: str
    """The ends that values may lie beyond, in Matplotlib's words: "min", "both", "neither"."""
    meaning: str
    ticks: Sequence[float] | None = None


def region_scales(views: Sequence[InstanceView]) -> dict[str, Scale]:
    """The colour scales, the same in all rows."""
    from matplotlib.colors import Normalize, PowerNorm

    kernel = _finite(v.log_kernel for v in views)
    lowest = min(np.quantile(kernel, _TAIL), -0.1)
    logits = np.abs(_finite(x for v in views for x in (v.logits, v.rescored)))
    largest = np.clip(np.quantile(logits, 1 - _TAIL), 1.0, _SURE)
    return {
        "seed": Scale(
            "viridis",
            PowerNorm(0.5, 0, 1),
            "neither",
            "of the row's largest weight",
            (0, 0.1, 0.5, 1),
        ),
        "kernel": Scale("cividis", Normalize(lowest, 0), "min", "0: surely the seed's"),
        "logits": Scale("PuOr_r", Normalize(-largest, largest), "both", "above 0: of the instance"),
    }


def show_grid(ax, view: InstanceView, column: str, scales: Mapping[str, Scale]) -> None:
    """Draws one of the (M, M) arrays of a view, in its place in the image.

    Args:
        column: "seed", "kernel", "logits" or "rescored".
        scales: as `region_scales` gives them.
    """
    values = {
        "seed": view.seed_weights / max(view.seed_weights.max(), np.finfo(np.float64).tiny),
        "kernel": view.log_kernel,
        "logits": view.logits,
        "rescored": view.rescored,
    }[column]
    scale = scales["logits" if column == "rescored" else column]
    x0, y0, x1, y1 = view.box
    x1, y1 = max(x1, x0 + _THINNEST), max(y1, y0 + _THINNEST)
    ax.imshow(
        values,
        cmap=scale.cmap,
        norm=scale.norm,
        extent=(x0, x1, y1, y0),
        interpolation="nearest",
    )


def _draw_row(
    row, image: np.ndarray, view: InstanceView, colour: np.ndarray, scales: Mapping[str, Scale]
) -> None:
    left, top, side = square_around(view.box)
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(x, 0, width)) for x in (np.floor(left), np.ceil(left + side)))
    y0, y1 = (int(np.clip(y, 0, height)) for y in (np.floor(top), np.ceil(top + side)))
    part, mask = image[y0:y1, x0:x1], view.mask[y0:y1, x0:x1]
    first, *grids, last = row
    for ax, picture in ((first, part), (last, paint_masks(part, mask[None], colour[None], 0.65))):
        ax.imshow(picture, extent=(x0, x1, y1, y0), interpolation="nearest")
        outline(ax, view.mask, [("black", 2.6), (colour, 1.4)])
    for ax, column in zip(grids, ("seed", "kernel", "logits", "rescored"), strict=True):
        show_grid(ax, view, column, scales)
    for ax in row:
        ax.set(xticks=[], yticks=[], facecolor="0.9")
        ax.set(xlim=(left, left + side), ylim=(top + side, top))
        mark_seed(ax, view.seed)
    outline_box(first, view.box)


def outline_box(ax, box: np.ndarray) -> None:
    """Draws a box, x0, y0, x1, y1, (4,), with a line that is visible on light and on dark."""
    x0, y0, x1, y1 = box
    for colour, width in (("black", 2.5), ("white", 1.0)):
        ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=width)


def mark_seed(ax, seed: np.ndarray) -> None:
    """Draws a cross that is visible on light and on dark, at x and y, (2,)."""
    for colour, size, width in (("black", 11, 3.6), ("white", 9, 1.6)):
        ax.plot(*seed, "+", color=colour, markersize=size, markeredgewidth=width, zorder=5)


def square_around(box: np.ndarray, margin: float = _MARGIN) -> tuple[float, float, float]:
    """Left, top and side of a square with a box in its middle.

    Args:
        box: x0, y0, x1, y1, (4,).
        margin: margin around the box, as a share of its longer side.
    """
    x0, y0, x1, y1 = map(float, box)
    side = max(x1 - x0, y1 - y0, 1.0) * (1 + 2 * margin)
    return (x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side


def _finite(arrays: Iterable[np.ndarray]) -> np.ndarray:
    values = np.concatenate([np.ravel(a) for a in arrays])
    values = values[np.isfinite(values)]
    return values if len(values) else np.zeros(1)


def _draw_no_instance(image: np.ndarray) -> Figure:
    from matplotlib.figure import Figure

    ratio = image.shape[0] / image.shape[1]
    figure = Figure(figsize=(4, min(4 * ratio, 12) + 0.4), layout="constrained")
    ax = figure.subplots()
    ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.set_title("no instance", fontsize=11)
    return figure


def draw_regions(*columns: Tensor) -> Tensor:
    """Draws one row of grey tiles for each region, each tile scaled so that its largest value is 1.

    The seed's weights sum to 1 over the region, so without scaling they would all look black.

    Args:
        columns: (R, M, M) each, non-negative or boolean; at most `MAX_REGIONS` regions are drawn.

    Returns:
        (3, H, W) uint8, for TensorBoard.
    """
    tiles = torch.stack([c[:MAX_REGIONS].float() for c in columns], dim=1).cpu()
    tiles = tiles / tiles.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(tiles.dtype).tiny)
    large = tiles.repeat_interleave(SCALE, dim=2).repeat_interleave(SCALE, dim=3)
    large = torch.nn.functional.pad(large, (0, GAP, 0, GAP), value=1.0)  # (R, C, H, W)
    picture = large.transpose(1, 2).flatten(2).flatten(0, 1)[:-GAP, :-GAP]
    return (picture * 255).round().to(torch.uint8).expand(3, -1, -1)


def place_beside(left: Tensor, right: Tensor) -> Tensor:
    """Two pictures, (3, H, W) uint8 each, side by side on white, as high as the higher one."""
    height = max(left.shape[1], right.shape[1])
    pad = torch.nn.functional.pad
    parts = (
        pad(left, (0, GAP, 0, height - left.shape[1]), value=255),
        pad(right, (0, 0, 0, height - right.shape[1]), value=255),
    )
    return torch.cat(parts, dim=2)
