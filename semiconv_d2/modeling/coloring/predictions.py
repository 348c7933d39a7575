"""The predictions of `InstanceColoring` for an image: `Coloring`, and instances decoded from it.

Shapes: C classes, D embedding channels, N instances, P foreground pixels, H and W of the output.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from .segments import Segment


class Coloring(NamedTuple):
    """The model's prediction for each pixel of an image, at the resolution of the output."""

    embedding: Tensor
    """Ψ, (D, H, W)."""
    foreground: Tensor
    """For each class, the probability that a pixel belongs to an instance of it, (C, H, W)."""


def to_instances(segments: list[Segment], foreground: Tensor, classes: Tensor) -> Instances:
    """Detectron2's `Instances` of N segments, in the same order.

    Args:
        segments: of the P foreground pixels.
        foreground: where the foreground pixels are, (H, W) boolean.
        classes: the probability of each class for each foreground pixel, (C, P).

    Returns:
        With `pred_masks` (N, H, W), `pred_boxes`, `scores`, and `pred_classes`, the class with the
        highest mean probability.
    """
    rows, columns = foreground.nonzero().unbind(dim=1)
    instances = Instances(tuple(foreground.shape))
    masks = foreground.new_zeros(len(segments), *foreground.shape)
    boxes = torch.zeros(len(segments), 4, device=foreground.device)
    for mask, box, segment in zip(masks, boxes, segments, strict=True):
        y, x = rows[segment.pixels], columns[segment.pixels]
        mask[y, x] = True
        box[:] = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
    instances.pred_masks = masks
    instances.pred_boxes = Boxes(boxes)
    instances.scores = torch.tensor([s.score for s in segments], device=foreground.device)
    instances.pred_classes = torch.tensor(
        [classes[:, s.pixels].mean(dim=1).argmax() for s in segments],
        dtype=torch.int64,
        device=foreground.device,
    )
    return instances
