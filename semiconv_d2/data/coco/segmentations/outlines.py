"""Measures of many polygons at once: one array for each measure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ...images import Size

FLAT = 1e-6
"""A polygon with at most this area, in square pixels, counts as empty. Corners whose distances from
a line, in pixels, are at most this (root of the sum of squares) count as on the line."""

RELATIVE = 1.05
"""Largest coordinate that may be relative to the size of the image, with some slack."""

_SMALLEST = 8  # pixels of the longer side; in smaller images, pixel coordinates look relative too
_COMPARED = 100  # at most so many corners of a polygon are looked for inside of another one


def measure_outlines(
    outlines: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest coordinates (P, 2), areas (P,) and lengths (P,) of polygons; for the
    latter see `outline_length`."""
    counts = np.array([len(points) for points in outlines])
    starts = np.cumsum(counts) - counts
    points = np.concatenate(outlines)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    points = points - np.repeat(low, counts, axis=0)
    following = np.arange(1, len(points) + 1)
    following[starts + counts - 1] = starts
    cross = points[:, 0] * points[following, 1] - points[following, 0] * points[:, 1]
    steps = np.abs(points[following] - points).max(axis=1)
    areas, lengths = np.abs(np.add.reduceat(cross, starts)) / 2, np.add.reduceat(steps, starts)
    return low, high, areas, lengths


def are_flat(outlines: Sequence[np.ndarray], areas: np.ndarray) -> np.ndarray:
    """Which polygons have all corners on one line, (P,) bool. An area of 0 is not enough: a polygon
    that crosses itself may have it too."""
    flat = areas <= FLAT
    for k in np.flatnonzero(flat).tolist():
        spread = outlines[k] - outlines[k].mean(axis=0)
        flat[k] = np.linalg.svd(spread, compute_uv=False)[-1] <= FLAT
    return flat


def are_relative(outlines: Collection[np.ndarray], size: Size, as_others: bool = False) -> bool:
    """Whether coordinates look like parts of the width and height of an image.

    Args:
        as_others: whether most others do. Then (0, 0) to (1, 1) is the whole image, and not the
            pixel in its corner.
    """
    if max(size) < _SMALLEST or not outlines:
        return False
    if next(iter(outlines))[0, 0] > RELATIVE:  # as in most datasets
        return False
    points = np.concatenate(list(outlines))
    low, high = 1 - RELATIVE, RELATIVE
    inside = bool((points >= low).all() and (points <= high).all())
    return inside and (as_others or not (points == np.round(points)).all())


def are_exchanged(outlines: Collection[np.ndarray], box: Sequence[float], far: float) -> bool:
    """Whether coordinates look like y, x instead of x, y: exchanged, they fit the instance's box,
    and as they are, they do not.

    Args:
        box: left, top, width and height in pixels.
        far: greatest distance in pixels of the sides of a box that fits.
    """
    corners = np.array([*box[:2], box[0] + box[2], box[1] + box[3]])
    if not outlines:
        return False
    points = np.concatenate(list(outlines))
    extent = np.concatenate([points.min(axis=0), points.max(axis=0)])
    as_it_is, turned = np.abs([extent - corners, extent[[1, 0, 3, 2]] - corners]).max(axis=1)
    return bool(turned <= far < as_it_is)


def find_nested(
    outlines: Sequence[np.ndarray], owners: Sequence[int], sound: np.ndarray
) -> Iterator[tuple[int, list[int]]]:
    """Instances that have a polygon whose box lies within that of another one, and their polygons.

    Args:
        sound: which of the P polygons count, ascending.
    """
    if len(sound) < 2:
        return
    owner = np.array(owners)[sound]
    low, high, *_ = measure_outlines([outlines[k] for k in sound])
    nested: set[int] = set()
    for step in range(1, int(np.bincount(owner).max())):
        same = owner[step:] == owner[:-step]
        one, other = (low[step:], high[step:]), (low[:-step], high[:-step])
        for (low_in, high_in), (low_out, high_out) in ((one, other), (other, one)):
            within = ((low_out <= low_in) & (high_in <= high_out)).all(axis=1)
            nested.update(owner[:-step][same & within].tolist())
    for number in sorted(nested):
        yield number, sound[owner == number].tolist()


def find_holes(outlines: Sequence[np.ndarray]) -> list[int]:
    """For each of N polygons, the number of other polygons that it lies within, N.

    A polygon lies within another one if its corners do; at most 100 of them are looked at.
    """
    low = np.array([points.min(axis=0) for points in outlines])
    high = np.array([points.max(axis=0) for points in outlines])
    depths = [0] * len(outlines)
    for inner, points in enumerate(outlines):
        around = (low <= low[inner]).all(axis=1) & (high >= high[inner]).all(axis=1)
        around &= (high - low).prod(axis=1) > (high[inner] - low[inner]).prod()
        some = points[:: -(-len(points) // _COMPARED)]
        depths[inner] = sum(
            bool(_are_inside(some, outlines[outer]).all())
            for outer in np.flatnonzero(around).tolist()
        )
    return depths


def area_of_nested(outlines: Sequence[np.ndarray], depths: Sequence[int]) -> tuple[float, float]:
    """Area of polygons within one another: all filled, and with holes; for the depths see
    `find_holes`."""
    areas, levels = measure_outlines(outlines)[2], np.array(depths)
    return float(areas[levels == 0].sum()), float(areas @ np.where(levels % 2, -1, 1))


def _are_inside(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Which points (N, 2) lie inside of a polygon (P, 2), (N,) bool: a ray to the right crosses the
    outline an odd number of times."""
    x, y = points.T[:, :, None]
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
    crosses = (y0 > y) != (y1 > y)
    height = np.where(y1 == y0, 1, y1 - y0)
    return (crosses & (x < x0 + (y - y0) / height * (x1 - x0))).sum(axis=1) % 2 == 1
