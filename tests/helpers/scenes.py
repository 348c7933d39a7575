"""Small random and hand-made scenes: ground truth, and what a model found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

NAMES = ("worm", "cell", "dot")


def encode(mask: np.ndarray) -> dict:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def build_truth(images: Sequence[Sequence], classes: int = 1, voids: Sequence = ()) -> COCO:
    """Of (mask, category, crowd) for each image, and a void mask for each image or none."""
    truth = COCO()
    truth.dataset = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1 + c, "name": NAMES[c]} for c in range(classes)],
    }
    for image_id, instances in enumerate(images, start=1):
        height, width = instances[0][0].shape if instances else (12, 15)
        entry = {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
        if len(voids) and voids[image_id - 1] is not None:
            entry["void"] = encode(voids[image_id - 1])
        truth.dataset["images"].append(entry)
        for mask, category, crowd in instances:
            rle = encode(mask)
            truth.dataset["annotations"].append(
                {
                    "id": len(truth.dataset["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "segmentation": rle,
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "area": float(mask_util.area(rle)),
                    "iscrowd": int(crowd),
                }
            )
    truth.createIndex()
    return truth


def build_results(images: Sequence[Sequence]) -> list[dict]:
    """Of (mask, category, score) for each image."""
    return [
        {
            "image_id": image_id,
            "category_id": category,
            "score": score,
            "segmentation": encode(mask),
            "bbox": mask_util.toBbox(encode(mask)).tolist(),
        }
        for image_id, found in enumerate(images, start=1)
        for mask, category, score in found
    ]


def rectangle(top: int, left: int, bottom: int, right: int, size=(12, 15)) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def random_rectangle(rng: np.random.Generator, size=(12, 15)) -> np.ndarray:
    top, left = rng.integers(0, 8, size=2)
    height, width = rng.integers(1, 8, size=2)
    return rectangle(top, left, top + height, left + width, size)


def make_scene(
    seed: int, classes: int = 2, crowd: bool = False, void: bool = False
) -> tuple[COCO, list[dict]]:
    """A random scene: few images, overlapping instances, detections near them and anywhere."""
    rng = np.random.default_rng(seed)
    images, found, voids = [], [], []
    for _ in range(rng.integers(1, 5)):
        instances = [
            (
                random_rectangle(rng),
                int(rng.integers(1, classes + 1)),
                crowd and rng.random() < 0.2,
            )
            for _ in range(rng.integers(0, 5))
        ]
        detections = []
        for mask, category, _ in instances:
            for _ in range(rng.integers(0, 3)):
                near = np.roll(mask, rng.integers(-1, 2, size=2), axis=(0, 1))
                guess = category if rng.random() < 0.8 else int(rng.integers(1, classes + 1))
                detections.append((near, guess, round(float(rng.random()), 1)))
        for _ in range(rng.integers(0, 3)):
            guess = int(rng.integers(1, classes + 1))
            detections.append((random_rectangle(rng), guess, float(rng.random())))
        images.append(instances)
        found.append(detections)
        voids.append(random_rectangle(rng) if void and rng.random() < 0.7 else None)
    return build_truth(images, classes, voids), build_results(found)


LEFT, RIGHT = rectangle(0, 0, 10, 5), rectangle(0, 4, 10, 13)  # which share a column
TRUTH = build_truth([[(LEFT, 1, False), (RIGHT, 1, False)], []])
"""An image with two instances, and one with none."""
RESULTS = build_results([[(LEFT, 1, 0.9), (RIGHT, 1, 0.8)], [(LEFT, 1, 0.1)]])
"""Both, and one that is not there."""
