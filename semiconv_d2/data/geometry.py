"""How crowded and how elongated instances are.

Masks are (H, W) bool in pixels of the original image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

REACH = 2
"""Pixels, along rows and columns or diagonally, within which outlines count as touching."""


def contact(masks: Sequence[np.ndarray], reach: int = REACH) -> np.ndarray:
    """Share of each instance's outline that lies on or beside another instance.

    The outline of an instance are its pixels that have one of their four neighbours outside of it
    or outside of the image. It is in contact where a pixel of another instance lies at most `reach`
    rows and `reach` columns away, or on it.

    Args:
        masks: N masks of one image, (H, W) bool each; they may overlap and may be empty.
        reach: in pixels.

    Returns: (N,) float64 in [0, 1]; 0 for an empty mask.
    """
    from scipy.ndimage import binary_erosion, maximum_filter

    shares = np.zeros(len(masks))
    windows = {i: bounding_window(m, margin=reach) for i, m in enumerate(masks) if m.any()}
    if len(windows) < 2:
        return shares
    cover = np.zeros(masks[0].shape, dtype=np.int32)
    for index, window in windows.items():
        cover[window] += masks[index][window]
    for index, window in windows.items():
        own = masks[index][window]
        others = cover[window] - own > 0
        if others.any():
            outline = own & ~binary_erosion(own)
            near = maximum_filter(others, size=2 * reach + 1, mode="constant", cval=False)
            shares[index] = near[outline].mean()
    return shares


def elongation(mask: np.ndarray) -> float:
    """Area of a mask over the area of the largest disc inside it.

    About 1 for a disc, 1.3 for a square, and 1.3 times length over width for a thin shape, bent
    or straight.

    Args:
        mask: (H, W) bool, not empty.
    """
    return float(mask.sum() / (np.pi * inscribed_radius(mask) ** 2))


def inscribed_radius(mask: np.ndarray) -> float:
    """Radius in pixels of the largest disc inside a mask; half a pixel for a line of pixels.

    Args:
        mask: (H, W) bool, not empty.
    """
    from scipy.ndimage import distance_transform_edt

    own = np.pad(mask[bounding_window(mask)], 1)
    # From the centre of a pixel to that of the nearest one outside; the border lies half a pixel
    # before it.
    return float(distance_transform_edt(own).max() - 0.5)


def bounding_window(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold a mask (H, W) that is not empty, and `margin` pixels around."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )
