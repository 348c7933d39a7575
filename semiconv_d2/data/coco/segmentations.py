"""Masks as COCO's format writes them, read so that nothing unchecked reaches pycocotools.

Its C code takes what it is given: a polygon with NaN or with a coordinate of 1e9, and a run-length
encoding of an absurd size, end the process, and an encoding whose runs are too short gives pixels
out of memory that was never written.

Coordinates are (x, y) in pixels from the top left corner of the image. Sizes are (height, width).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..images import Size

FARTHEST = 1e6
"""Largest absolute coordinate in pixels; drawing takes memory in proportion."""

MOST_PIXELS = 2**31
"""Largest image that a mask can be of."""

FLAT = 1e-6
"""Largest area in square pixels of a polygon that counts as none; and in pixels, how far its
corners may lie off a line (the root of the sum of squares) and count as on it."""

RUNS_DO_NOT_ADD_UP = "the runs of its mask do not add up to the pixels of the image"

_NUMBERS = {int, float}
# Numbers of at most 7 characters, which have 35 bits: the first ones go on, the last one does not.
_COMPRESSED = re.compile("(?:[P-o]{0,6}[0-O])+")


class SegmentationError(DatasetError):
    """A polygon or run-length encoding is no mask; `kind` is the name of the defect."""

    def __init__(self, kind: str, what: str):
        super().__init__(what)
        self.kind = kind


def read_polygon(numbers: object) -> np.ndarray:
    """Corners of a polygon, (P, 2) float64 with P ≥ 3, finite and not too far away.

    Args:
        numbers: x, y, x, y and so on, as it should be.

    Raises:
        SegmentationError: it is something else.
    """
    if not isinstance(numbers, list) or not set(map(type, numbers)) <= _NUMBERS:
        raise SegmentationError("polygon-coordinates", "is not a list of numbers x, y, x, y, …")
    try:
        values = np.array(numbers, dtype=np.float64)
    except OverflowError:
        values = np.full(len(numbers), np.inf)
    if len(values) < 6:
        raise SegmentationError("polygon-short", f"has {len(values) / 2:g} corners, fewer than 3")
    if len(values) % 2:
        raise SegmentationError("polygon-odd", f"has {len(values)} numbers, which are no pairs")
    if not (values.min() >= -FARTHEST and values.max() <= FARTHEST):  # NaN too
        if not np.isfinite(values).all():
            raise SegmentationError("polygon-coordinates", "has a coordinate that is not finite")
        farthest = np.abs(values).max()
        raise SegmentationError(
            "polygon-coordinates", f"has a coordinate of {farthest:.6g}, which no image has"
        )
    return values.reshape(-1, 2)


def plain_polygons(segmentation: list) -> list | None:
    """The same polygons with numbers x, y, x, y and so on for pairs of them and for numbers that
    are text; None where they are something else.

    Args:
        segmentation: a list of polygons, or a polygon alone.
    """
    if len(segmentation) > 2 and all(isinstance(p, list) and len(p) == 2 for p in segmentation):
        segmentation = [segmentation]  # the points of one polygon
    elif not any(isinstance(polygon, list) for polygon in segmentation):
        segmentation = [segmentation]
    try:
        return [np.array(p, dtype=np.float64).ravel().tolist() for p in segmentation]
    except (TypeError, ValueError, OverflowError):
        return None


def check_encoding(segmentation: Mapping, size: Size | None) -> None:
    """Check that a run-length encoding has its keys, the size of its image, and counts that
    `decode_counts` can decode.

    Args:
        segmentation: {"size": [height, width], "counts": …}, as it should be.
        size: of the image, None where nobody knows.

    Raises:
        SegmentationError: it is something else.
    """
    own, counts = segmentation.get("size"), segmentation.get("counts")
    if (
        not isinstance(own, list)
        or [type(side) for side in own] != [int, int]
        or not isinstance(counts, str | list)
    ):
        raise SegmentationError(
            "rle-keys", 'its run-length encoding is not {"size": [height, width], "counts": …}'
        )
    if size is not None and tuple(own) != size:
        raise SegmentationError(
            "rle-size",
            f"its mask is {own[0]} × {own[1]} pixels (height × width), its image "
            f"{size[0]} × {size[1]}",
        )
    if min(own) <= 0 or own[0] * own[1] > MOST_PIXELS:
        raise SegmentationError("rle-size", f"its mask is {own[0]} × {own[1]} pixels")
    if isinstance(counts, str):
        if not _COMPRESSED.fullmatch(counts):
            raise SegmentationError("rle-counts", "the counts of its mask are no compressed runs")
    elif not set(map(type, counts)) <= {int} or not counts:
        raise SegmentationError("rle-counts", "the counts of its mask are no whole numbers")
    elif not 0 <= min(counts) <= max(counts) <= MOST_PIXELS:
        raise SegmentationError("rle-counts", "the counts of its mask are no lengths of runs")


def decode_counts(counts: Sequence[str | list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of runs, in turn of 0 and 1, down the columns of the image.

    In compressed counts every character stands for 6 bits, from "0" on: the lower 5 belong to a
    number, whose lowest ones come first, and the highest says whether the number goes on. The
    highest bit of a number is its sign. From the fourth on it is the difference of a run to the one
    before the last.

    Args:
        counts: of N encodings that went through `check_encoding`.

    Returns:
        runs: (R,) int64, those of one encoding after the other.
        numbers: (N,) int64, how many runs each encoding has.
    """
    compressed = [each for each in counts if isinstance(each, str)]
    if len(compressed) < len(counts):
        parts = [
            decode_counts([each])[0] if isinstance(each, str) else np.array(each, dtype=np.int64)
            for each in counts
        ]
        return np.concatenate(parts), np.array([len(part) for part in parts])
    codes = np.frombuffer("".join(compressed).encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes < 32)
    lengths = np.diff(ends, prepend=-1)
    starts = ends - lengths + 1
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    texts = np.cumsum([len(each) for each in compressed])
    numbers = np.diff(np.searchsorted(ends, texts), prepend=0)
    place = _places(numbers)
    for first in (1, 2):  # runs of 1, and those of 0 but the very first
        chosen = np.flatnonzero((place >= first) & (place % 2 == first % 2))
        sums = np.cumsum(runs[chosen])
        begins = np.flatnonzero(place[chosen] == first)
        before = (sums - runs[chosen])[begins]
        runs[chosen] = sums - np.repeat(before, np.diff(begins, append=len(chosen)))
    return runs, numbers


class Measures(NamedTuple):
    """Of N encoded masks."""

    valid: np.ndarray
    """(N,) bool: whether the runs add up to the pixels of the image. Of the others nothing else
    means anything."""
    areas: np.ndarray
    """(N,) int64, numbers of pixels."""
    boxes: np.ndarray
    """(N, 4) float64: left, top, right and bottom, the latter two exclusive; NaN for an empty
    mask."""


def measure_runs(runs: np.ndarray, numbers: np.ndarray, sizes: np.ndarray) -> Measures:
    """
    Args:
        runs, numbers: see `decode_counts`.
        sizes: height and width of the masks, (N, 2) int64.
    """
    owners = np.repeat(np.arange(len(numbers)), numbers)
    firsts = np.cumsum(numbers) - numbers
    valid = np.minimum.reduceat(runs, firsts) >= 0
    valid &= np.add.reduceat(runs, firsts) == sizes.prod(axis=1)
    ends = np.cumsum(runs)
    ends -= (ends - runs)[firsts][owners]
    chosen = np.flatnonzero((_places(numbers) % 2 == 1) & (runs > 0) & valid[owners])
    runs, ends, owners = runs[chosen], ends[chosen], owners[chosen]
    heights = sizes[owners, 0]
    left, top = np.divmod(ends - runs, heights)
    right, bottom = np.divmod(ends - 1, heights)
    # A run that goes on in the next column has the last row of one and the first of the other.
    top, bottom = np.where(left < right, 0, top), np.where(left < right, heights - 1, bottom)
    low, high = np.stack([left, top], axis=1), np.stack([right, bottom], axis=1) + 1
    areas = np.bincount(owners, weights=runs, minlength=len(numbers)).astype(np.int64)
    return Measures(valid, areas, merge_boxes(owners, low, high, len(numbers)))


def merge_boxes(owners: np.ndarray, low: np.ndarray, high: np.ndarray, number: int) -> np.ndarray:
    """Box around all parts of each of N masks, (N, 4) float64, NaN for one without parts.

    Args:
        owners: which mask a part belongs to, (P,) int, ascending.
        low: left and top of the parts, (P, 2).
        high: right and bottom, (P, 2).
        number: N.
    """
    boxes = np.full((number, 4), np.nan)
    if len(owners):
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        boxes[owners[firsts], :2] = np.minimum.reduceat(low, firsts)
        boxes[owners[firsts], 2:] = np.maximum.reduceat(high, firsts)
    return boxes


def _places(numbers: np.ndarray) -> np.ndarray:
    """0, 1, 2, … for each of N sequences, one after the other."""
    return np.arange(numbers.sum()) - np.repeat(np.cumsum(numbers) - numbers, numbers)


def decode_mask(segmentation: object, size: Size) -> np.ndarray:
    """Pixels of an instance as COCO's tools draw it, (H, W) bool.

    Polygons that are none (see `read_polygon`) are left out, as Detectron2 leaves them out.

    Args:
        segmentation: a list of polygons or a run-length encoding.
        size: of the image.

    Raises:
        SegmentationError: the run-length encoding is none, or of another size.
    """
    import pycocotools.mask as mask_util

    if isinstance(segmentation, Mapping):
        check_encoding(segmentation, size)
        runs, numbers = decode_counts([segmentation["counts"]])
        if not measure_runs(runs, numbers, np.array([size])).valid[0]:
            raise SegmentationError("rle-counts", RUNS_DO_NOT_ADD_UP)
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(size[::-1]).T
    encoded = _encode_polygons(segmentation, size)
    return np.zeros(size, dtype=bool) if encoded is None else mask_util.decode(encoded) > 0


def count_pixels(polygons: object, size: Size) -> int:
    """Pixels that polygons have as COCO's tools draw them; see `decode_mask`."""
    import pycocotools.mask as mask_util

    encoded = _encode_polygons(polygons, size)
    return 0 if encoded is None else int(mask_util.area(encoded))


def _encode_polygons(polygons: object, size: Size) -> dict | None:
    """pycocotools' encoding of those polygons that are some, None where none is."""
    import pycocotools.mask as mask_util

    outlines = []
    for numbers in polygons if isinstance(polygons, list) else ():
        with contextlib.suppress(SegmentationError):
            outlines.append(read_polygon(numbers).ravel().tolist())
    return mask_util.merge(mask_util.frPyObjects(outlines, *size)) if outlines else None


def polygon_area(points: np.ndarray) -> float:
    """Area inside a polygon that does not cross itself, in pixels.

    Args:
        points: (P, 2) float.
    """
    x, y = (points - points[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def clip_polygon(points: np.ndarray, size: Size) -> np.ndarray:
    """The part of a polygon inside the image, (Q, 2) float64; Q is 0 where nothing is inside.

    Parts that the border cuts off from one another stay connected along the border.

    Args:
        points: (P, 2) float.
        size: of the image.
    """
    for axis, limit in ((0, size[1]), (1, size[0])):
        for border, side in ((0.0, 1), (float(limit), -1)):
            depth = side * (points[:, axis] - border)  # inside where it is not negative
            following, next_depth = np.roll(points, -1, axis=0), np.roll(depth, -1)
            crosses = (depth < 0) != (next_depth < 0)
            step = np.where(crosses, depth - next_depth, 1.0)
            cuts = points + (depth / step)[:, None] * (following - points)
            cuts[:, axis] = border
            keep = np.stack([depth >= 0, crosses], axis=1)
            points = np.stack([points, cuts], axis=1)[keep]
            if not len(points):
                return points
    return points
