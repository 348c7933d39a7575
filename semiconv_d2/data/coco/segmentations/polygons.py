"""Polygons: read, measured, cut off at the border of the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...images import Size
from .error import SegmentationError

FARTHEST = 1e6
"""Largest absolute coordinate in pixels."""

LONGEST = 5e6
"""Longest outline in pixels that is drawn: pycocotools takes 100 bytes for each pixel, and ends the
process if there is not enough memory."""

_NUMBERS = {int, float}


def read_polygon(numbers: object) -> np.ndarray:
    """Corners of a polygon, (P, 2) float64 with P ≥ 3, finite and not too far away.

    Args:
        numbers: should be a list of numbers x, y, x, y and so on.

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
        raise SegmentationError("polygon-odd", f"has {len(values)} numbers, which are not pairs")
    if not (values.min() >= -FARTHEST and values.max() <= FARTHEST):  # NaN too
        if not np.isfinite(values).all():
            raise SegmentationError("polygon-coordinates", "has a coordinate that is not finite")
        farthest = np.abs(values).max()
        raise SegmentationError(
            "polygon-coordinates", f"has a coordinate of {farthest:.6g}, which no image has"
        )
    return values.reshape(-1, 2)


def plain_polygons(segmentation: list) -> list[list[float]] | None:
    """The same polygons as lists of numbers x, y, x, y and so on; None if they are no polygons.

    Corners may be pairs or have the keys x and y, numbers may be text, and there may be too many or
    too few lists around them.

    Args:
        segmentation: a list of polygons, or a polygon alone.
    """
    try:
        return _flatten(segmentation)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _flatten(value: list) -> list[list[float]]:
    """All polygons in a list of lists; raises if it has anything else in it."""
    if value and not any(isinstance(each, list | Mapping) for each in value):
        return [[_number(each) for each in value]]
    if len(value) > 2 and all(map(_is_corner, value)):
        corners = [[each["x"], each["y"]] if isinstance(each, Mapping) else each for each in value]
        return [[_number(each) for corner in corners for each in corner]]
    if not all(isinstance(each, list) for each in value):
        raise ValueError
    return [polygon for each in value for polygon in (_flatten(each) if each else [[]])]


def _is_corner(value: object) -> bool:
    if isinstance(value, Mapping):
        return {"x", "y"} <= value.keys()
    return (
        isinstance(value, list) and len(value) == 2 and not any(isinstance(v, list) for v in value)
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def polygon_area(points: np.ndarray) -> float:
    """Area inside a polygon that does not cross itself, in pixels.

    Args:
        points: (P, 2) float.
    """
    x, y = (points - points[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def outline_length(points: np.ndarray) -> float:
    """Length of the outline of a polygon (P, 2), a step of any direction counting as 1 pixel."""
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1, initial=0).sum())


def bound_outline(points: np.ndarray, size: Size) -> np.ndarray:
    """A polygon that looks the same in its image, and takes little memory to draw.

    If it reaches out of the image by more than the longer side of the image, it is cut off at the
    border.

    Args:
        points: (P, 2) float.
        size: of the image.

    Returns: (Q, 2) float64; Q is 0 where nothing of it is inside.

    Raises:
        SegmentationError: its outline is still longer than `LONGEST`.
    """
    far, sides = max(size), np.array(size[::-1])
    if (points < -far).any() or (points > sides + far).any():
        points = clip_polygon(points, size)
    length = outline_length(points)
    if length > LONGEST:
        raise SegmentationError("polygon-long", tell_length(length))
    return points


def tell_length(length: float) -> str:
    return f"has an outline of {length:.3g} pixels; more than {LONGEST:.0e} cannot be drawn"


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
