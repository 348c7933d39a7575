"""Masks of instances as windows: memory and time grow with the instances, not with the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .geometry import REACH, bounding_window, touching_share


class MaskWindow(NamedTuple):
    """The mask of one instance, cut to its bounding box.

    >>> mask = np.zeros((4, 6), dtype=bool)
    >>> mask[1:3, 2:5] = True
    >>> window = MaskWindow.of(mask)
    >>> window.top, window.left, window.pixels.shape, window.area
    (1, 2, (2, 3), 6)
    """

    top: int
    """First row of the window in the image."""
    left: int
    """First column of the window in the image."""
    pixels: np.ndarray
    """The mask, (height, width) of the window, bool."""

    @classmethod
    def of(cls, mask: np.ndarray, top: int = 0, left: int = 0) -> MaskWindow:
        """The window of a mask (H, W), bool; without pixels if it is empty.

        Args:
            mask: of a whole image, or of a part of it.
            top, left: first row and first column of this part in the image.
        """
        if not mask.any():
            return cls(0, 0, np.zeros((0, 0), dtype=bool))
        rows, columns = bounding_window(mask)
        place = top + int(rows.start), left + int(columns.start)
        return cls(*place, mask[rows, columns].copy())

    @property
    def area(self) -> int:
        """Number of pixels of the mask."""
        return int(self.pixels.sum())

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the window in the image."""
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def moved(self, down: int, right: int) -> MaskWindow:
        """The same mask elsewhere, such as from the frame of a tile into that of its image."""
        return self._replace(top=self.top + down, left=self.left + right)

    def overlap(self, other: MaskWindow) -> int:
        """Number of pixels that two masks share."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.pixels.shape[0], other.top + other.pixels.shape[0])
        right = min(self.left + self.pixels.shape[1], other.left + other.pixels.shape[1])
        if top >= bottom or left >= right:
            return 0
        own, others = (
            w.pixels[top - w.top : bottom - w.top, left - w.left : right - w.left]
            for w in (self, other)
        )
        return int((own & others).sum())

    def whole(self, size: tuple[int, int]) -> np.ndarray:
        """The mask of the whole image, (H, W) bool, for an image of this height and width."""
        mask = np.zeros(size, dtype=bool)
        mask[self.slices] = self.pixels
        return mask


def contact_of_windows(windows: Sequence[MaskWindow], reach: int = REACH) -> np.ndarray:
    """Share of each instance's outline that lies on or beside another one, as `geometry.contact`
    defines it: (N,) float64 in [0, 1]; 0 for an empty mask.

    Args:
        windows: N masks of one image.
        reach: in pixels.
    """
    shares = np.zeros(len(windows))
    starts = np.array([(w.top, w.left) for w in windows], dtype=int).reshape(-1, 2)
    ends = starts + np.array([w.pixels.shape for w in windows], dtype=int).reshape(-1, 2)
    filled = (ends > starts).all(axis=1)
    for index in np.flatnonzero(filled).tolist():
        low, high = starts[index] - reach, ends[index] + reach
        near = filled & (starts < high).all(axis=1) & (ends > low).all(axis=1)
        near[index] = False
        if near.any():
            own = np.pad(windows[index].pixels, reach)
            others = np.zeros(own.shape, dtype=bool)
            for other in np.flatnonzero(near).tolist():
                _paint(windows[other].moved(*(-low).tolist()), others)
            shares[index] = touching_share(own, others, reach)
    return shares


def _paint(window: MaskWindow, canvas: np.ndarray) -> None:
    """Sets the pixels of a mask in an array (h, w) bool; the mask may lie partly outside of it."""
    rows, columns = window.slices
    top, left = max(0, -rows.start), max(0, -columns.start)
    part = canvas[max(0, rows.start) : max(0, rows.stop), max(0, columns.start) : columns.stop]
    part |= window.pixels[top : top + part.shape[0], left : left + part.shape[1]]


def encode_windows(windows: Sequence[MaskWindow], size: tuple[int, int]) -> list[dict]:
    """Masks as pycocotools encodes them, {"size": [H, W], "counts": bytes}, without ever painting
    one into its image.

    Args:
        size: height and width of the image. The windows lie within it.
    """
    from pycocotools import mask as coco_masks

    height, width = size
    plain = [
        {"size": [height, width], "counts": _run_lengths(window, height, height * width)}
        for window in windows
    ]
    return coco_masks.frPyObjects(plain, height, width) if plain else []


def _run_lengths(window: MaskWindow, height: int, pixels: int) -> list[int]:
    """Lengths of the runs of background and mask by turns, column by column, background first."""
    columns = np.pad(window.pixels.T.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(columns, axis=1)
    offsets = (window.left + np.arange(len(columns)))[:, None] * height + window.top
    places = offsets + np.arange(steps.shape[1])
    starts, ends = places[steps > 0], places[steps < 0]
    # A run that ends at the bottom of the image may go on at the top of the next column.
    go_on = np.flatnonzero(starts[1:] == ends[:-1])
    starts, ends = np.delete(starts, go_on + 1), np.delete(ends, go_on)
    bounds = np.stack([starts, ends], axis=1).ravel()
    lengths = np.diff(bounds, prepend=0, append=pixels).tolist()
    return lengths if lengths[-1] else lengths[:-1]
