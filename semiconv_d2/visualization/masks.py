"""Paints masks over images, in colours that colour-blind people can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette without black, and without yellow, which is hard to see on light images.
PALETTE = (
    np.array(
        [
            (0, 114, 178),
            (230, 159, 0),
            (0, 158, 115),
            (204, 121, 167),
            (213, 94, 0),
            (86, 180, 233),
        ]
    )
    / 255
)


def instance_colours(count: int) -> np.ndarray:
    """RGB in [0, 1] for each of `count` instances, (count, 3). Repeats the palette in lighter
    colours."""
    rounds, index = np.divmod(np.arange(count), len(PALETTE))
    lightness = (rounds % 3 * 0.3)[:, None]
    return PALETTE[index] * (1 - lightness) + lightness


def match_best(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """For each mask, the index of the reference mask with the highest IoU; −1: none overlaps it.

    If several masks have the same reference mask, only the one that fits it best keeps it. The
    others get −1.

    Args:
        masks: (N, H, W) boolean.
        reference: (M, H, W) boolean.

    Returns:
        (N,) integers.
    """
    iou = overlap(masks, reference)
    result = np.full(len(masks), -1)
    if not iou.size:
        return result
    best, fits = iou.argmax(axis=1), iou.max(axis=1)
    for k in np.unique(best[fits > 0]):
        candidates = np.flatnonzero((best == k) & (fits > 0))
        result[candidates[fits[candidates].argmax()]] = k
    return result


def overlap(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """IoU of each mask with each reference mask, (N, M).

    Args:
        masks: (N, H, W) boolean.
        reference: (M, H, W) boolean.
    """
    from pycocotools import mask as mask_util

    # Encoded with rows and columns exchanged: the IoU is the same, and no copy is needed.
    lying = (np.asfortranarray(m.transpose(2, 1, 0)).view(np.uint8) for m in (masks, reference))
    a, b = map(mask_util.encode, lying)
    iou = mask_util.iou(a, b, [False] * len(b))
    return np.reshape(iou, (len(masks), len(reference)))


def window_of(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that a mask, (H, W) boolean, covers; empty slices if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def outline(
    ax: Axes, mask: np.ndarray, lines: Sequence[tuple[Sequence[float] | str, float]]
) -> None:
    """Draws lines along the border of a mask; they are closed at the border of the image too.

    Args:
        ax: axes in pixels of the image.
        mask: (H, W) boolean.
        lines: colour, and width in points, of each line; a later line is drawn over earlier ones.
    """
    rows, columns = window_of(mask)
    part = np.pad(mask[rows, columns].astype(float), 1)
    if not part.any():
        return
    x, y = (
        np.arange(part.shape[1]) + columns.start - 0.5,
        np.arange(part.shape[0]) + rows.start - 0.5,
    )
    for colour, width in lines:
        ax.contour(x, y, part, levels=[0.5], colors=[colour], linewidths=width, zorder=3)


def paint_masks(
    image: np.ndarray, masks: np.ndarray, colours: np.ndarray, opacity: float = 0.65
) -> np.ndarray:
    """Paints masks over an image; a pixel of several masks gets the mean of their colours.

    Args:
        image: (H, W, 3) uint8.
        masks: (N, H, W) boolean.
        colours: (N, 3) in [0, 1].

    Returns:
        (H, W, 3) in [0, 1].
    """
    painted = image / 255.0
    total = np.zeros_like(painted)
    count = np.zeros(masks.shape[1:], dtype=int)
    for mask, colour in zip(masks, colours, strict=True):
        window = window_of(mask)
        total[window][mask[window]] += colour
        count[window] += mask[window]
    covered = count > 0
    mean = total[covered] / count[covered][:, None]
    painted[covered] = (1 - opacity) * painted[covered] + opacity * mean
    return painted
