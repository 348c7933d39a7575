"""Masks of regions that are larger than the boxes.

A predicted box often cuts the ends of its instance off. A mask that is predicted in a larger
region still has them. A margin is a part of the width and the height of the box, on each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks
from torch import Tensor

from ...data.mask_windows import MaskWindow
from .pasting import paste_windows

WIDE_MASKS = "wide_masks"
"""Field for masks of regions with a margin, (R, 1, M, M), beside the `pred_masks` of the boxes."""


def widen(boxes: Boxes, margin: float) -> Boxes:
    """Boxes with a margin around them. They can reach out of the image.

    Example:
        >>> widen(Boxes(torch.tensor([[10.0, 0.0, 30.0, 50.0]])), 0.1).tensor
        tensor([[ 8., -5., 32., 55.]])
    """
    corners = boxes.tensor
    reach = margin * (corners[:, 2:] - corners[:, :2])
    return Boxes(torch.cat([corners[:, :2] - reach, corners[:, 2:] + reach], dim=1))


@contextmanager
def wide_boxes(instances: Sequence[Instances], margin: float) -> Iterator[None]:
    """Within it, the `proposal_boxes` and `pred_boxes` of instances have a margin."""
    names = ("proposal_boxes", "pred_boxes")
    boxes = [(x, name, x.get(name)) for x in instances for name in names if x.has(name)]
    for x, name, own in boxes:
        x.set(name, widen(own, margin))
    try:
        yield
    finally:
        for x, name, own in boxes:
            x.set(name, own)


def cut_margin(masks: Tensor, margin: float) -> Tensor:
    """Masks of boxes from the masks of regions with a margin, interpolated: both (R, C, M, M)."""
    cells = torch.arange(masks.shape[-1], device=masks.device)
    middle = (len(cells) - 1) / 2
    places = middle + (cells - middle) / (1 + 2 * margin)  # of the box's cells in the region
    weights = (1 - (places[:, None] - cells).abs()).clamp(min=0).to(masks)
    return weights @ masks @ weights.T


def region_masks(found: Instances) -> Tensor:
    """Probabilities, (R, M, M), in the regions of detections, with the margin if there is one."""
    masks = found.pred_masks
    if isinstance(masks, ROIMasks):
        return masks.tensor
    return found.get(WIDE_MASKS if found.has(WIDE_MASKS) else "pred_masks")[:, 0]


class WideMasks(ROIMasks):
    """Masks of regions with a margin around the boxes.

    They replace `pred_masks` before Detectron2's postprocessing, which pastes them.
    """

    def __init__(self, tensor: Tensor, margin: float = 0.0):
        """`tensor`: probabilities, (R, M, M)."""
        super().__init__(tensor)
        self.margin = margin

    def to(self, device: torch.device) -> WideMasks:
        return WideMasks(self.tensor.to(device), self.margin)

    def __getitem__(self, item) -> WideMasks:
        return WideMasks(super().__getitem__(item).tensor, self.margin)

    def to_bitmasks(
        self, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """As in `ROIMasks`; boxes (R,) without a margin, in pixels of an image of this size."""
        return super().to_bitmasks(widen(boxes, self.margin), height, width, threshold)

    def to_windows(
        self, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> list[MaskWindow]:
        """The masks of `to_bitmasks` on the CPU, as windows of the image."""
        regions = widen(boxes, self.margin).tensor
        return paste_windows(self.tensor, regions, (height, width), threshold)
