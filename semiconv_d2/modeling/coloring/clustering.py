"""From embeddings to instances: decoders group the foreground pixels of an image.

A pixel belongs to a point of the embedding space where K_σ ≥ 1/2, which is a ball of `radius`: the
scale of everything here. Distances are exact, without the ε of the losses.

Shapes: P foreground pixels, D embedding channels, C cubes, N instances, M pixels of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch
from detectron2.utils.registry import Registry
from torch import Tensor

from ...ops import KERNELS, log_kernel
from ...ops.checks import check_choice

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

MIN_FREE = 0.5  # share of its pixels that a segment of `greedy` has to itself, at least
REFINEMENTS = 3  # steps of mean shift that a seed of `greedy` takes
SEEDS_PER_INSTANCE = 5  # seeds tried for each instance that is wanted, before giving up
MIN_KERNEL = 0.05  # K to the nearest segment from which on a pixel that nobody has joins it
MAX_SHIFTS = 100  # steps after which `mean_shift` takes a seed for converged
SHIFT_TOLERANCE = 1e-3  # of the radius: a step that is shorter is the last one
KMEANS_STARTS = 10  # random starts of k-means where groups are not clearly separate
LARGEST_EXACT = 2**53  # up to here float64 has all integers
BLOCK = 16_384  # pixels handled together, which bounds memory and stays in the cache

DECODER_REGISTRY = Registry("SEMICONV_DECODER")
DECODER_REGISTRY.__doc__ = """
Registry for decoders, which group the foreground pixels of an image by their embeddings.

The registered function will be called with
`obj(pixels, max_instances=..., min_pixels=..., count=...)` as `decode` is, on at least one pixel,
and returns a list of `Segment`, in any order.
"""


class Pixels(NamedTuple):
    """The foreground pixels of one image, P of them."""

    embedding: Tensor
    """Ψ, (P, D) float32, finite."""
    foreground: Tensor
    """How surely each is foreground, (P,) float32 in [0, 1]."""
    sigma: float
    """σ of the kernel, in the unit of the embedding."""
    kernel: str
    """Its name, "laplacian" or "gaussian"; see `ops.log_kernel`."""


class Segment(NamedTuple):
    """An instance."""

    pixels: Tensor
    """Indices into the P pixels, (M,) int64, ascending."""
    score: float
    """In [0, 1]."""


@torch.no_grad()
def decode(
    pixels: Pixels,
    decoder: str,
    *,
    max_instances: int,
    min_pixels: int = 1,
    count: int | None = None,
) -> list[Segment]:
    """The instances of an image, those of the highest score first. Deterministic.

    Args:
        decoder: name in `DECODER_REGISTRY`.
        max_instances: the best are kept.
        min_pixels: smaller segments are dropped, and empty ones always.
        count: how many instances there are, for "kmeans".

    Raises:
        ValueError: embedding or foreground is not finite, the decoder is unknown, or it lacks the
            number of instances.
    """
    check_choice("decoder", decoder, [name for name, _ in DECODER_REGISTRY])
    total = len(pixels.embedding)
    for name, values in (
        ("embedding", pixels.embedding),
        ("foreground", pixels.foreground[:, None]),
    ):
        wrong = total - int(values.isfinite().all(dim=1).sum())
        if wrong:
            raise ValueError(f"The {name} of {wrong:,} of {total:,} pixels is not finite.")
    if not total:
        return []
    min_pixels = max(min_pixels, 1)
    segments = DECODER_REGISTRY.get(decoder)(
        pixels, max_instances=max_instances, min_pixels=min_pixels, count=count
    )
    large = [s for s in segments if len(s.pixels) >= min_pixels]
    return sorted(large, key=lambda s: s.score, reverse=True)[:max_instances]


def radius(sigma: float, kernel: str) -> float:
    """The distance at which K_σ is 1/2, in the unit of σ."""
    check_choice("kernel", kernel, KERNELS)
    return sigma * (math.log(2) if kernel == "laplacian" else math.sqrt(2 * math.log(2)))


@DECODER_REGISTRY.register()
def greedy(
    pixels: Pixels,
    *,
    max_instances: int,
    min_pixels: int,
    count: int | None = None,
    seeds_per_instance: int = SEEDS_PER_INSTANCE,
) -> list[Segment]:
    """One seed after the other, the most surely foreground pixel that no segment has touched.

    Among equals, that with the most pixels in its cube of the embedding space. The seed takes a
    few steps of mean shift, weighted with K; its segment is all pixels with K ≥ 1/2, those of
    other segments too: segments may overlap. One that has fewer than half of its pixels to itself,
    before these steps or after them, is dropped. Score: the mean of foreground · K, times that
    share. In the end each pixel that no segment has, and for which K to the nearest one is at
    least `MIN_KERNEL`, joins that one: it is foreground, so it belongs to somebody.

    `count` is not used.
    """
    claimed, touched = torch.zeros(
        2, len(pixels.embedding), dtype=torch.bool, device=pixels.embedding.device
    )
    index = _BallIndex(pixels.embedding, radius(pixels.sigma, pixels.kernel))
    order = index.crowding.argsort(descending=True, stable=True)
    order = order[pixels.foreground[order].argsort(descending=True, stable=True)]

    segments: list[Segment] = []
    centres: list[Tensor] = []
    seeds = _untouched(order, touched)
    for seed in islice(seeds, seeds_per_instance * max_instances):
        touched[seed] = True
        ball = index.ball(pixels.embedding[seed])
        if _share(~claimed[ball.pixels]) < MIN_FREE:
            continue
        for _ in range(REFINEMENTS):
            ball = index.ball(ball.mean(_kernel(ball.distance, pixels)))
        touched[ball.pixels] = True
        free = _share(~claimed[ball.pixels])
        if len(ball.pixels) < min_pixels or free < MIN_FREE:
            continue
        claimed[ball.pixels] = True
        sureness = pixels.foreground[ball.pixels] * _kernel(ball.distance, pixels)
        score = float(sureness.mean()) * free
        segments.append(Segment(ball.pixels.sort().values, score))
        centres.append(ball.centre)
    joined = _join(pixels, (~claimed).nonzero()[:, 0], centres)
    return [
        s._replace(pixels=torch.cat([s.pixels, more]).sort().values)
        for s, more in zip(segments, joined, strict=True)
    ]


@DECODER_REGISTRY.register()
def mean_shift(
    pixels: Pixels,
    *,
    max_instances: int,
    min_pixels: int,
    count: int | None = None,
    seeds_per_instance: int = SEEDS_PER_INSTANCE,
) -> list[Segment]:
    """Mean shift with a flat window of `radius`; each pixel goes to the nearest mode.

    A pixel with K < 1/2 to every mode goes to none, as with scikit-learn's `cluster_all=False`.
    The window is flat, as scikit-learn's, because such a shift ends after a few steps. Starts are
    the cubes of the embedding space, the fullest first, that no mode covers yet; one that comes
    nearer than `radius` to an earlier mode leads to that. Score: the mean of foreground · K.

    `count` is not used.
    """
    embedding = pixels.embedding
    index = _BallIndex(embedding, radius(pixels.sigma, pixels.kernel))
    touched = torch.zeros(len(embedding), dtype=torch.bool, device=embedding.device)
    owner = torch.full((len(embedding),), -1, device=embedding.device)
    distance = embedding.new_full((len(embedding),), math.inf)

    modes = embedding[:0]
    seeds = _untouched(index.fullest_cubes(), touched)
    for seed in islice(seeds, seeds_per_instance * max_instances):
        touched[seed] = True
        ball = _climb(index, embedding[seed], modes)
        if ball is None:
            continue
        touched[ball.pixels] = True
        nearer = ball.distance < distance[ball.pixels]
        owner[ball.pixels[nearer]] = len(modes)
        distance[ball.pixels[nearer]] = ball.distance[nearer]
        modes = torch.cat([modes, ball.centre[None]])
    return _exclusive_segments(pixels, owner, distance)


@DECODER_REGISTRY.register()
def kmeans(
    pixels: Pixels, *, max_instances: int, min_pixels: int, count: int | None = None
) -> list[Segment]:
    """k-means of scikit-learn with `count` groups, fewer where there are fewer distinct embeddings.

    All pixels are assigned. Starting from pixels that each are the farthest from those before
    finds groups that are clearly separate whatever their sizes, where random starts miss small
    ones; but outliers mislead it. So where a group is wider than its distance to the next, random
    starts are tried too, and the best by the objective of k-means is taken. Score: the mean of
    foreground · K.

    Raises:
        ValueError: `count` is None.
        ImportError: scikit-learn is missing.
    """
    if count is None:
        raise ValueError(
            "The decoder 'kmeans' needs the number of instances: `count`, or num_instances of an "
            "image."
        )
    try:
        from scipy.spatial.distance import pdist
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ImportError(
            "The decoder 'kmeans' needs scikit-learn: pip install scikit-learn"
        ) from error

    embedding = pixels.embedding
    starts = _farthest_first(embedding, count)
    if not starts:
        return []
    # In float64: scikit-learn takes distances from products of coordinates, which may be large.
    points = embedding.double().cpu().numpy()
    fit = KMeans(len(starts), init=points[starts], n_init=1).fit(points)
    owner, distance = _groups(embedding, fit)
    # With all pixels within ρ of their centre and centres over 4ρ apart, each pixel is nearer to
    # all of its own group than to any of another.
    if 4 * distance.max() >= pdist(fit.cluster_centers_).min(initial=math.inf):
        drawn = KMeans(len(starts), n_init=KMEANS_STARTS, random_state=0).fit(points)
        owner, distance = _groups(embedding, min(fit, drawn, key=lambda f: f.inertia_))
    return _exclusive_segments(pixels, owner, distance)


class _Ball(NamedTuple):
    """The M pixels around a point of the embedding space."""

    centre: Tensor
    """(D,)"""
    pixels: Tensor
    """Indices, (M,) int64, in no order."""
    difference: Tensor
    """Ψ − centre, (M, D)."""
    distance: Tensor
    """Its norm, (M,)."""

    def mean(self, weights: Tensor) -> Tensor:
        """Weighted mean of Ψ, (D,); the centre where there are no pixels."""
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        return self.centre + weights @ self.difference / total


class _BallIndex:
    """Finds the pixels in a ball of fixed radius by looking at few others.

    Pixels are grouped by the cube of the embedding space that they lie in, with sides as long as
    the radius, and cubes are sorted by their first coordinate. A ball is searched for in the cubes
    that reach into it: of those near in the first coordinate, those whose bounding box is near.
    """

    def __init__(self, embedding: Tensor, radius: float):
        self.radius = radius
        keys, self.order = _cube_keys(embedding, radius).sort(stable=True)
        _, cubes, self.counts = keys.unique_consecutive(return_inverse=True, return_counts=True)
        self.starts = self.counts.cumsum(0) - self.counts
        # For each pixel the number of pixels in its cube, (P,).
        self.crowding = torch.empty_like(cubes)
        self.crowding[self.order] = self.counts[cubes]
        self.embedding = embedding.index_select(0, self.order)
        self.lower, self.upper = (
            torch.segment_reduce(self.embedding, reduce, lengths=self.counts, axis=0)
            for reduce in ("min", "max")
        )
        self.first = (self.lower[:, 0].double() / radius).floor()

    def fullest_cubes(self) -> Tensor:
        """A pixel of each cube, (C,), those of the fullest first."""
        return self.order[self.starts[self.counts.argsort(descending=True, stable=True)]]

    def ball(self, centre: Tensor) -> _Ball:
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
        return _Ball(centre, pixels, difference.index_select(0, inside), distance[inside])


def _cube_keys(embedding: Tensor, side: float) -> Tensor:
    """A number for each pixel, (P,) int64: equal in the same cube, ascending with the first
    coordinate of the cube."""
    keys = torch.zeros(len(embedding), dtype=torch.int64, device=embedding.device)
    size = 1
    for channel in embedding.unbind(dim=1):
        places = (channel.double() / side).floor()
        extent = int(places.max() - places.min()) + 1
        if size * extent > LARGEST_EXACT:  # ranks instead: at most P of each
            keys, places = (x.unique(return_inverse=True)[1] for x in (keys, places))
            size = extent = len(embedding)
        keys = keys * extent + (places - places.min()).long()
        size *= extent
    return keys


def _climb(index: _BallIndex, point: Tensor, modes: Tensor) -> _Ball | None:
    """Flat mean shift from a point (D,) to a mode, or None on the way to one of `modes`, (N, D):
    nearer than the radius counts as there."""
    for _ in range(MAX_SHIFTS):
        if (torch.linalg.vector_norm(modes - point, dim=1) < index.radius).any():
            return None
        ball = index.ball(point)
        point = ball.mean(torch.ones_like(ball.distance))
        if torch.dist(point, ball.centre) < SHIFT_TOLERANCE * index.radius:
            break
    return ball


def _untouched(order: Tensor, touched: Tensor) -> Iterator[int]:
    """Pixels in a given order, without those that `touched`, (P,), says at their turn.

    Whoever takes a pixel must touch it.
    """
    for block in order.split(BLOCK):
        while len(block := block[~touched[block]]):
            yield int(block[0])


def _farthest_first(embedding: Tensor, count: int) -> list[int]:
    """Pixels that each are the farthest from those before; at most as many as are distinct."""
    chosen: list[int] = []
    distance = _distances(embedding, embedding.mean(dim=0))
    while len(chosen) < count:
        farthest = int(distance.argmax())
        if chosen and distance[farthest] == 0:
            break
        to_it = _distances(embedding, embedding[farthest])
        distance = torch.minimum(distance, to_it) if chosen else to_it
        chosen.append(farthest)
    return chosen


def _distances(embedding: Tensor, point: Tensor) -> Tensor:
    """From each pixel to a point (D,): (P,)."""
    blocks = embedding.split(BLOCK)
    return torch.cat([torch.linalg.vector_norm(b - point, dim=1) for b in blocks])


def _groups(embedding: Tensor, fit: KMeans) -> tuple[Tensor, Tensor]:
    """The group of each pixel, and its distance to the centre of that: (P,), (P,)."""
    owner = torch.from_numpy(fit.labels_).to(embedding.device, torch.int64)
    centres = torch.from_numpy(fit.cluster_centers_).to(embedding)
    return owner, torch.linalg.vector_norm(embedding - centres.index_select(0, owner), dim=1)


def _join(pixels: Pixels, rest: Tensor, centres: list[Tensor]) -> list[Tensor]:
    """Those of some pixels, given by their indices, that join each centre (D,)."""
    embedding = pixels.embedding[rest]
    nearest = embedding.new_full((len(rest),), math.inf)
    owner = torch.full_like(rest, -1)
    for number, centre in enumerate(centres):
        distance = torch.linalg.vector_norm(embedding - centre, dim=1)
        owner[distance < nearest] = number
        nearest = torch.minimum(nearest, distance)
    owner[_kernel(nearest, pixels) < MIN_KERNEL] = -1
    return [rest[owner == number] for number in range(len(centres))]


def _share(flags: Tensor) -> float:
    """How many of them are true, in [0, 1]; 0 where there are none."""
    return int(flags.sum()) / max(len(flags), 1)


def _kernel(distance: Tensor, pixels: Pixels) -> Tensor:
    """K_σ of distances of any shape."""
    return log_kernel(distance, pixels.sigma, pixels.kernel).exp()


def _exclusive_segments(pixels: Pixels, owner: Tensor, distance: Tensor) -> list[Segment]:
    """
    Args:
        owner: number of the segment that each pixel belongs to, (P,); −1 for none.
        distance: from each pixel to the centre of its segment, (P,).
    """
    sureness = pixels.foreground * _kernel(distance, pixels)
    members = owner.argsort(stable=True).split(torch.bincount(owner + 1).tolist())[1:]
    return [Segment(m, float(sureness[m].mean())) for m in members if len(m)]
