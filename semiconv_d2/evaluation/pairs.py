"""Detections and instances of each image, and their overlaps.

All measures but COCO's own numbers are computed from these.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from pycocotools.coco import COCO

Overlap = Literal["mask", "box", "boundary", "region"]
"""Kind of overlap; see `pair_images`."""


@dataclass(frozen=True)
class ImagePairs:
    """D detections of one image, best first, and its G instances in the order of their file."""

    scores: np.ndarray
    """(D,) float."""
    classes: np.ndarray
    """(D,) int, category ids."""
    truth_classes: np.ndarray
    """(G,) int, category ids."""
    truth_ids: np.ndarray
    """(G,) int, ids of annotations."""
    crowd: np.ndarray
    """(G,) bool."""
    areas: np.ndarray
    """(D,) float: pixels of the mask; of the box if the overlap is "box"."""
    truth_areas: np.ndarray
    """(G,) float: "area" of the annotations."""
    iou: np.ndarray
    """(D, G) float: overlap. With a crowd region: the share of the detection inside it."""

    def of_class(self, category: int) -> ImagePairs:
        """The detections and instances of one class."""
        detections = self.classes == category
        instances = self.truth_classes == category
        return self.choose(detections, instances)

    def choose(self, detections: np.ndarray, instances: np.ndarray) -> ImagePairs:
        """Some of the detections and instances, chosen by indices or boolean masks."""
        return replace(
            self,
            scores=self.scores[detections],
            classes=self.classes[detections],
            truth_classes=self.truth_classes[instances],
            truth_ids=self.truth_ids[instances],
            crowd=self.crowd[instances],
            areas=self.areas[detections],
            truth_areas=self.truth_areas[instances],
            iou=self.iou[detections][:, instances],
        )


def pair_images(
    truth: COCO,
    detections: Sequence[dict],
    overlap: Overlap,
    max_detections: int | None = None,
) -> list[ImagePairs]:
    """The detections and instances of each image, in the order of image ids.

    Args:
        truth: ground truth.
        detections: COCO results with masks as RLE; for the overlap "box", with boxes.
        overlap: kind of intersection over union. "mask": of masks. "box": of boxes. "boundary": the
            smaller of the values for masks and for their boundaries (Cheng et al., CVPR 2021).
            "region": of masks without void pixels and crowd regions.
        max_detections: number of detections per image and class, the best ones; by default all.
    """
    by_image = defaultdict(list)
    for detection in detections:
        by_image[detection["image_id"]].append(detection)
    pairs = []
    for image_id in sorted(truth.imgs):
        instances = truth.imgToAnns.get(image_id, [])
        found = _best(by_image[image_id], max_detections)
        crowd = np.array([a.get("iscrowd", 0) for a in instances], dtype=bool)
        kept_detections, kept_instances = np.ones(len(found), dtype=bool), np.ones_like(crowd)
        if overlap == "box":
            boxes = np.array([d["bbox"] for d in found], dtype=float).reshape(-1, 4)
            true_boxes = np.array([a["bbox"] for a in instances], dtype=float).reshape(-1, 4)
            areas = boxes[:, 2] * boxes[:, 3]
            iou = _measure_overlap(boxes, true_boxes, crowd)
        else:
            masks = [d["segmentation"] for d in found]
            truths = [truth.annToRLE(a) for a in instances]
            areas = _areas(masks)
            if overlap == "region":
                masks = _without_void(masks, truths, crowd, truth.imgs[image_id].get("void"))
                kept_detections = (_areas(masks) > 0) | (areas == 0)
                kept_instances = ~crowd
            iou = _measure_overlap(masks, truths, crowd)
            if overlap == "boundary":
                borders, true_borders = (list(map(boundary, each)) for each in (masks, truths))
                iou_of_borders = _measure_overlap(borders, true_borders, crowd)
                iou = np.where(crowd, iou, np.minimum(iou, iou_of_borders))
        every = ImagePairs(
            np.array([d["score"] for d in found], dtype=float),
            np.array([d["category_id"] for d in found], dtype=int),
            np.array([a["category_id"] for a in instances], dtype=int),
            np.array([a["id"] for a in instances], dtype=int),
            crowd,
            areas,
            np.array([a["area"] for a in instances], dtype=float),
            iou,
        )
        pairs.append(every.choose(kept_detections, kept_instances))
    return pairs


def _best(found: list[dict], max_detections: int | None) -> list[dict]:
    """Detections by falling score, at most `max_detections` of each class."""
    number: Counter[int] = Counter()
    best = []
    for detection in sorted(found, key=lambda d: -d["score"]):
        number[detection["category_id"]] += 1
        if max_detections is None or number[detection["category_id"]] <= max_detections:
            best.append(detection)
    return best


def _areas(masks: Sequence[dict]) -> np.ndarray:
    """Areas of RLEs in pixels, (D,) float. pycocotools would take at most 255 at a time."""
    from pycocotools import mask as mask_util

    return np.array([mask_util.area(mask) for mask in masks], dtype=float)


def _measure_overlap(
    found: Sequence[dict] | np.ndarray, truths: Sequence[dict] | np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """pycocotools' intersection over union of RLEs or boxes, (D, G)."""
    from pycocotools import mask as mask_util

    if not len(found) or not len(truths):
        return np.zeros((len(found), len(truths)))
    return np.asarray(mask_util.iou(found, truths, crowd.astype(int).tolist()))


def _without_void(
    masks: list[dict], truths: list[dict], crowd: np.ndarray, void: dict | None
) -> list[dict]:
    """The masks of detections without void and crowd pixels that belong to no instance. All are
    RLEs."""
    from pycocotools import mask as mask_util

    outside = [t for t, c in zip(truths, crowd, strict=True) if c]
    outside += [void] if void is not None else []
    if not outside or not masks:
        return masks
    taken_out = mask_util.decode(mask_util.merge(outside)) > 0
    for t, c in zip(truths, crowd, strict=True):
        if not c:
            taken_out &= mask_util.decode(t) == 0
    return [
        mask_util.encode(np.asfortranarray(mask_util.decode(mask) * ~taken_out)) for mask in masks
    ]


def boundary(rle: dict, share: float = 0.02) -> dict:
    """The pixels of a mask that lie near its border, as RLE.

    Args:
        rle: the mask.
        share: largest distance from the outside, in rows or columns, as a share of the image's
            diagonal; at least one pixel.
    """
    from faster_coco_eval.core import mask as fast_mask

    return fast_mask.rleToBoundary(rle, share)
