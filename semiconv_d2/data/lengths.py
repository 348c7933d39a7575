"""Length and mean width of a mask, measured along its middle line.

The middle line is a shortest path between the two pixels that are farthest apart within the mask. A
step costs the more, the nearer it is to the outline, so that the path keeps to the middle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .geometry import bounding_window

_STEPS = ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 2**0.5), (1, -1, 2**0.5))  # down, right, pixels
_CENTRED = 3  # power of the distance from the outline by which a step is cheaper
_CHORD = 5  # pixels of the path for one straight piece: the steps of the raster do not count
_CORNER = 1.5  # an end of the line lies in a corner: 1.4 times as far from the middle as a side
_MARCH = 0.05  # pixels


class Extent(NamedTuple):
    """How long and how wide a mask is, in pixels."""

    length: float
    """Length of the middle line, from one end of the mask to the other."""
    width: float
    """Area over length: the mean width."""


def measure_extent(mask: np.ndarray) -> Extent:
    """Length and width of the largest piece of a mask.

    A line of N pixels has the length N and the width 1; a disc is about as long as its diameter.

    Args:
        mask: (H, W) bool. Pixels that touch at a corner belong to one piece.

    Returns: pixels; 0 and 0 for an empty mask.
    """
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return Extent(0.0, 0.0)
    own = np.pad(_largest_piece(mask[bounding_window(mask)]), 1)
    depth = distance_transform_edt(own)
    whole = _middle_line(own, depth)
    line = _without_ends(whole, depth)
    length = (
        _length(line)
        + _reach(own, _direction(whole, line))
        + _reach(own, _direction(whole[::-1], line[::-1]))
    )
    return Extent(length, float(own.sum()) / length)


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import label

    numbers, count = label(mask, structure=np.ones((3, 3)))
    if count == 1:
        return mask
    return numbers == 1 + np.bincount(numbers.ravel())[1:].argmax()


def _middle_line(own: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Pixels of the middle line in their order, (P, 2) rows and columns.

    Args:
        own: one piece, (H, W) bool, with a margin of a pixel.
        depth: distance of each pixel from the background, (H, W).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    places = np.argwhere(own)
    number = np.full(own.shape, -1)
    number[own] = np.arange(len(places))
    firsts, seconds, steps = [], [], []
    for down, right, step in _STEPS:
        beside = number[places[:, 0] + down, places[:, 1] + right]
        first = np.flatnonzero(beside >= 0)
        firsts.append(first)
        seconds.append(beside[first])
        steps.append(np.full(len(first), step))
    first, second, costs = (np.concatenate(each) for each in (firsts, seconds, steps))

    def graph(weights: np.ndarray):
        return coo_matrix((weights, (first, second)), shape=(len(places),) * 2).tocsr()

    plain = graph(costs)
    start = int(dijkstra(plain, directed=False, indices=0).argmax())
    goal = int(dijkstra(plain, directed=False, indices=start).argmax())
    depths = depth[own]
    nearness = depths.max() / ((depths[first] + depths[second]) / 2)
    _, before = dijkstra(
        graph(costs * nearness**_CENTRED), directed=False, indices=start, return_predecessors=True
    )
    path = [goal]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    return places[path]


def _without_ends(line: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The part of a line (P, 2) that is in the middle. Near its ends, a line runs from the middle
    into a corner: what is nearer to an end than to the outline is left out, up to one pixel."""
    depths = depth[tuple(line.T)]
    far = [np.hypot(*(line - end).T) >= _CORNER * depths for end in (line[0], line[-1])]
    first, last = int(far[0].argmax()), len(line) - 1 - int(far[1][::-1].argmax())
    if not (far[0].any() and far[1].any()) or first > last:
        first = last = int(depths.argmax())
    return line[first : last + 1]


def _length(line: np.ndarray) -> float:
    """Length of a line of pixels (P, 2), as straight pieces of a few pixels."""
    knots = line[np.unique(np.r_[0 : len(line) : _CHORD, len(line) - 1])]
    return float(np.hypot(*np.diff(knots, axis=0).T).sum())


def _reach(own: np.ndarray, ray: tuple[np.ndarray, np.ndarray]) -> float:
    """How far a mask goes on from the centre of a pixel, in a direction."""
    start, direction = ray
    steps = np.arange(0, sum(own.shape), _MARCH)
    rows, columns = np.floor(start[:, None] + 0.5 + direction[:, None] * steps).astype(int)
    inside = (rows >= 0) & (rows < own.shape[0]) & (columns >= 0) & (columns < own.shape[1])
    inside[inside] = own[rows[inside], columns[inside]]
    return float(steps[int((~inside).argmax())])


def _direction(whole: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last pixel of a line, and the direction (2,) in which the line arrives there."""
    before = line[max(0, len(line) - 1 - _CHORD)]
    step = (line[-1] - before if len(line) > 2 else whole[-1] - whole[0]).astype(float)
    return line[-1].astype(float), step / np.hypot(*step) if step.any() else np.array([0.0, 1.0])
