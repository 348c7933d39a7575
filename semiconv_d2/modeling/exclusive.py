"""Masks of which no two have a pixel in common."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, ROIMasks
from torch import Tensor
from torch.nn import functional as F

from .ground_truth import count_masks

_BLOCK = 16384  # contested pixels that are looked at together, which bounds the memory


class ExclusiveMasks(ROIMasks):
    """Masks of regions that are exclusive once they are pasted into the image: a pixel that several
    instances claim is left to the one that claims it most.

    In the place of `pred_masks` before Detectron2's postprocessing, which pastes them.
    """

    def __init__(self, tensor: Tensor, claims: Tensor):
        """
        Args:
            tensor: probabilities, (R, M, M).
            claims: how much each region claims its cells, (R, M, M), in any unit.
        """
        super().__init__(tensor)
        self.claims = claims

    def to(self, device: torch.device) -> ExclusiveMasks:
        return ExclusiveMasks(self.tensor.to(device), self.claims.to(device))

    def __getitem__(self, item) -> ExclusiveMasks:
        return ExclusiveMasks(super().__getitem__(item).tensor, self.claims[item])

    def to_bitmasks(
        self, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> BitMasks:
        """As in `ROIMasks`; boxes (R,), in pixels of an image of this height and width."""
        masks = super().to_bitmasks(boxes, height, width, threshold).tensor
        # Short of memory, Detectron2 pastes on the CPU.
        boxes, claims = boxes.to(masks.device), self.claims.to(masks.device)
        numbers = torch.arange(len(masks), device=masks.device)[:, None]
        contested = (count_masks(masks) > 1).nonzero()
        for start in range(0, len(contested), _BLOCK):
            y, x = contested[start : start + _BLOCK].unbind(dim=1)
            there = masks[:, y, x]
            rivals = there.any(dim=1).nonzero()[:, 0]
            there, points = there[rivals], torch.stack([x, y], dim=1) + 0.5
            claimed = _sample(claims[rivals], boxes[rivals], points)
            winner = rivals[claimed.masked_fill(~there, -torch.inf).argmax(dim=0)]
            masks[:, y, x] = numbers == winner
        return BitMasks(masks)


def _sample(claims: Tensor, boxes: Boxes, points: Tensor) -> Tensor:
    """Bilinear claims of all regions at points (P, 2) of the image: (R, P)."""
    first, last = boxes.tensor[:, None].split(2, dim=2)
    grid = 2 * (points - first) / (last - first) - 1
    sampled = F.grid_sample(
        claims[:, None].float(), grid[:, None], padding_mode="border", align_corners=False
    )
    return sampled[:, 0, 0]
