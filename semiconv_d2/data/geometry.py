"""How crowded and how elongated instances are.

Masks are (H, W) bool in pixels of the original image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

REACH = 2
"""Pixels, along rows and columns or diagonally, within which outlines count as touching."""

_LARGE = 32  # pixels
_PIECE = 0.1  # share of the pixels of an instance


class Bins(NamedTuple):
    """A property of instances, and the upper ends of its bins; the last bin has no end."""

    name: str
    labels: tuple[str, ...]
    upper: tuple[float, ...]
    """Largest value of each bin but the last one, inclusive."""

    def of(self, values: np.ndarray) -> np.ndarray:
        """Index of the bin of each value, an int array of the same shape."""
        return np.searchsorted(self.upper, values, side="left")


CONTACT = Bins("contact", ("none", "up to 10 %", "10 to 30 %", "over 30 %"), (0.0, 0.1, 0.3))
"""Share of the outline that lies on or beside other instances, see `contact`."""

ELONGATION = Bins("elongation", ("up to 2", "2 to 4", "4 to 8", "over 8"), (2.0, 4.0, 8.0))
"""Area of a mask over the area of the largest disc inside it, see `elongation`."""


def contact(masks: Sequence[np.ndarray], reach: int = REACH) -> np.ndarray:
    """Share of each instance's outline that lies on or beside another instance.

    The outline of an instance are its pixels that have one of their four neighbours outside of it
    or outside of the image. Such a pixel is in contact if another instance has it too, or has a
    pixel at most `reach` rows and `reach` columns away.

    Args:
        masks: N masks of one image, (H, W) bool each; they may overlap and may be empty.
        reach: in pixels.

    Returns: (N,) float64 in [0, 1]; 0 for an empty mask.
    """
    shares = np.zeros(len(masks))
    windows = {i: bounding_window(m, margin=reach) for i, m in enumerate(masks) if m.any()}
    if len(windows) < 2:
        return shares
    cover = np.zeros(masks[0].shape, dtype=np.int32)
    for index, window in windows.items():
        cover[window] += masks[index][window]
    for index, window in windows.items():
        own = masks[index][window]
        shares[index] = touching_share(own, cover[window] - own > 0, reach)
    return shares


def touching_share(own: np.ndarray, others: np.ndarray, reach: int = REACH) -> float:
    """Share of the outline of one instance that is in contact, see `contact`.

    Args:
        own: its mask, (h, w) bool, not empty: a part of the image, with `reach` pixels around the
            mask as far as the image goes.
        others: the pixels of all other instances there, (h, w) bool.
    """
    from scipy.ndimage import binary_erosion, maximum_filter

    if not others.any():
        return 0.0
    outline = own & ~binary_erosion(own)
    near = maximum_filter(others, size=2 * reach + 1, mode="constant", cval=False)
    return float(near[outline].mean())


def elongation(mask: np.ndarray, radius: float | None = None) -> float:
    """Area of a mask over the area of the largest disc inside it.

    About 1 for a disc, 1.3 for a square, and 1.3 times length over width for a thin shape, bent
    or straight.

    Args:
        mask: (H, W) bool, not empty.
        radius: its `inscribed_radius`, if that is known.
    """
    radius = inscribed_radius(mask) if radius is None else radius
    return float(mask.sum() / (np.pi * radius**2))


def inscribed_radius(mask: np.ndarray) -> float:
    """Radius in pixels of the largest disc inside a mask; half a pixel for a line of pixels.

    Pixels are squares. The disc's centre is the centre of a pixel or of one of its sides, or a
    corner. So the radius is exact for rectangles along the rows and columns, and less than 0.36
    pixels too small for other shapes. Above 32 pixels this would take long: then only centres of
    pixels are tried, and the error is at most a quarter of a pixel.

    Args:
        mask: (H, W) bool, not empty.
    """
    from scipy.ndimage import distance_transform_edt

    own = mask[bounding_window(mask)]
    between_centres = distance_transform_edt(np.pad(own, 1)).max()
    if between_centres > _LARGE:
        return float(between_centres - 0.25)  # the radius is at most half a pixel less
    # A grid of half pixels, with centres at odd and sides at even indices. A grid point is inside
    # if no pixel outside of the mask touches it. The nearest point of an outside pixel to a grid
    # point is a grid point itself, so the distances are exact.
    inside = np.zeros((2 * own.shape[0] + 1, 2 * own.shape[1] + 1), dtype=bool)
    inside[1::2, 1::2] = own
    inside[2:-1:2, 1::2] = own[:-1] & own[1:]
    inside[:, 2:-1:2] = inside[:, 1:-2:2] & inside[:, 3::2]
    return float(distance_transform_edt(inside).max() / 2)


def has_pieces(mask: np.ndarray) -> bool:
    """Whether a mask is in several separate pieces; those of less than a tenth of its pixels do not
    count.

    Args:
        mask: (H, W) bool, not empty.
    """
    from scipy.ndimage import label

    own = mask[bounding_window(mask)]
    numbers, count = label(own, structure=np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    return int((sizes >= _PIECE * sizes.sum()).sum()) > 1


def bounding_window(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold a mask (H, W) that is not empty, and `margin` pixels around."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )
