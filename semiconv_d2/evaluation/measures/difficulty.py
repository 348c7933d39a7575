"""Sorts instances by what makes them difficult: contact with neighbours, and a long, thin shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...data.geometry import CONTACT, ELONGATION, Bins, contact, elongation
from ..pairs import ImagePairs

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def measure_instances(truth: COCO) -> dict[str, dict[int, float]]:
    """Contact and elongation of each instance, by the id of its annotation.

    Crowd regions and empty masks are left out.
    """
    from pycocotools import mask as mask_util

    values: dict[str, dict[int, float]] = {CONTACT.name: {}, ELONGATION.name: {}}
    for instances in truth.imgToAnns.values():
        single = [a for a in instances if not a.get("iscrowd", 0)]
        masks = [mask_util.decode(truth.annToRLE(a)) > 0 for a in single]
        for annotation, mask, touching in zip(single, masks, contact(masks), strict=True):
            if mask.any():
                values[CONTACT.name][annotation["id"]] = float(touching)
                values[ELONGATION.name][annotation["id"]] = elongation(mask)
    return values


def choose_bin(
    pairs: Sequence[ImagePairs], bins: Bins, values: dict[int, float], chosen: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The instances (G,) of a bin, and the detections (D,) that belong to the bin, for each image.

    A detection belongs to the instance of its class that it overlaps most. A detection that
    overlaps no instance belongs to no bin: it tells nothing about the difficulty of instances.
    """
    choice = []
    for image in pairs:
        known = np.array([values.get(i, np.nan) for i in image.truth_ids.tolist()])
        inside = ~np.isnan(known) & ~image.crowd & (bins.of(known) == chosen)
        same = (image.classes[:, None] == image.truth_classes[None]) & ~image.crowd
        overlap = np.where(same, image.iou, 0)
        if overlap.size:
            nearest = overlap.argmax(axis=1)
            belongs = inside[nearest] & (overlap.max(axis=1) > 0)
        else:
            belongs = np.zeros(len(image.scores), dtype=bool)
        choice.append((inside, belongs))
    return choice
