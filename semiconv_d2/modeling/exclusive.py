"""Masks of which no two have a pixel in common."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, ROIMasks
from torch import Tensor
from torch.nn import functional as F


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
        y, x = (masks.sum(dim=0) > 1).nonzero(as_tuple=True)
        if len(y):
            claimed = masks[:, y, x]
            claims = self._claims_at(boxes, torch.stack([x, y], dim=1) + 0.5)
            winner = claims.masked_fill(~claimed, -torch.inf).argmax(dim=0)
            masks[:, y, x] = F.one_hot(winner, len(masks)).T.bool()
        return BitMasks(masks)

    def _claims_at(self, boxes: Boxes, points: Tensor) -> Tensor:
        """Bilinear claims of all regions at points (P, 2) of the image: (R, P)."""
        first, last = boxes.tensor[:, None].split(2, dim=2)
        grid = 2 * (points - first) / (last - first) - 1
        sampled = F.grid_sample(
            self.claims[:, None].float(), grid[:, None], padding_mode="border", align_corners=False
        )
        return sampled[:, 0, 0]
