"""Ground-truth masks as the losses want them: cropped once, and with shared pixels known.

Shapes: N instances of an image, R regions, M side of a region's grid.
"""

from __future__ import annotations

import numpy as np
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import convert_boxes_to_pooler_format
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask
from torch import Tensor

_BYTE = 255  # the largest number that it holds
_REACH = 2  # pixels beyond a box that bilinear samples inside it may look at, and one to spare


class CroppedMasks:
    """Masks that are cropped already, in the place of `gt_masks`: passes through a stock loss."""

    def __init__(self, crops: Tensor):
        """`crops`: (R, M, M), boolean."""
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops)

    def crop_and_resize(self, boxes: Tensor, side: int) -> Tensor:
        """The crops, whose boxes and side must be those that they were made for."""
        if (len(boxes), side) != (len(self.crops), self.crops.shape[-1]):
            raise ValueError(
                f"{len(boxes)} masks of side {side} were asked for; "
                f"{len(self.crops)} of side {self.crops.shape[-1]} are there."
            )
        return self.crops


def crop_masks(instances: list[Instances], boxes: list[Boxes], side: int) -> list[Tensor]:
    """Crops of `gt_masks` to boxes, (R_i, M, M) boolean for each image.

    An image without annotations has no `gt_masks` at all.
    """
    return [
        _crop(x.gt_masks, b.tensor, side).to(b.device)
        if len(x)
        else torch.zeros(0, side, side, dtype=torch.bool, device=b.device)
        for x, b in zip(instances, boxes, strict=True)
    ]


def _crop(masks: BitMasks | PolygonMasks, boxes: Tensor, side: int) -> Tensor:
    """As `masks.crop_and_resize`. On the CPU bit masks are first cut to windows around the boxes:
    Detectron2 turns whole images into floats, which takes ten times as long and hundreds of
    mebibytes. Pixels that are half covered may be rounded to the other side."""
    if not isinstance(masks, BitMasks) or masks.device.type != "cpu":
        return masks.crop_and_resize(boxes, side)
    height, width = masks.image_size
    limit = torch.tensor([width, height])
    first = (boxes[:, :2].floor().long() - _REACH).clamp(min=0).minimum(limit - 1)
    last = (boxes[:, 2:].ceil().long() + _REACH).clamp(min=1).minimum(limit)
    shifted = torch.cat([torch.zeros(len(boxes), 1), boxes - first.repeat(1, 2)], dim=1)
    pool = ROIAlign((side, side), spatial_scale=1.0, sampling_ratio=0, aligned=True)
    crops = torch.empty(len(boxes), side, side, dtype=torch.bool)
    for mask, box, (x0, y0), (x1, y1), crop in zip(
        masks.tensor, shifted, first.tolist(), last.tolist(), crops, strict=True
    ):
        window = mask[y0:y1, x0:x1].float()
        crop[:] = pool(window[None, None], box[None])[0, 0] >= 0.5
    return crops


def coverage_maps(targets: list[Instances]) -> Tensor:
    """Where an image has instances, and where it has several.

    Returns:
        (B, 2, H, W) float32 of 0 and 1, padded to the largest image: pixels of at least one
        instance, and pixels of two and more.
    """
    counts = [_count(x) for x in targets]
    height = max(c.shape[0] for c in counts)
    width = max(c.shape[1] for c in counts)
    maps = counts[0].new_zeros(len(counts), 2, height, width, dtype=torch.float32)
    for image_map, count in zip(maps, counts, strict=True):
        h, w = count.shape
        image_map[0, :h, :w] = count >= 1
        image_map[1, :h, :w] = count >= 2
    return maps


def crop_coverage(maps: Tensor, boxes: list[Boxes], side: int) -> tuple[Tensor, Tensor]:
    """Crops of `coverage_maps`, sampled as Detectron2 samples bit masks.

    Returns:
        covered, shared: (R, M, M) boolean.
    """
    pool = ROIAlign((side, side), spatial_scale=1.0, sampling_ratio=0, aligned=True)
    covered, shared = (pool(maps, convert_boxes_to_pooler_format(boxes)) >= 0.5).unbind(dim=1)
    return covered, shared


def _count(targets: Instances) -> Tensor:
    """How many instances cover each pixel, (H, W): 0, 1, or 2 and more."""
    height, width = targets.image_size
    device = targets.gt_boxes.device
    if not len(targets):
        return torch.zeros(height, width, device=device)
    masks = targets.gt_masks
    if isinstance(masks, BitMasks):
        return _count_bits(masks.tensor)
    if isinstance(masks, PolygonMasks):
        return torch.from_numpy(_count_polygons(masks, height, width)).to(device)
    raise TypeError(
        f"gt_masks is a {type(masks).__name__}; SemiConv needs BitMasks or PolygonMasks to find "
        "the pixels that instances share. Set MODEL.SEMICONV.SHARED_PIXELS to 'count' and "
        "KERNEL_PIXELS to 'region' to train without."
    )


def _count_bits(masks: Tensor) -> Tensor:
    """How many of the masks, (N, H, W) boolean, cover each pixel, up to 2 in each 255 of them.

    In bytes, which is 60 times as fast as a sum of booleans."""
    parts = [
        part.view(torch.uint8).sum(dim=0, dtype=torch.uint8).clamp(max=2)
        for part in masks.split(_BYTE)
    ]
    return torch.stack(parts).sum(dim=0)


def _count_polygons(masks: PolygonMasks, height: int, width: int) -> np.ndarray:
    """Rasterises each instance within its own box only, which is most of the cost saved."""
    count = np.zeros((height, width), dtype=np.int32)
    # An instance without polygons has a box at infinity.
    boxes = masks.get_bounding_boxes().tensor.numpy().clip(-1, max(height, width) + 1)
    lower = np.maximum(np.floor(boxes[:, :2]).astype(int) - 1, 0)
    upper = np.minimum(np.ceil(boxes[:, 2:]).astype(int) + 1, (width, height))
    for polygons, (x0, y0), (x1, y1) in zip(masks.polygons, lower, upper, strict=True):
        if x1 > x0 and y1 > y0:
            shifted = [p - np.tile((x0, y0), len(p) // 2) for p in polygons]
            count[y0:y1, x0:x1] += polygons_to_bitmask(shifted, y1 - y0, x1 - x0)
    return count
