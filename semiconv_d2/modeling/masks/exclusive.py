"""Exclusive masks: no two of them have a pixel in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.structures import BitMasks, Boxes, ROIMasks
from torch import Tensor
from torch.nn import functional as F

from ...data.mask_windows import MaskWindow
from .pasting import paste_windows


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
        places = _reach(boxes.tensor, self.claims.shape[-1], height, width)
        own = [mask[rows, columns] for mask, (rows, columns) in zip(masks, places, strict=True)]
        self._share_out(own, places, boxes, (height, width))
        return BitMasks(masks)

    def to_windows(
        self, boxes: Boxes, height: int, width: int, threshold: float = 0.5
    ) -> list[MaskWindow]:
        """The masks of `to_bitmasks` on the CPU, as windows of the image."""
        windows = paste_windows(self.tensor, boxes.tensor, (height, width), threshold)
        own = [torch.from_numpy(window.pixels) for window in windows]  # they share their memory
        self._share_out(own, [w.slices for w in windows], boxes, (height, width))
        return [MaskWindow.of(w.pixels, w.top, w.left) for w in windows]

    def _share_out(
        self,
        masks: Sequence[Tensor],
        places: Sequence[tuple[slice, slice]],
        boxes: Boxes,
        size: tuple[int, int],
    ) -> None:
        """Takes from masks, in place, the pixels that another instance wins.

        Args:
            masks: R masks, (h, w) bool, each of a part of the image that has all its pixels.
            places: rows and columns of these parts in the image.
        """
        # If GPU memory is short, Detectron2 pastes on the CPU.
        device = masks[0].device if masks else "cpu"
        corners, claims = boxes.tensor.to(device), self.claims.to(device).float()
        most = torch.full(size, -torch.inf, device=device)
        owner = torch.full(size, -1, device=device)
        for number, (mask, place) in enumerate(zip(masks, places, strict=True)):
            claimed = _sample(claims[number], corners[number], *place)
            wins = mask & (claimed > most[place])
            most[place] = torch.where(wins, claimed, most[place])
            owner[place].masked_fill_(wins, number)
        for number, (mask, place) in enumerate(zip(masks, places, strict=True)):
            mask &= owner[place] == number


def _reach(boxes: Tensor, side: int, height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the image that the mask of each box can cover: the box and half a cell
    around it."""
    half = (boxes[:, 2:] - boxes[:, :2]) / (2 * side)
    first = (boxes[:, :2] - half).floor().clamp(min=0).long()
    last = (boxes[:, 2:] + half).ceil().clamp(min=0).long()
    return [
        (slice(min(y0, height), min(y1, height)), slice(min(x0, width), min(x1, width)))
        for (x0, y0), (x1, y1) in zip(first.tolist(), last.tolist(), strict=True)
    ]


def _sample(claims: Tensor, box: Tensor, rows: slice, columns: slice) -> Tensor:
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
