"""The decoders `greedy` and `mean_shift`. They try one seed after another and do not need to know
the number of instances.

Shapes: P foreground pixels, D embedding channels, N segments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from .ball_index import Ball, BallIndex
from .segments import BLOCK, Pixels, Segment, exclusive_segments

SEEDS_PER_INSTANCE = 5  # at most so many seeds are tried for each of `max_instances`
MIN_FREE = 0.5  # smallest share of its pixels that a segment of `greedy` has to itself
REFINEMENTS = 3  # steps of mean shift for a seed of `greedy`
MIN_KERNEL = 0.05  # smallest K to the nearest segment for `greedy` to add an unclaimed pixel to it
MAX_SHIFTS = 100  # `mean_shift` stops a seed after so many steps
SHIFT_TOLERANCE = 1e-3  # in radii: `mean_shift` stops after a step that is shorter than this


def greedy(
    pixels: Pixels,
    *,
    max_instances: int,
    min_pixels: int,
    count: int | None = None,
    seeds_per_instance: int = SEEDS_PER_INSTANCE,
) -> list[Segment]:
    """Forms segments around seeds, the most probable foreground first. Segments may overlap.

    A seed is the most probable foreground pixel that is in no segment yet. Among equals, it is the
    pixel with the most pixels in its cube of the embedding space. The seed moves by `REFINEMENTS`
    steps of mean shift, weighted with K. Its segment has all pixels with K ≥ 1/2, also pixels of
    other segments. A segment is dropped if it has less than `MIN_FREE` of its pixels to itself,
    before these steps or after them. Score: the mean of foreground · K, times this share.

    In the end each pixel without a segment joins the nearest segment if K to it is at least
    `MIN_KERNEL`, because a foreground pixel should belong to some instance.

    `count` is not used.
    """
    claimed, touched = torch.zeros(
        2, len(pixels.embedding), dtype=torch.bool, device=pixels.embedding.device
    )
    index = BallIndex(pixels.embedding, pixels.radius)
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
            ball = index.ball(ball.mean(pixels.affinity(ball.distance)))
        touched[ball.pixels] = True
        free = _share(~claimed[ball.pixels])
        if len(ball.pixels) < min_pixels or free < MIN_FREE:
            continue
        claimed[ball.pixels] = True
        scores = pixels.foreground[ball.pixels] * pixels.affinity(ball.distance)
        segments.append(Segment(ball.pixels.sort().values, float(scores.mean()) * free))
        centres.append(ball.centre)
    joined = _join(pixels, (~claimed).nonzero()[:, 0], centres)
    return [
        s._replace(pixels=torch.cat([s.pixels, more]).sort().values)
        for s, more in zip(segments, joined, strict=True)
    ]


def mean_shift(
    pixels: Pixels,
    *,
    max_instances: int,
    min_pixels: int,
    count: int | None = None,
    seeds_per_instance: int = SEEDS_PER_INSTANCE,
) -> list[Segment]:
    """Mean shift with a flat window of the radius; each pixel goes to the nearest mode.

    A pixel with K < 1/2 to every mode stays without a segment, as with scikit-learn's
    `cluster_all=False`. The window is flat, as in scikit-learn, because the shift then ends after a
    few steps. A shift starts in each cube of the embedding space that no mode covers yet, the
    fullest cube first. If the shift comes nearer than the radius to an earlier mode, it is given
    up. Score: the mean of foreground · K.

    `min_pixels` and `count` are not used.
    """
    embedding = pixels.embedding
    index = BallIndex(embedding, pixels.radius)
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
    return exclusive_segments(pixels, owner, distance)


def _untouched(order: Tensor, touched: Tensor) -> Iterator[int]:
    """Pixels in a given order; skips a pixel if it is `touched`, (P,) boolean, when its turn comes.

    The caller must mark each pixel that it gets as touched.
    """
    for block in order.split(BLOCK):
        while len(block := block[~touched[block]]):
            yield int(block[0])


def _share(flags: Tensor) -> float:
    """The share of flags that are true, in [0, 1]; 0 if there are no flags."""
    return int(flags.sum()) / max(len(flags), 1)


def _join(pixels: Pixels, rest: Tensor, centres: list[Tensor]) -> list[Tensor]:
    """Divides the pixels without a segment among the centres (D,) of segments: one tensor of
    indices for each centre. `rest` has the indices of these pixels."""
    embedding = pixels.embedding[rest]
    nearest = embedding.new_full((len(rest),), math.inf)
    owner = torch.full_like(rest, -1)
    for number, centre in enumerate(centres):
        distance = torch.linalg.vector_norm(embedding - centre, dim=1)
        owner[distance < nearest] = number
        nearest = torch.minimum(nearest, distance)
    owner[pixels.affinity(nearest) < MIN_KERNEL] = -1
    return [rest[owner == number] for number in range(len(centres))]


def _climb(index: BallIndex, point: Tensor, modes: Tensor) -> Ball | None:
    """Flat mean shift from a point (D,) to a new mode; None if the shift comes nearer than the
    radius to one of `modes`, (N, D)."""
    for _ in range(MAX_SHIFTS):
        if (torch.linalg.vector_norm(modes - point, dim=1) < index.radius).any():
            return None
        ball = index.ball(point)
        point = ball.mean(torch.ones_like(ball.distance))
        if torch.dist(point, ball.centre) < SHIFT_TOLERANCE * index.radius:
            break
    return ball
