"""Finds the pixels in a ball of the embedding space, for decoders that try one seed after another.

Shapes: P foreground pixels, D embedding channels, C cubes, M pixels in a ball.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LARGEST_EXACT = 2**53  # float64 can represent all integers up to here


class Ball(NamedTuple):
    """The M pixels around a point of the embedding space."""

    centre: Tensor
    """(D,)"""
    pixels: Tensor
    """Indices, (M,) int64, in no order."""
    difference: Tensor
    """Ψ − centre, (M, D)."""
    distance: Tensor
    """Norm of the difference, (M,)."""

    def mean(self, weights: Tensor) -> Tensor:
        """Weighted mean of Ψ, (D,); the centre if there are no pixels."""
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        return self.centre + weights @ self.difference / total


class BallIndex:
    """Finds the pixels in a ball of fixed radius, and computes few distances to do so.

    Pixels are grouped by the cube of the embedding space that they lie in. The side of a cube is
    the radius, and cubes are sorted by their first coordinate. A search takes the cubes that are
    near in the first coordinate, keeps those whose bounding box reaches into the ball, and computes
    distances to the pixels of these cubes only.
    """

    def __init__(self, embedding: Tensor, radius: float):
        """`embedding`: Ψ, (P, D), of at least one pixel."""
        self.radius = radius
        keys, self.order = _cube_keys(embedding, radius).sort(stable=True)
        _, cubes, self.counts = keys.unique_consecutive(return_inverse=True, return_counts=True)
        self.starts = self.counts.cumsum(0) - self.counts
        # The number of pixels in the cube of each pixel, (P,).
        self.crowding = torch.empty_like(cubes)
        self.crowding[self.order] = self.counts[cubes]
        self.embedding = embedding.index_select(0, self.order)
        self.lower, self.upper = (
            torch.segment_reduce(self.embedding, reduce, lengths=self.counts, axis=0)
            for reduce in ("min", "max")
        )
        self.first = (self.lower[:, 0].double() / radius).floor()

    def fullest_cubes(self) -> Tensor:
        """One pixel of each cube, (C,); the fullest cube comes first."""
        return self.order[self.starts[self.counts.argsort(descending=True, stable=True)]]

    def ball(self, centre: Tensor) -> Ball:
        """The pixels whose distance from a point (D,) is at most the radius."""
        column = (centre[0].double() / self.radius).floor()
        begin = int(torch.searchsorted(self.first, column - 1))
        end = int(torch.searchsorted(self.first, column + 1, right=True))
        lower, upper = self.lower[begin:end], self.upper[begin:end]
        gap = torch.maximum(lower - centre, centre - upper).clamp(min=0)
        reached = torch.linalg.vector_norm(gap, dim=1) <= self.radius
        cubes = begin + reached.nonzero()[:, 0]

        counts = self.counts[cubes]
        skipped = self.starts[cubes] - (counts.cumsum(0) - counts)
        places = skipped.repeat_interleave(counts)
        places += torch.arange(len(places), device=places.device)
        difference = self.embedding.index_select(0, places) - centre
        distance = torch.linalg.vector_norm(difference, dim=1)
        inside = (distance <= self.radius).nonzero()[:, 0]
        pixels = self.order[places[inside]]
        return Ball(centre, pixels, difference.index_select(0, inside), distance[inside])


def _cube_keys(embedding: Tensor, side: float) -> Tensor:
    """A key for each pixel, (P,) int64: equal for pixels of the same cube, and ascending with the
    first coordinate of the cube."""
    keys = torch.zeros(len(embedding), dtype=torch.int64, device=embedding.device)
    size = 1
    for channel in embedding.unbind(dim=1):
        places = (channel.double() / side).floor()
        extent = int(places.max() - places.min()) + 1
        if size * extent > LARGEST_EXACT:  # take ranks, of which there are at most P
            keys, places = (x.unique(return_inverse=True)[1] for x in (keys, places))
            size = extent = len(embedding)
        keys = keys * extent + (places - places.min()).long()
        size *= extent
    return keys
