"""Reads the input of `InstanceColoring` from Detectron2's dicts of images."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, PolygonMasks
from torch import Tensor


def image_name(image: dict) -> str:
    """The name of an image, for messages."""
    return str(image.get("file_name", image.get("image_id", "without a name")))


def true_masks(image: dict, device: torch.device) -> Tensor:
    """The ground-truth masks of N instances, (N, H, W) boolean.

    Raises:
        TypeError: `gt_masks` are neither `BitMasks` nor `PolygonMasks`.
    """
    instances = image["instances"]
    if not len(instances):  # an image without annotations has no `gt_masks` at all
        return torch.zeros(0, *instances.image_size, dtype=torch.bool, device=device)
    masks = instances.get("gt_masks") if instances.has("gt_masks") else None
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, *instances.image_size)
    if not isinstance(masks, BitMasks):
        raise TypeError(
            f"image {image_name(image)}: gt_masks is a {type(masks).__name__}; InstanceColoring "
            "needs BitMasks or PolygonMasks."
        )
    return masks.tensor.to(device)
