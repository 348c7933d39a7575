"""Reads Detectron2's dataset dicts into arrays."""

import numpy as np
from detectron2.structures.masks import polygons_to_bitmask
from pycocotools import mask as mask_util


def record_masks(record: dict) -> np.ndarray:
    """Masks of the annotations of an image, (N, H, W) boolean, without crowd regions."""
    height, width = record["height"], record["width"]
    segmentations = [a["segmentation"] for a in record["annotations"] if not a.get("iscrowd", 0)]
    masks = [
        polygons_to_bitmask(s, height, width) if isinstance(s, list) else mask_util.decode(s)
        for s in segmentations
    ]
    return np.array(masks, dtype=bool).reshape(-1, height, width)
