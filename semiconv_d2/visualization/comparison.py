"""Pictures of an image with the masks of two models, and of the pixels where they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from .figures import plain
from .masks import PALETTE, instance_colours, match_best, paint_masks, window_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNMATCHED = 0.55
"""Grey of masks that fit no instance, or whose instance is fitted better by another mask."""

UNCHANGED, GAINED, LOST, CLEANED, SPOILT = range(5)
"""Kinds of change of a pixel from A to B: none; right only in B; right only in A; claimed wrongly
only by A; claimed wrongly only by B."""

_OPACITY = 0.85  # of masks
_LETTERS, _SHORT = 24, 18  # letters of a name per line above a panel, and in the legend
_CLEAR = 0.2  # smallest change of IoU that the close-up shows
_AROUND = 1.3  # size of the close-up, as a multiple of the part that changes

# Blues where B is better, reds where it is worse.
DIFFERENCE_COLOURS = {
    GAINED: PALETTE[0],
    CLEANED: PALETTE[5],
    LOST: PALETTE[4],
    SPOILT: PALETTE[1],
}


def difference_map(
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    owners: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The kind of change of each pixel from masks A to masks B.

    A mask is right at the pixels of its instance, and claims its other pixels wrongly. A mask
    without an instance claims all its pixels wrongly. Where instances cross, a pixel may be right
    for several of them.

    Args:
        truth: (N, H, W) boolean.
        a, b: (Na, H, W) and (Nb, H, W) boolean.
        owners: index of the instance of each mask, (Na,) and (Nb,); −1: none. By default each
            instance has the one mask that fits it best (`match_best`).

    Returns:
        (H, W) integers: GAINED where B is right for more instances than A, LOST where for fewer;
        otherwise SPOILT where only B claims wrongly, CLEANED where only A does; else UNCHANGED.
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
    """Draws the ground truth, the masks A and B in the same colours, and the changes from A to B.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: (N, H, W) boolean.
        a, b: (Na, H, W) and (Nb, H, W) boolean.
        names: names of A and B.
        window: rows and columns to show and count; None: all.
        owners: see `difference_map`.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows, columns = window or (slice(0, image.shape[0]), slice(0, image.shape[1]))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    first, second = (fill(name, _LETTERS, max_lines=2, placeholder=" …") for name in names)
    panel, tallest, gap, below = 3.2, 4.5, 0.05, 0.95  # inches
    above = 0.55 if "\n" in first + second else 0.32
    inches = min(panel * height / width, tallest)
    whole = 2 * (above + inches) + below
    figure = Figure(figsize=(2 * panel, whole))
    axes = [
        figure.add_axes(
            (
                (column * panel + gap / 2) / (2 * panel),
                (below + (1 - row) * (above + inches)) / whole,
                (panel - gap) / (2 * panel),
                inches / whole,
            )
        )
        for row, column in np.ndindex(2, 2)
    ]
    owners = owners or (match_best(a, truth), match_best(b, truth))
    changes = difference_map(truth, a, b, owners)
    changed = 0.8 + 0.2 * np.repeat(image.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    for code, colour in DIFFERENCE_COLOURS.items():
        changed[changes == code] = colour
    panels = (
        ("ground truth", paint_matched(image, truth, np.arange(len(truth)))),
        (first, paint_matched(image, a, owners[0])),
        (second, paint_matched(image, b, owners[1])),
        ("what changes", changed),
    )
    for ax, (title, picture) in zip(axes, panels, strict=True):
        ax.imshow(picture, interpolation="nearest")
        ax.set_title(plain(title), fontsize=12)
        ax.set(xticks=[], xlim=(columns.start - 0.5, columns.stop - 0.5))
        ax.set(yticks=[], ylim=(rows.stop - 0.5, rows.start - 0.5))
    first, second = (n if len(n) <= _SHORT else f"{n[: _SHORT - 1]}…" for n in names)
    texts = {
        GAINED: f"right only in {second}",
        CLEANED: f"wrong only in {first}",
        LOST: f"right only in {first}",
        SPOILT: f"wrong only in {second}",
    }
    counted = changes[rows, columns]
    squares = [
        Patch(facecolor=colour, label=f"{plain(texts[code])}: {(counted == code).sum():,} px")
        for code, colour in DIFFERENCE_COLOURS.items()
    ]
    squares.append(Patch(facecolor=[UNMATCHED] * 3, label="matches no instance"))
    look = {"frameon": False, "fontsize": 9.5, "handlelength": 1.0, "handleheight": 1.0}
    figure.legend(handles=squares, loc="lower center", ncols=2, **look)
    return figure


def paint_matched(image: np.ndarray, masks: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Paints masks over an image in the colours of their instances, (H, W, 3) in [0, 1].

    Args:
        image: (H, W, 3) uint8, RGB.
        masks: (N, H, W) boolean.
        owner: index of the instance of each mask, (N,); −1: none, the mask is grey.
    """
    colours = np.vstack([instance_colours(owner.max(initial=-1) + 1), [[UNMATCHED] * 3]])
    return paint_masks(image, masks, colours[owner], _OPACITY)


def window_of_changes(truth: np.ndarray, changes: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a part of an image: the close-up of the instances that change clearly.

    If no instance changes clearly, it shows the one that changes most. The part has a margin and
    the proportions of the image. Without instances it is the whole image.

    Args:
        truth: masks of the instances, (N, H, W) boolean.
        changes: changes of their IoU, (N,).
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
    """Extends a part of a side to a length, and moves it so that it lies within the side."""
    start = (part.start + part.stop - length) // 2
    start = max(0, min(start, side - length))
    return slice(start, start + length)


def _right_and_wrong(
    truth: np.ndarray, masks: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel, the number of instances that it is right for, and whether a mask claims it
    wrongly, (H, W) each."""
    right, wrong = np.zeros(truth.shape[1:], dtype=int), np.zeros(truth.shape[1:], dtype=bool)
    for mask, instance in zip(masks, owner, strict=True):
        window = window_of(mask)
        part = mask[window]
        own = truth[instance][window] if instance >= 0 else np.zeros_like(part)
        right[window] += part & own
        wrong[window] |= part & ~own
    return right, wrong
