"""Segmentations drawn, as COCO's tools draw them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ...images import Size
from .error import SegmentationError
from .polygons import bound_outline, read_polygon
from .run_lengths import RUNS_DO_NOT_ADD_UP, check_encoding, decode_counts, measure_runs


def decode_mask(segmentation: object, size: Size) -> np.ndarray:
    """Pixels of an instance, (H, W) bool.

    Polygons that are not valid (see `read_polygon`) are left out, as in Detectron2.

    Args:
        segmentation: a list of polygons or a run-length encoding.
        size: of the image.

    Raises:
        SegmentationError: the run-length encoding is not valid, or of another size; or the outline
            of a polygon is too long, see `bound_outline`.
    """
    import pycocotools.mask as mask_util

    if isinstance(segmentation, Mapping):
        check_encoding(segmentation, size)
        runs, numbers = decode_counts([segmentation["counts"]])
        if not measure_runs(runs, numbers, np.array([size])).valid[0]:
            raise SegmentationError("rle-counts", RUNS_DO_NOT_ADD_UP)
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(size[::-1]).T
    encoded = draw_polygons(_readable(segmentation), size)
    return np.zeros(size, dtype=bool) if encoded is None else mask_util.decode(encoded) > 0


def count_pixels(polygons: object, size: Size) -> int:
    """Number of pixels of polygons when they are drawn; see `decode_mask`."""
    import pycocotools.mask as mask_util

    encoded = draw_polygons(_readable(polygons), size)
    return 0 if encoded is None else int(mask_util.area(encoded))


def draw_polygons(outlines: Sequence[np.ndarray], size: Size) -> dict | None:
    """pycocotools' encoding of all pixels in polygons; None if they are outside of the image.

    Args:
        outlines: (P, 2) float each.
        size: of the image.

    Raises:
        SegmentationError: an outline is too long, see `bound_outline`.
    """
    import pycocotools.mask as mask_util

    bounded = [bound_outline(points, size).ravel().tolist() for points in outlines]
    inside = [numbers for numbers in bounded if len(numbers) >= 6]
    return mask_util.merge(mask_util.frPyObjects(inside, *size)) if inside else None


def draw_with_holes(
    outlines: Sequence[np.ndarray], depths: Sequence[int], size: Size
) -> np.ndarray:
    """Pixels of polygons that lie within one another, (H, W) bool: those within an odd number of
    others are holes.

    Args:
        depths: see `find_holes`.
    """
    mask = np.zeros(size, dtype=bool)
    for depth in sorted({*depths}):
        level = [p for p, own in zip(outlines, depths, strict=True) if own == depth]
        mask[_decode(level, size)] = depth % 2 == 0
    return mask


def _decode(outlines: Collection[np.ndarray], size: Size) -> np.ndarray:
    return decode_mask([points.ravel().tolist() for points in outlines], size)


def _readable(polygons: object) -> list[np.ndarray]:
    """Corners of the polygons that are valid."""
    outlines = []
    for numbers in polygons if isinstance(polygons, list) else ():
        with contextlib.suppress(SegmentationError):
            outlines.append(read_polygon(numbers))
    return outlines
