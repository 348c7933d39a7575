"""Masks of instances as windows: memory and time grow with the instances, not with the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .geometry import bounding_window


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
