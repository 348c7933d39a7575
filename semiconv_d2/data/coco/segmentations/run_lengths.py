"""Run-length encodings: checked, decoded many at a time, measured, and written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...images import Size
from .error import SegmentationError

MOST_PIXELS = 2**31
"""Largest number of pixels of a mask."""

RUNS_DO_NOT_ADD_UP = "the runs of its mask do not add up to the pixels of the image"

# Numbers of at most 7 characters, which have 35 bits. The last character says that a number ends.
_COMPRESSED = re.compile("(?:[P-o]{0,6}[0-O])+")


def check_encoding(segmentation: Mapping, size: Size | None) -> None:
    """Check that a run-length encoding has its keys, the size of its image, and counts that
    `decode_counts` can decode.

    Args:
        segmentation: should be {"size": [height, width], "counts": …}.
        size: of the image, None if not known.

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
            f"its mask is {own[0]} × {own[1]} pixels (height × width), but its image is "
            f"{size[0]} × {size[1]}",
        )
    if min(own) <= 0 or own[0] * own[1] > MOST_PIXELS:
        raise SegmentationError("rle-size", f"its mask is {own[0]} × {own[1]} pixels")
    if isinstance(counts, str):
        if not _COMPRESSED.fullmatch(counts):
            raise SegmentationError("rle-counts", "the counts of its mask are not compressed runs")
    elif not set(map(type, counts)) <= {int} or not counts:
        raise SegmentationError("rle-counts", "the counts of its mask are not whole numbers")
    elif not 0 <= min(counts) <= max(counts) <= MOST_PIXELS:
        raise SegmentationError("rle-counts", "the counts of its mask are not lengths of runs")


def decode_counts(counts: Sequence[str | list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of runs, alternately of 0 and 1, down the columns of the image.

    In compressed counts every character stands for 6 bits, and "0" for all bits 0. The lower 5 bits
    belong to a number, the lowest bits of the number first. The highest bit says whether the number
    continues in the next character. The highest bit of a number is its sign. From the fourth number
    on, a number is the difference between a run and the run two places before it.

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
    for first in (1, 2):  # runs of 1, and runs of 0 except the very first
        chosen = np.flatnonzero((place >= first) & (place % 2 == first % 2))
        sums = np.cumsum(runs[chosen])
        begins = np.flatnonzero(place[chosen] == first)
        before = (sums - runs[chosen])[begins]
        runs[chosen] = sums - np.repeat(before, np.diff(begins, append=len(chosen)))
    return runs, numbers


class Measures(NamedTuple):
    """Measures of N encoded masks."""

    valid: np.ndarray
    """(N,) bool: whether the runs add up to the pixels of the image. If they do not, the other
    measures of this mask mean nothing."""
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
    # A run that continues in the next column has the last row of one column and the first of the
    # other.
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


def encode_mask(mask: np.ndarray) -> dict:
    """Encode a mask (H, W) bool that is not empty as pycocotools does, but look only at the columns
    that have pixels."""
    import pycocotools.mask as mask_util

    columns = np.flatnonzero(mask.any(axis=0))
    begin, end = columns[0], columns[-1] + 2  # with the column in which the last run may end
    pixels = mask[:, begin:end].ravel(order="F")
    flips = begin * len(mask) + np.flatnonzero(np.diff(pixels, prepend=False))
    counts = np.diff(flips, prepend=0, append=mask.size)
    rle = mask_util.frPyObjects({"size": mask.shape, "counts": counts}, *mask.shape)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
