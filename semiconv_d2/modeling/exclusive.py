"""Exclusive masks: no two of them have a pixel in common."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, ROIMasks
from torch import Tensor
from torch.nn import functional as F


class ExclusiveMasks(ROIMasks):
    """Masks of regions that become exclusive when they are pasted into the image: where several
    instances claim a pixel, the largest claim wins it.

    They replace `pred_masks` before Detectron2's postprocessing, which pastes them.
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
        # If GPU memory is short, Detectron2 pastes on the CPU.
        boxes, claims = boxes.tensor.to(masks.device), self.claims.to(masks.device).float()
        windows = _windows(boxes, claims.shape[-1], height, width)
        most = torch.full((height, width), -torch.inf, device=masks.device)
        owner = torch.full((height, width), -1, device=masks.device)
        for number, (mask, (x, y)) in enumerate(zip(masks, windows, strict=True)):
            claimed = _sample(claims[number], boxes[number], x, y)
            wins = mask[y, x] & (claimed > most[y, x])
            most[y, x] = torch.where(wins, claimed, most[y, x])
            owner[y, x].masked_fill_(wins, number)
        for number, (mask, (x, y)) in enumerate(zip(masks, windows, strict=True)):
            mask[y, x] &= owner[y, x] == number
        return BitMasks(masks)


def _windows(boxes: Tensor, side: int, height: int, width: int) -> list[tuple[slice, slice]]:
    """Columns and rows of the image that the mask of each box can cover: the box and half a cell
    around it."""
    half = (boxes[:, 2:] - boxes[:, :2]) / (2 * side)
    first = (boxes[:, :2] - half).floor().clamp(min=0).long()
    last = (boxes[:, 2:] + half).ceil().clamp(min=0).long()
    return [
        (slice(min(x0, width), min(x1, width)), slice(min(y0, height), min(y1, height)))
        for (x0, y0), (x1, y1) in zip(first.tolist(), last.tolist(), strict=True)
    ]


def _sample(claims: Tensor, box: Tensor, columns: slice, rows: slice) -> Tensor:
    """Claims (M, M) of the region in a box (4,), interpolated at pixels of the image: (h, w)."""
    x = torch.arange(columns.start, columns.stop, device=box.device) + 0.5
    y = torch.arange(rows.start, rows.stop, device=box.device) + 0.5
    if not (len(x) and len(y)):
        return claims.new_zeros(len(y), len(x))
    width, height = (box[2:] - box[:2]).unbind()
    x, y = 2 * (x - box[0]) / width - 1, 2 * (y - box[1]) / height - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    sampled = F.grid_sample(
        claims[None, None], grid[None], padding_mode="border", align_corners=False
    )
    return sampled[0, 0]
