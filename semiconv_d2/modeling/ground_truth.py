"""Ground-truth masks for the losses: cropped once, and with the pixels that instances share.

Shapes: N instances of an image, R regions, M side of a region's grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.layers import ROIAlign
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask
from torch import Tensor

from ..data.coco.segmentations import bound_outline
from .regions import index_boxes

_BYTE = 255  # the largest number in a byte
_PIXELS_AT_ONCE = 2**25  # of masks in float32: 128 MiB
_REACH = 2  # bilinear samples in a box read one pixel beyond it; one more to spare


class CroppedMasks:
    """Masks that are already cropped. They can replace `gt_masks` in Detectron2's mask loss."""

    def __init__(self, crops: Tensor):
        """`crops`: (R, M, M), boolean."""
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops)

    def crop_and_resize(self, boxes: Tensor, side: int) -> Tensor:
        """The crops. Boxes and side must be those that the crops were made for."""
        if (len(boxes), side) != (len(self.crops), self.crops.shape[-1]):
            raise ValueError(
                f"crop_and_resize was called for {len(boxes)} masks of side {side}; there are "
                f"{len(self.crops)} crops of side {self.crops.shape[-1]}."
            )
        return self.crops


def crop_masks(instances: Sequence[Instances], boxes: Sequence[Boxes], side: int) -> list[Tensor]:
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
    """The same crops as Detectron2's. Only pixels that a bit mask covers by half may be rounded the
    other way on the CPU."""
    if not isinstance(masks, BitMasks):
        return masks.crop_and_resize(boxes, side)
    crop = _crop_windows if masks.device.type == "cpu" else _crop_parts
    return crop(masks, boxes, side) >= 0.5


def _crop_windows(masks: BitMasks, boxes: Tensor, side: int) -> Tensor:
    """First cuts masks to windows around the boxes. Detectron2 converts the masks of whole images
    to floats, which takes ten times as long and hundreds of mebibytes."""
    height, width = masks.image_size
    limit = torch.tensor([width, height])
    first = (boxes[:, :2].floor().long() - _REACH).clamp(min=0).minimum(limit - 1)
    last = (boxes[:, 2:].ceil().long() + _REACH).clamp(min=1).minimum(limit)
    shifted = torch.cat([torch.zeros(len(boxes), 1), boxes - first.repeat(1, 2)], dim=1)
    pool = _bit_pool(side)
    crops = torch.empty(len(boxes), side, side)
    for mask, box, (x0, y0), (x1, y1), crop in zip(
        masks.tensor, shifted, first.tolist(), last.tolist(), crops, strict=True
    ):
        crop[:] = pool(mask[None, None, y0:y1, x0:x1].float(), box[None])[0, 0]
    return crops


def _crop_parts(masks: BitMasks, boxes: Tensor, side: int) -> Tensor:
    """Crops a few masks at a time. Detectron2 converts all masks to floats at once, which is the
    peak of memory of a training step."""
    height, width = masks.image_size
    parts = masks.tensor.split(max(1, _PIXELS_AT_ONCE // (height * width)))
    number = torch.arange(len(parts[0]), device=boxes.device, dtype=boxes.dtype)[:, None]
    pool, crops, first = _bit_pool(side), [], 0
    for part in parts:
        own = boxes[first : first + len(part)]
        regions = torch.cat([number[: len(part)], own], dim=1)
        crops.append(pool(part[:, None].float(), regions)[:, 0])
        first += len(part)
    return torch.cat(crops)


def _bit_pool(side: int) -> ROIAlign:
    """The pooler with which Detectron2 samples bit masks."""
    return ROIAlign((side, side), spatial_scale=1.0, sampling_ratio=0, aligned=True)


def shared_pixels(targets: Sequence[Instances]) -> Tensor:
    """Pixels that belong to two or more instances of an image: (B, 1, H, W) float32 of 0 and 1,
    padded to the largest image."""
    counts = [_count(x) for x in targets]
    height = max(c.shape[0] for c in counts)
    width = max(c.shape[1] for c in counts)
    maps = counts[0].new_zeros(len(counts), 1, height, width, dtype=torch.float32)
    for image_map, count in zip(maps, counts, strict=True):
        h, w = count.shape
        image_map[0, :h, :w] = count >= 2
    return maps


def crop_shared(maps: Tensor, boxes: Sequence[Boxes], side: int) -> Tensor:
    """Crops of `shared_pixels`, sampled as Detectron2 samples bit masks: (R, M, M) boolean."""
    return _bit_pool(side)(maps, index_boxes(boxes))[:, 0] >= 0.5


def leave_out_shared(own: Tensor, shared: Tensor) -> Tensor:
    """Own pixels that no other instance has. If an instance has no such pixel, all of its pixels:
    a tie on a person lies within the person, and must still be told from it.

    Args:
        own: pixels of the instance, (R, M, M) boolean.
        shared: pixels of several instances, (R, M, M) boolean.
    """
    alone = own & ~shared
    return torch.where(alone.flatten(1).any(dim=1)[:, None, None], alone, own)


def _count(targets: Instances) -> Tensor:
    """How many instances cover each pixel, (H, W): 0, 1, or 2 and more."""
    height, width = targets.image_size
    device = targets.gt_boxes.device
    if not len(targets):
        return torch.zeros(height, width, device=device)
    masks = targets.gt_masks
    if isinstance(masks, BitMasks):
        return count_masks(masks.tensor)
    if isinstance(masks, PolygonMasks):
        return torch.from_numpy(_count_polygons(masks, height, width)).to(device)
    raise TypeError(
        f"gt_masks is a {type(masks).__name__}; SemiConv needs BitMasks or PolygonMasks to find "
        "the pixels that instances share: set INPUT.MASK_FORMAT to 'bitmask' or 'polygon'."
    )


def count_masks(masks: Tensor) -> Tensor:
    """How many of the masks, (N, H, W) boolean, cover each pixel: 0, 1, or 2 and more.

    Of each 255 masks at most 2 are counted, in bytes: 60 times as fast as a sum of booleans."""
    parts = [
        part.view(torch.uint8).sum(dim=0, dtype=torch.uint8).clamp(max=2)
        for part in masks.split(_BYTE)
    ]
    return torch.stack(parts).sum(dim=0)


def _count_polygons(masks: PolygonMasks, height: int, width: int) -> np.ndarray:
    """Counts as `count_masks` does. Rasterises each instance within its own box only, which saves
    most of the cost."""
    count = np.zeros((height, width), dtype=np.int32)
    # An instance without polygons has a box at infinity.
    boxes = masks.get_bounding_boxes().tensor.numpy().clip(-1, max(height, width) + 1)
    lower = np.maximum(np.floor(boxes[:, :2]).astype(int) - 1, 0)
    upper = np.minimum(np.ceil(boxes[:, 2:]).astype(int) + 1, (width, height))
    for polygons, (x0, y0), (x1, y1) in zip(masks.polygons, lower, upper, strict=True):
        if x1 > x0 and y1 > y0:
            window = (int(y1 - y0), int(x1 - x0))
            shifted = [bound_outline(p.reshape(-1, 2) - (x0, y0), window).ravel() for p in polygons]
            inside = [p for p in shifted if len(p)]
            count[y0:y1, x0:x1] += polygons_to_bitmask(inside, *window)
    return count
