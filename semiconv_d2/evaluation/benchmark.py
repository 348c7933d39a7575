"""How long evaluation takes, and what faster-coco-eval saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .coco import coco_values
from .measures import MEASURES, Detections, Threshold

if TYPE_CHECKING:
    from pycocotools.coco import COCO


class LibraryTime(NamedTuple):
    """Seconds of both libraries for the same numbers, medians over the repetitions."""

    overlap: str
    pycocotools: float
    faster_coco_eval: float
    difference: float
    """Largest one between two of their numbers, in points."""


def time_libraries(truth: COCO, results: Sequence[dict], repeats: int = 3) -> list[LibraryTime]:
    """Mask and box AP by both libraries, by turns."""
    times = []
    for overlap in ("mask", "box"):
        seconds: dict[bool, list[float]] = {False: [], True: []}
        values = {}
        for _ in range(repeats):
            for fast in seconds:
                action = partial(coco_values, truth, results, overlap, fast=fast)
                taken, values[fast] = _time(action)
                seconds[fast].append(taken)
        plain, fast = (np.array(list(values[f].values())) for f in (False, True))
        times.append(
            LibraryTime(
                overlap,
                *(statistics.median(seconds[f]) for f in (False, True)),
                float(np.nanmax(np.abs(plain - fast), initial=0)),
            )
        )
    return times


def time_measures(truth: COCO, results: Sequence[dict]) -> dict[str, float]:
    """Seconds of each measure by itself, once."""
    return {
        name: _time(partial(measure, Detections(truth, results, Threshold(0.5, "given"))))[0]
        for name, measure in MEASURES.items()
    }


def draw_scene(images: int, seed: int = 0) -> tuple[COCO, list[dict]]:
    """Ground truth and results of the size of COCO's val2017: 80 classes, images of 480 × 640, on
    average 7 ellipses to find and 15 detections, two of three of them near one of these."""
    from pycocotools import mask as mask_util
    from pycocotools.coco import COCO
    from tqdm import tqdm

    rng = np.random.default_rng(seed)
    size, classes = (480, 640), 80
    truth = COCO()
    truth.dataset = {
        "images": [],
        "annotations": [],
        "categories": [{"id": c + 1, "name": f"class {c + 1}"} for c in range(classes)],
    }
    results = []
    for image_id in tqdm(range(1, images + 1), desc="images", unit="image", leave=False):
        truth.dataset["images"].append({"id": image_id, "height": size[0], "width": size[1]})
        drawn = [
            (
                rng.uniform(0, 1, 2) * size,
                np.exp(rng.uniform(2, 4.5, 2)),
                int(rng.integers(classes)),
            )
            for _ in range(rng.poisson(7))
        ]
        for centre, radii, category in drawn:
            rle = _ellipse(centre, radii, size)
            truth.dataset["annotations"].append(
                {
                    "id": len(truth.dataset["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": category + 1,
                    "segmentation": rle,
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "area": float(mask_util.area(rle)),
                    "iscrowd": 0,
                }
            )
        for _ in range(rng.poisson(15)):
            if drawn and rng.random() < 2 / 3:
                centre, radii, category = drawn[rng.integers(len(drawn))]
                centre, radii = centre + rng.normal(0, 4, 2), radii * rng.uniform(0.8, 1.2, 2)
            else:
                centre, radii = rng.uniform(0, 1, 2) * size, np.exp(rng.uniform(2, 4.5, 2))
                category = int(rng.integers(classes))
            rle = _ellipse(centre, radii, size)
            results.append(
                {
                    "image_id": image_id,
                    "category_id": category + 1,
                    "score": float(rng.random()),
                    "segmentation": rle,
                    "bbox": mask_util.toBbox(rle).tolist(),
                }
            )
    truth.createIndex()
    return truth, results


def _ellipse(centre: np.ndarray, radii: np.ndarray, size: tuple[int, int]) -> dict:
    """RLE of the pixels in an ellipse: centre and radii are (y, x) in pixels."""
    from pycocotools import mask as mask_util

    y, x = np.ogrid[: size[0], : size[1]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    return mask_util.encode(np.asfortranarray(inside, dtype=np.uint8))


def _time(action: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result
