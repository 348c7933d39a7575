"""One image, what two models make of it, and how the second one sees a crowded instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .figures import plain, save
from .masks import PALETTE, instance_colours, match_best, paint_masks, window_of
from .regions import InstanceView, mark_seed, outline_box, region_scales, show_grid, square_around

if TYPE_CHECKING:
    from detectron2.structures import Instances
    from matplotlib.figure import Figure

MIN_SCORE = 0.5

UNMATCHED = 0.55
"""Grey of what fits no instance, or fits it less well than another one."""

UNCHANGED, GAINED, LOST, CLEANED, SPOILT = range(5)
"""What became of a pixel from A to B: nothing; right in B alone, or in A alone; claimed wrongly by
A alone, or by B alone."""

_OPACITY = 0.85  # of masks
_LETTERS = 26  # of a name in a line
_CLEAR = 0.2  # of IoU: a change that is looked at closely
_AROUND = 1.3  # size of the part that is shown, to what changes
_CONTEXT = 3  # how much larger than a region its surroundings are

# Blues where B is better, reds where it is worse.
DIFFERENCE_COLOURS = {
    GAINED: PALETTE[0],
    CLEANED: PALETTE[5],
    LOST: PALETTE[4],
    SPOILT: PALETTE[1],
}


class RegionView(NamedTuple):
    """What a model sees in an image, and how it came to one of its instances."""

    instance: InstanceView
    window: tuple[int, int, int]
    """Left, top and side of the square of the image that is shown, in pixels."""
    embedding: np.ndarray
    """Ψ as colours where the image is in the window, (h, w, 3) in [0, 1]."""


def difference_map(
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    owners: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """What became of each pixel from masks A to masks B.

    A mask is right where its instance is, and claims the rest of its pixels wrongly; one without an
    instance claims all of them wrongly. Where instances cross, a pixel may be right several times.

    Args:
        truth: (N, H, W) boolean.
        a, b: (Na, H, W) and (Nb, H, W) boolean.
        owners: index of the instance of each mask, (Na,) and (Nb,), −1 for none; by default each
            instance has the one mask that fits it best (`match_best`).

    Returns:
        (H, W) integers: GAINED and LOST where B is right for more instances than A or for fewer,
        otherwise SPOILT and CLEANED where only B or only A claims wrongly, UNCHANGED elsewhere.
    """
    owners = owners or (match_best(a, truth), match_best(b, truth))
    (right_a, wrong_a), (right_b, wrong_b) = (
        _right_and_wrong(truth, masks, owner) for masks, owner in zip((a, b), owners, strict=True)
    )
    return np.select(
        [right_b > right_a, right_b < right_a, wrong_b & ~wrong_a, wrong_a & ~wrong_b],
        [GAINED, LOST, SPOILT, CLEANED],
        UNCHANGED,
    )


def draw_differences(
    image: np.ndarray,
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    names: Sequence[str] = ("A", "B"),
    window: tuple[slice, slice] | None = None,
    owners: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """Ground truth, the masks A and B in its colours, and what B gains and loses over A.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: (N, H, W) boolean.
        a, b: (Na, H, W) and (Nb, H, W) boolean.
        names: of A and of B.
        window: rows and columns that are shown and counted; None for all.
        owners: see `difference_map`.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows, columns = window or (slice(0, image.shape[0]), slice(0, image.shape[1]))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    first, second = (fill(name, _LETTERS, max_lines=2, placeholder=" …") for name in names)
    panel, tallest, below = 3.2, 4.5, 0.6  # inches
    above = 0.5 if "\n" in first + second else 0.3
    inches = min(panel * height / width, tallest)
    whole = above + inches + below
    figure = Figure(figsize=(4 * panel, whole))
    axes = figure.subplots(1, 4)
    figure.subplots_adjust(
        left=0.005, right=0.995, bottom=below / whole, top=1 - above / whole, wspace=0.02
    )
    owners = owners or (match_best(a, truth), match_best(b, truth))
    _show(
        axes[0], paint_masks(image, truth, instance_colours(len(truth)), _OPACITY), "ground truth"
    )
    for ax, masks, owner, name in zip(axes[1:3], (a, b), owners, (first, second), strict=True):
        _show(ax, _paint_matched(image, masks, owner), name)
    changes = difference_map(truth, a, b, owners)
    counted = changes[rows, columns]
    picture = 0.8 + 0.2 * np.repeat(image.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    for code, colour in DIFFERENCE_COLOURS.items():
        picture[changes == code] = colour
    _show(axes[3], picture, "what changes")
    for ax in axes:
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[])
        ax.set(xlim=(columns.start - 0.5, columns.stop - 0.5))
        ax.set(ylim=(rows.stop - 0.5, rows.start - 0.5))
    first, second = (n if len(n) <= _LETTERS else f"{n[: _LETTERS - 1]}…" for n in names)
    texts = {
        GAINED: f"right in {second} alone",
        CLEANED: f"wrong in {first} alone",
        LOST: f"right in {first} alone",
        SPOILT: f"wrong in {second} alone",
    }
    squares = [
        Patch(facecolor=colour, label=f"{plain(texts[code])}: {(counted == code).sum():,} px")
        for code, colour in DIFFERENCE_COLOURS.items()
    ]
    squares.append(Patch(facecolor=[UNMATCHED] * 3, label="fits no instance"))
    figure.legend(
        handles=squares,
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
        handlelength=1.0,
        handleheight=1.0,
    )
    return figure


def window_of_changes(truth: np.ndarray, changes: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the part of an image that holds the instances that change clearly, or
    the one that changes most; of the image's shape, with a margin, and all of it without instances.

    Args:
        truth: masks of the instances, (N, H, W) boolean.
        changes: of their IoU, (N,).
    """
    sides = truth.shape[1:]
    sizes = np.abs(changes)
    changed = truth[sizes >= min(_CLEAR, sizes.max(initial=0))].any(axis=0)
    if not changed.any():
        return slice(0, sides[0]), slice(0, sides[1])
    own = window_of(changed)
    share = _AROUND * max((s.stop - s.start) / side for s, side in zip(own, sides, strict=True))
    return tuple(
        _extend(s, math.ceil(min(share, 1) * side), side)
        for s, side in zip(own, sides, strict=True)
    )


def _extend(part: slice, length: int, side: int) -> slice:
    """A longer part around another one, moved to where it is within a side."""
    start = (part.start + part.stop - length) // 2
    start = max(0, min(start, side - length))
    return slice(start, start + length)


def _right_and_wrong(
    truth: np.ndarray, masks: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For how many instances a pixel is right, and whether one claims it wrongly, (H, W) each."""
    right, wrong = np.zeros(truth.shape[1:], dtype=int), np.zeros(truth.shape[1:], dtype=bool)
    for mask, instance in zip(masks, owner, strict=True):
        window = window_of(mask)
        part = mask[window]
        own = truth[instance][window] if instance >= 0 else np.zeros_like(part)
        right[window] += part & own
        wrong[window] |= part & ~own
    return right, wrong


def _paint_matched(image: np.ndarray, masks: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Masks in the colours of their instances (N,), grey for −1; (H, W, 3) in [0, 1]."""
    colours = np.vstack([instance_colours(owner.max(initial=-1) + 1), [[UNMATCHED] * 3]])
    return paint_masks(image, masks, colours[owner], _OPACITY)


def window_around(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int]:
    """Left, top and side of a square around a box, three times as large; within the image, and
    smaller where the image is, but never smaller than the box.

    Args:
        box: x0, y0, x1, y1, (4,).
        size: height and width of the image.
    """
    height, width = size
    left, top, longer = square_around(box, margin=0)
    side = round(max(min(_CONTEXT * longer, height, width), longer))
    corner = (left - (side - longer) / 2, top - (side - longer) / 2)
    left, top = (
        max(0, min(round(start), whole - side))
        for start, whole in zip(corner, (width, height), strict=True)
    )
    return left, top, side


def draw_comparison(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, Instances],
    view: RegionView | None,
) -> None:
    """Writes the picture, 1200 pixels wide; the format is that of the path's ending.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: masks of the instances, (N, H, W) boolean.
        predictions: by the name of the model, as the model returns them for the image; two.
        view: of the last of the models; None, for the whole image, where it has detected nothing.
    """
    from matplotlib.figure import Figure

    panel, title, gap = 2.0, 0.22, 0.04  # inches
    whole = 2 * (panel + title)
    figure = Figure(figsize=(4 * panel, whole))
    axes = np.empty((2, 4), dtype=object)
    for row, column in np.ndindex(axes.shape):
        axes[row, column] = ax = figure.add_axes(
            (
                (column * panel + gap / 2) / (4 * panel),
                ((1 - row) * (panel + title) + gap / 2) / whole,
                (panel - gap) / (4 * panel),
                (panel - gap) / whole,
            )
        )
        ax.set(xticks=[], yticks=[], facecolor="0.9")
        ax.set_visible(row == 0 or view is not None)

    height, width = image.shape[:2]
    window = square_around((0, 0, width, height), margin=0) if view is None else view.window
    pictures = {
        "image": image,
        "ground truth": paint_masks(image, truth, instance_colours(len(truth)), _OPACITY),
    }
    for name, found in predictions.items():
        masks = _confident_masks(found)
        pictures[name] = _paint_matched(image, masks, match_best(masks, truth))
    for ax, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        _show(ax, picture, name, extent=(0, width, height, 0))
        _look_at(ax, window)
    if view is not None:
        _draw_region(axes[0, 3], axes[1], view)
    save(figure, path, scale=1.5)


def _confident_masks(found: Instances) -> np.ndarray:
    return found[found.scores > MIN_SCORE].pred_masks.cpu().numpy()


def _draw_region(above, row, view: RegionView) -> None:
    """The four pictures of the lower row, and the region's box in the picture above them."""
    (left, top, _), (height, width) = view.window, view.embedding.shape[:2]
    place = (left, left + width, top + height, top)
    _show(row[0], view.embedding, "embedding Ψ (PCA)", extent=place)
    for ax in (above, row[0]):
        outline_box(ax, view.instance.box)
        _look_at(ax, view.window)
    scales = region_scales([view.instance])
    for ax, column, title in zip(
        row[1:],
        ("seed", "kernel", "rescored"),
        ("seed", "log kernel or share", "rescored mask"),
        strict=True,
    ):
        show_grid(ax, view.instance, column, scales)
        mark_seed(ax, view.instance.seed)
        _look_at(ax, square_around(view.instance.box, margin=0))
        ax.set_title(title, fontsize=11)


def _look_at(ax, window: tuple[float, float, float]) -> None:
    left, top, side = window
    ax.set(xlim=(left, left + side), ylim=(top + side, top))


def _show(ax, picture, title: str, **options) -> None:
    ax.imshow(picture, interpolation="nearest", **options)
    ax.set_title(plain(title), fontsize=11)
