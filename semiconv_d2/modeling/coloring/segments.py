"""Input and output of decoders: the foreground pixels of an image, and segments of them.

A pixel belongs to a point of the embedding space if K_σ between them is at least 1/2. These pixels
form a ball; its `radius` is the scale of all decoders. Distances are exact, without the ε of the
losses.

Shapes: P foreground pixels, D embedding channels, M pixels of one segment.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...ops import KERNELS, log_kernel
from ...ops.checks import check_choice

BLOCK = 16_384  # pixels that decoders handle at once: bounds memory, and fits into the cache


def radius(sigma: float, kernel: str) -> float:
    """The distance at which K_σ is 1/2, in the unit of σ.

    Example:
        >>> round(radius(1.0, "laplacian"), 4), round(radius(1.0, "gaussian"), 4)
        (0.6931, 1.1774)
    """
    check_choice("kernel", kernel, KERNELS)
    return sigma * (math.log(2) if kernel == "laplacian" else math.sqrt(2 * math.log(2)))


class Pixels(NamedTuple):
    """The foreground pixels of one image, P of them."""

    embedding: Tensor
    """Ψ, (P, D) float32, finite."""
    foreground: Tensor
    """The probability that each is foreground, (P,) float32 in [0, 1]."""
    sigma: float
    """σ of the kernel, in the unit of the embedding."""
    kernel: str
    """Name of the kernel, "laplacian" or "gaussian"; see `ops.log_kernel`."""

    @property
    def radius(self) -> float:
        """See `radius`."""
        return radius(self.sigma, self.kernel)

    def affinity(self, distance: Tensor) -> Tensor:
        """K_σ of distances of any shape."""
        return log_kernel(distance, self.sigma, self.kernel).exp()


class Segment(NamedTuple):
    """An instance."""

    pixels: Tensor
    """Indices into the P pixels, (M,) int64, ascending."""
    score: float
    """In [0, 1]."""


def exclusive_segments(pixels: Pixels, owner: Tensor, distance: Tensor) -> list[Segment]:
    """Makes segments that share no pixel. Score: the mean of foreground · K.

    Args:
        owner: number of the segment that each pixel belongs to, (P,); −1: no segment.
        distance: from each pixel to the centre of its segment, (P,).
    """
    scores = pixels.foreground * pixels.affinity(distance)
    members = owner.argsort(stable=True).split(torch.bincount(owner + 1).tolist())[1:]
    return [Segment(m, float(scores[m].mean())) for m in members if len(m)]
