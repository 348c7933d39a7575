"""Competition of seeds for the pixels of an image: what this project adds to section 3.5.

The paper compares a pixel only with the seed of its own region. Here the seed competes for the
pixel with the seeds of other instances and with a learned background b. It wins the share

    P = K / (K + b + Σ_j w_j K_j)

P replaces K. The logit of P, log K − log (b + Σ_j w_j K_j), replaces log K: it lowers the mask
logits where K is smaller than b + Σ_j w_j K_j, and raises them where K is larger.

All images of a batch are computed together: on a GPU an operation on such small tensors costs as
much as one on large tensors.

Shapes: R regions and N instances of all images, J competitors of a region, D embedding channels, M
side of a region's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import pairwise_intersection
from torch import Tensor, nn
from torch.nn import functional as F

from ..ops import log_kernel, seed_embedding, share_odds
from .learning_rate import LearnedScalar

MAX_COMPETITORS = 8
"""Of a region, at most; see `choose_competitors`."""

NUMBER = "gt_number"
"""Field of targets, and of the proposals that they are assigned to: the number of the instance in
its batch. Detectron2 copies all fields whose names start with gt_ from targets to proposals."""

LOG_BACKGROUND = -1.0  # log b at the start: b is the K of a pixel at a distance of σ


class Competition(nn.Module):
    """Lets seeds compete for pixels, and learns log b."""

    def __init__(self, *, lr_factor: float = 10.0):
        """
        Args:
            lr_factor: as in `EmbeddingHead`.
        """
        super().__init__()
        # log b − log b₀, as for σ in `LearnedKernel`: weight decay pulls b back to its start.
        self.log_background_ratio = LearnedScalar(lr_factor)

    def forward(
        self,
        embedding: Tensor,
        seed: Tensor,
        competitors: Competitors | None,
        sigma: Tensor,
        kernel: str,
    ) -> Tensor:
        """The logit of P, (R, M, M).

        Args:
            embedding: Ψ, (R, D, M, M).
            seed: of each region, (R, D).
            competitors: None: the seeds compete with the background only.
            sigma, kernel: as in `ops.log_kernel`.
        """
        background = (LOG_BACKGROUND + self.log_background_ratio()).exp()
        seeds, weights = seed[:, None], seed[:, :0]
        if competitors is not None:
            others, weights = competitors.seeds_against(seed, sigma, kernel)
            seeds = torch.cat([seeds, others], dim=1)
        return share_odds(embedding, seeds, weights, background, sigma, kernel)


class CompetingSeeds(NamedTuple):
    """The seeds that compete with the seeds of R regions."""

    seeds: Tensor
    """(R, J, D)"""
    weights: Tensor
    """(R, J) in [0, 1]; 0: this one does not compete."""


class Competitors(Protocol):
    """Finds the competitors of the seeds of regions."""

    def seeds_against(self, seeds: Tensor, sigma: Tensor, kernel: str) -> CompetingSeeds:
        """
        Args:
            seeds: of the regions, (R, D).
            sigma, kernel: as in `ops.log_kernel`, for the similarity of two seeds.
        """


class InstanceSeeds(NamedTuple):
    """Seeds of the N true instances of a batch, and J = `MAX_COMPETITORS` rows of padding that no
    region competes with. With the padding, every region finds J competitors."""

    embedding: Tensor
    """(N + J, D)"""
    regions: Tensor
    """(N + J, 5), as `index_boxes` gives them."""
    known: Tensor
    """(N + J,): 1; 0 for padding and for an instance without pixels, which has no seed."""

    @classmethod
    def of(cls, embedding: Tensor, masks: Tensor, regions: Tensor) -> InstanceSeeds:
        """The mean embedding of each instance's own pixels.

        Args:
            embedding: Ψ around each instance, (N, D, M, M).
            masks: pixels of the instance, (N, M, M) boolean.
            regions: boxes of the instances, (N, 5).
        """
        weights = masks.to(embedding.dtype)
        pixels = weights.sum(dim=(1, 2), keepdim=True)
        means = seed_embedding(weights / pixels.clamp(min=1), embedding)
        known = pixels[:, 0, 0].clamp(max=1)
        return cls(_fill_up(means), _fill_up(regions, -1.0), _fill_up(known))


class TrueCompetitors:
    """The competitors in training: all true instances but the one that the region is assigned to.

    Each instance is there exactly once, so the choice does not depend on the seeds of the regions.
    """

    def __init__(self, regions: Tensor, numbers: Tensor, instances: InstanceSeeds):
        """
        Args:
            regions: proposals, (R, 5).
            numbers: number of the instance that each proposal is assigned to, (R,).
            instances: the true instances.
        """
        overlap = overlaps(regions, instances.regions)
        others = numbers[:, None] != torch.arange(len(instances.known), device=numbers.device)
        weights = (others & (overlap > 0)) * instances.known
        self.chosen = choose_competitors(instances.embedding, weights, overlap)

    def seeds_against(self, seeds: Tensor, sigma: Tensor, kernel: str) -> CompetingSeeds:
        """See `Competitors`."""
        return self.chosen


class DetectionCompetitors:
    """The competitors at test: the other detections of the image.

    The weight of a competitor is score² · (1 − K), with K between the two seeds. It is large for a
    high score, small for a second detection of the same instance, and 0 for the region itself.
    """

    def __init__(self, regions: Tensor, scores: Tensor | None):
        """
        Args:
            regions: detections, (R, 5).
            scores: (R,); None: all are 1.
        """
        self.overlap = overlaps(regions, _fill_up(regions, -1.0))
        self.claims = self.overlap.sign()
        if scores is not None:
            self.claims = self.claims * _fill_up(scores.square())

    @torch.no_grad()  # the distance of a seed to itself has no gradient
    def seeds_against(self, seeds: Tensor, sigma: Tensor, kernel: str) -> CompetingSeeds:
        """See `Competitors`."""
        others = _fill_up(seeds)
        # A matrix product would be inexact where seeds are close.
        distance = torch.cdist(seeds, others, compute_mode="donot_use_mm_for_euclid_dist")
        alike = log_kernel(distance, sigma, kernel).exp()
        weights = torch.addcmul(self.claims, self.claims, alike, value=-1)
        return choose_competitors(others, weights, self.overlap)


def number_instances(targets: Sequence[Instances]) -> list[Instances]:
    """Copies of the targets with the field `NUMBER`; the given targets do not change."""
    numbered, first = [], 0
    for x in targets:
        fields, last = x.get_fields(), first + len(x)
        if len(x):
            fields = fields | {NUMBER: torch.arange(first, last, device=x.gt_boxes.device)}
        numbered.append(Instances(x.image_size, **fields))
        first = last
    return numbered


def overlaps(regions: Tensor, others: Tensor) -> Tensor:
    """Area of the intersection of boxes, in square pixels, (R, N); 0 between different images.

    Args:
        regions, others: (R, 5) and (N, 5), as `index_boxes` gives them.
    """
    area = pairwise_intersection(Boxes(regions[:, 1:]), Boxes(others[:, 1:]))
    return area * (regions[:, :1] == others[:, 0])


def choose_competitors(seeds: Tensor, weights: Tensor, overlap: Tensor) -> CompetingSeeds:
    """Chooses J = `MAX_COMPETITORS` instances for each region: those with the largest product of
    weight and overlap.

    Args:
        seeds: of N ≥ J instances, (N, D).
        weights: (R, N); 0 where there is no overlap.
        overlap: (R, N).
    """
    chosen = (weights.detach() * overlap).topk(MAX_COMPETITORS, dim=1).indices
    # On a GPU the gradient of `index_select` is one operation, and that of `[]` is ten.
    taken = seeds.index_select(0, chosen.flatten()).view(-1, MAX_COMPETITORS, seeds.shape[1])
    return CompetingSeeds(taken, weights.gather(1, chosen))


def _fill_up(rows: Tensor, value: float = 0.0) -> Tensor:
    """Appends `MAX_COMPETITORS` rows that have this value."""
    return F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, MAX_COMPETITORS), value=value)
