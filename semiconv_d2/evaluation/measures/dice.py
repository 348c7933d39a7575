"""The measures of the Leaf Segmentation Challenge: best Dice, difference in count, and foreground
Dice (Minervini et al., Pattern Recognition Letters 81, 2016).

They compare sets of instances without scores, so detections below a score do not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..pairs import ImagePairs

if TYPE_CHECKING:
    from pycocotools.coco import COCO


NAMES = ("SBD", "FBD", "|DiC|", "DiC")


def image_scores(
    truth: COCO, results: Sequence[dict], pairs: Sequence[ImagePairs], score: float
) -> np.ndarray:
    """The measures `NAMES` of each image, (I, 4): SBD and FBD in percent.

    Args:
        pairs: pairs of all images, with the overlap "region".
        score: the smallest score of detections that count.
    """
    found = defaultdict(list)
    for result in results:
        if result["score"] >= score:
            found[result["image_id"]].append(result["segmentation"])
    rows = []
    for image_id, image in zip(sorted(truth.imgs), pairs, strict=True):
        instances = [a for a in truth.imgToAnns.get(image_id, []) if not a.get("iscrowd", 0)]
        sbd = symmetric_best_dice(image, score)
        fbd = foreground_dice([*map(truth.annToRLE, instances)], found[image_id])
        difference = count_difference(image, score)
        rows.append((100 * sbd, 100 * fbd, abs(difference), difference))
    return np.array(rows, dtype=float).reshape(-1, len(NAMES))


def symmetric_best_dice(pairs: ImagePairs, score: float) -> float:
    """SBD of an image in [0, 1]: the best Dice of each instance, averaged over instances; or that
    of each detection, averaged over detections; whichever is smaller. It is 1 if there are no
    instances and no detections.

    Args:
        pairs: pairs of the image, with the overlap "region".
        score: the smallest score of detections that count.
    """
    same = pairs.classes[:, None] == pairs.truth_classes[None]
    iou = np.where(same, pairs.iou, 0.0)[pairs.scores >= score]
    if not iou.size:
        return float(iou.shape == (0, 0))
    dice = 2 * iou / (1 + iou)
    return float(min(dice.max(axis=0).mean(), dice.max(axis=1).mean()))


def count_difference(pairs: ImagePairs, score: float) -> int:
    """DiC of an image: the number of detections minus the number of instances. Arguments as in
    `symmetric_best_dice`."""
    return int((pairs.scores >= score).sum()) - len(pairs.truth_ids)


def foreground_dice(truths: Sequence[dict], found: Sequence[dict]) -> float:
    """Dice of the union of all instances and that of all detections, in [0, 1]; 1 if both are
    empty.

    Args:
        truths, found: masks of an image as RLE.
    """
    from pycocotools import mask as mask_util

    areas = [float(mask_util.area(mask_util.merge(list(m)))) if m else 0.0 for m in (truths, found)]
    if not all(areas):
        return float(not any(areas))
    union = float(mask_util.area(mask_util.merge([*truths, *found])))
    both = sum(areas) - union
    return 2 * both / sum(areas)
