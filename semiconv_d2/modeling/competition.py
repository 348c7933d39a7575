"""Competition between the seeds of an image: which instances a region shares its pixels out with.

All images of a batch go together: on a GPU every operation on such small tensors costs as much as
one on large ones.

Shapes: R regions and N instances of all images, J rivals of a region, D embedding channels, M side
of a region's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import pairwise_intersection
from torch import Tensor
from torch.nn import functional as F

from ..ops import log_kernel, seed_embedding

MAX_RIVALS = 8
"""Of a region; those are taken that reach into most of it."""

NUMBER = "gt_number"
"""Field of targets, and of the proposals that they are assigned to: the number of an instance in
its batch. Detectron2 hands on all fields that are called gt_ something."""


class Seeds(NamedTuple):
    """Of the N true instances of a batch, filled up with `MAX_RIVALS` that no region competes with,
    so that there are as many rivals however few instances there are."""

    embedding: Tensor
    """(N + J, D), in the frame of the image."""
    regions: Tensor
    """(N + J, 5), as `index_boxes` gives them."""
    known: Tensor
    """(N + J,), 1, or 0 for an instance without a pixel to make a seed of."""


class Rivals(NamedTuple):
    """What competes with the seeds of R regions."""

    seeds: Tensor
    """(R, J, D), each in the frame of its region."""
    weights: Tensor
    """(R, J) in [0, 1]; 0 for none."""


def number_instances(targets: Sequence[Instances]) -> list[Instances]:
    """Targets with their `NUMBER`; those that are given are left as they are."""
    numbered, first = [], 0
    for x in targets:
        fields, last = x.get_fields(), first + len(x)
        if len(x):
            fields = fields | {NUMBER: torch.arange(first, last, device=x.gt_boxes.device)}
        numbered.append(Instances(x.image_size, **fields))
        first = last
    return numbered


def mean_seeds(embedding: Tensor, masks: Tensor, origins: Tensor, regions: Tensor) -> Seeds:
    """The mean embedding of the own pixels of each true instance.

    Args:
        embedding: Ψ around each instance, (N, D, M, M).
        masks: pixels of the instance, (N, M, M) boolean.
        origins: of these regions in the frame of the image, (N, D).
        regions: boxes of the instances, (N, 5).
    """
    weights = masks.to(embedding.dtype)
    pixels = weights.sum(dim=(1, 2), keepdim=True)
    means = seed_embedding(weights / pixels.clamp(min=1), embedding)
    return Seeds(
        _fill_up(means + origins), _fill_up(regions, -1.0), _fill_up(pixels[:, 0, 0].clamp(max=1))
    )


def true_rivals(regions: Tensor, origins: Tensor, numbers: Tensor, seeds: Seeds) -> Rivals:
    """In training all instances compete but a region's own.

    Args:
        regions: proposals, (R, 5).
        origins: of their frames in that of the image, (R, D).
        numbers: of the instance that each is assigned to, (R,).
        seeds: of the true instances.
    """
    overlap = overlaps(regions, seeds.regions)
    others = numbers[:, None] != torch.arange(len(seeds.known), device=numbers.device)
    weights = (others & (overlap > 0)) * seeds.known
    return choose_rivals(seeds.embedding, origins, weights, overlap)


class Contest:
    """The detections of a batch, which compete with each other at test: those of high score most,
    and those least that are the same instance once more, as far as the kernel can tell. A rival's
    weight is score² · (1 − K) between the seeds."""

    def __init__(
        self, regions: Tensor, origins: Tensor, scores: Tensor | None, sigma: Tensor, kernel: str
    ):
        """
        Args:
            regions: detections, (R, 5).
            origins: of their frames in that of the image, (R, D).
            scores: (R,); None for 1.
            sigma, kernel: as in `ops.log_kernel`.
        """
        self.origins, self.sigma, self.kernel = origins, sigma, kernel
        self.overlap = overlaps(regions, _fill_up(regions, -1.0)).fill_diagonal_(0.0)
        self.claims = self.overlap.sign()
        if scores is not None:
            self.claims = self.claims * _fill_up(scores.square())

    def rivals(self, seeds: Tensor) -> Rivals:
        """Of seeds, (R, D) each in the frame of its region."""
        seeds = seeds + self.origins
        others = _fill_up(seeds)
        # Not by a matrix product, which is inexact where seeds are close.
        distance = torch.cdist(seeds, others, compute_mode="donot_use_mm_for_euclid_dist")
        alike = log_kernel(distance.square(), self.sigma, self.kernel).exp()
        weights = torch.addcmul(self.claims, self.claims, alike, value=-1)
        return choose_rivals(others, self.origins, weights, self.overlap)


def overlaps(regions: Tensor, others: Tensor) -> Tensor:
    """What boxes have in common, in square pixels, (R, N): 0 in different images.

    Args:
        regions, others: (R, 5) and (N, 5), as `index_boxes` gives them.
    """
    area = pairwise_intersection(Boxes(regions[:, 1:]), Boxes(others[:, 1:]))
    return area * (regions[:, :1] == others[:, 0])


def choose_rivals(seeds: Tensor, origins: Tensor, weights: Tensor, overlap: Tensor) -> Rivals:
    """J = `MAX_RIVALS` instances for each region: those with the largest product of weight and
    overlap.

    Args:
        seeds: of N ≥ J instances, in the frame of the image, (N, D).
        origins: of the frame of each region in that of the image, (R, D).
        weights: (R, N); 0 where there is no overlap.
        overlap: (R, N).
    """
    chosen = (weights.detach() * overlap).topk(MAX_RIVALS, dim=1).indices
    # On a GPU the gradient of `index_select` is one operation, and that of `[]` is ten.
    taken = seeds.index_select(0, chosen.flatten()).view(-1, MAX_RIVALS, seeds.shape[1])
    return Rivals(taken - origins[:, None], weights.gather(1, chosen))


def _fill_up(rows: Tensor, value: float = 0.0) -> Tensor:
    """`MAX_RIVALS` rows more."""
    return F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, MAX_RIVALS), value=value)
