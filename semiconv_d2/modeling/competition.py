"""Competition between the seeds of an image: which instances a region shares its pixels out with.

Shapes: R regions, N instances of an image, J rivals of a region, D embedding channels, M side of a
region's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import pairwise_intersection
from torch import Tensor
from torch.nn import functional as F

from ..ops import log_kernel, seed_embedding, softened_squared_distance

MAX_RIVALS = 8
"""Of a region; those are taken that reach into most of it."""

NUMBER = "gt_number"
"""Field of targets, and of the proposals that they are assigned to: the number of an instance in
its image. Detectron2 hands on all fields that are called gt_ something."""


class Seeds(NamedTuple):
    """Of N instances of an image."""

    embedding: Tensor
    """(N, D), in the frame of the image."""
    boxes: Boxes
    """(N,), in its pixels."""
    known: Tensor
    """(N,), 1, or 0 for an instance without a pixel to make a seed of."""


class Rivals(NamedTuple):
    """What competes with the seeds of R regions."""

    seeds: Tensor
    """(R, J, D), each in the frame of its region."""
    weights: Tensor
    """(R, J) in [0, 1]; 0 for none."""


def number_instances(targets: Sequence[Instances]) -> list[Instances]:
    """Targets with their `NUMBER`; those that are given are left as they are."""
    numbered = []
    for x in targets:
        fields = x.get_fields()
        if len(x):
            fields = fields | {NUMBER: torch.arange(len(x), device=x.gt_boxes.device)}
        numbered.append(Instances(x.image_size, **fields))
    return numbered


def mean_seeds(
    embedding: Tensor, masks: Tensor, origins: Sequence[Tensor], boxes: Sequence[Boxes]
) -> list[Seeds]:
    """Of the true instances of all images: the mean embedding of their own pixels.

    Args:
        embedding: Ψ around each instance, (N, D, M, M), of one image after the other.
        masks: pixels of the instance, (N, M, M) boolean.
        origins: of these regions, (N_i, D) for each image.
        boxes: of the instances of each image.
    """
    counts = [len(b) for b in boxes]
    weights = masks.to(embedding.dtype)
    pixels = weights.sum(dim=(1, 2), keepdim=True)
    means = seed_embedding(weights / pixels.clamp(min=1), embedding).split(counts)
    known = pixels[:, 0, 0].clamp(max=1).split(counts)
    return [Seeds(m + o, b, k) for m, o, b, k in zip(means, origins, boxes, known, strict=True)]


def weigh_instances(proposals: Instances, num_instances: int) -> Tensor:
    """In training all instances but a region's own compete: (R, N) of 0 and 1.

    Args:
        proposals: R regions with `NUMBER`, which those of an image without instances lack.
    """
    if not proposals.has(NUMBER):
        return torch.zeros(len(proposals), num_instances, device=proposals.gt_classes.device)
    return 1 - F.one_hot(proposals.get(NUMBER), num_instances).float()


def weigh_detections(
    seeds: Tensor, scores: Tensor | None, sigma: Tensor | float, kernel: str
) -> Tensor:
    """At test detections compete, those of high score most, and those least that are the same
    instance once more, as far as the kernel can tell: score² · (1 − K) between the seeds.

    Args:
        seeds: (R, D), in one frame.
        scores: (R,); None for 1.

    Returns:
        (R, R); 0 on the diagonal.
    """
    squared = softened_squared_distance(seeds[:, None], seeds[None], dim=2)
    weights = 1 - log_kernel(squared, sigma, kernel).exp()
    if scores is not None:
        weights = weights * scores.square()
    number = torch.arange(seeds.shape[0], device=seeds.device)
    return weights.masked_fill(number[:, None] == number, 0)


def choose_rivals(boxes: Boxes, origins: Tensor, seeds: Seeds, weights: Tensor) -> Rivals:
    """The instances whose boxes reach into each region of an image, J = `MAX_RIVALS` of them, those
    with the largest product of weight and overlap. Those whose seed is not known have weight 0.

    Args:
        boxes: (R,) regions.
        origins: of the frame of each region in that of the image, (R, D).
        seeds: of N instances.
        weights: (R, N).
    """
    overlap = pairwise_intersection(boxes, seeds.boxes)
    # Filled up, so that there are as many rivals however few instances there are.
    weights = F.pad(weights * seeds.known * (overlap > 0), (0, MAX_RIVALS))
    reach = weights.detach() * F.pad(overlap, (0, MAX_RIVALS))
    chosen = reach.topk(MAX_RIVALS, dim=1).indices
    embedding = F.pad(seeds.embedding, (0, 0, 0, MAX_RIVALS))
    return Rivals(embedding[chosen] - origins[:, None], weights.gather(1, chosen))
