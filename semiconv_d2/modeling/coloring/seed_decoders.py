"""Decoders that take one seed after the other and need no number of instances: `greedy` and
`mean_shift`.

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

SEEDS_PER_INSTANCE = 5  # seeds tried for each instance that is wanted, before giving up
MIN_FREE = 0.5  # share of its pixels that a segment of `greedy` has to itself, at least
REFINEMENTS = 3  # steps of mean shift that a seed of `greedy` takes
MIN_KERNEL = 0.05  # K to the nearest segment from which on `greedy` adds an unclaimed pixel to it
MAX_SHIFTS = 100  # steps after which `mean_shift` takes a seed for converged
SHIFT_TOLERANCE = 1e-3  # of the radius: a step that is shorter is the last one


def greedy(
    pixels: Pixels,
    *,
    max_instances: int,
    min_pixels: int,
    count: int | None = None,
    seeds_per_instance: int = SEEDS_PER_INSTANCE,
) -> list[Segment]:
    """Segments around seeds, the most probable foreground first. Segments may overlap.

    A seed is the most probable foreground pixel that no segment has touched; among equals, that
    with the most pixels in its cube of the embedding space. The seed takes `REFINEMENTS` steps of
    mean shift, weighted with K. Its segment is all pixels with K ≥ 1/2, those of other segments
    too. A segment with less than `MIN_FREE` of its pixels to itself is dropped, before these steps
    or after them. Score: the mean of foreground · K, times the share of pixels to itself.

    In the end each pixel without a segment joins the nearest one, if K to that one is at least
    `MIN_KERNEL`: the pixel is foreground, so it belongs to some instance.

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

    A pixel with K < 1/2 to every mode goes to none, as with scikit-learn's `cluster_all=False`.
    The window is flat, like scikit-learn's, because such a shift ends after a few steps. A shift
    starts in each cube of the embedding space that no mode covers yet, the fullest first. If it
    comes nearer than the radius to an earlier mode, it ends there. Score: the mean of
    foreground · K.

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
    """Pixels in a given order, without those that are `touched`, (P,) boolean, at their turn.

    The caller must touch each pixel that it takes.
    """
    for block in order.split(BLOCK):
        while len(block := block[~touched[block]]):
            yield int(block[0])


def _share(flags: Tensor) -> float:
    """The share of true ones, in [0, 1]; 0 if there are none at all."""
    return int(flags.sum()) / max(len(flags), 1)


def _join(pixels: Pixels, rest: Tensor, centres: list[Tensor]) -> list[Tensor]:
    """Divides pixels without a segment, given by their indices, among the centres (D,) that they
    join: one tensor of indices for each centre."""
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
    """Flat mean shift from a point (D,) to a new mode; None if it comes nearer than the radius to
    one of `modes`, (N, D)."""
    for _ in range(MAX_SHIFTS):
        if (torch.linalg.vector_norm(modes - point, dim=1) < index.radius).any():
            return None
        ball = index.ball(point)
        point = ball.mean(torch.ones_like(ball.distance))
        if torch.dist(point, ball.centre) < SHIFT_TOLERANCE * index.radius:
            break
    return ball
