"""Measures the time of the evaluation, and how much faster-coco-eval saves."""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from semiconv_d2.evaluation.measures import MEASURES, Detections, Threshold
from semiconv_d2.evaluation.measures.coco import coco_values

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def time_evaluation(truth: COCO, results: Sequence[dict], repeats: int = 3) -> dict:
    """Measures the seconds of COCO's AP by both libraries, in turn, and of each measure once.

    Returns: the content of a JSON file, for `format_times`.
    """
    return {
        "images": len(truth.imgs),
        "instances": len(truth.anns),
        "detections": len(results),
        "libraries": {o: _time_libraries(truth, results, o, repeats) for o in ("mask", "box")},
        "measures": {
            name: _time(partial(measure, Detections(truth, results, Threshold(0.5, "given"))))[0]
            for name, measure in MEASURES.items()
        },
    }


def format_times(times: dict) -> str:
    """The times as tables of text."""
    heading = "{images:,} images, {instances:,} instances, {detections:,} detections".format(
        **times
    )
    libraries = tabulate(
        [
            (f"{overlap} AP", t["pycocotools"], t["faster_coco_eval"], t["ratio"], t["difference"])
            for overlap, t in times["libraries"].items()
        ],
        headers=("seconds", "pycocotools", "faster-coco-eval", "ratio", "largest difference, AP"),
        floatfmt=("", ".2f", ".2f", ".1f", ".0e"),
    )
    measures = tabulate(
        [("seconds", *times["measures"].values())],
        headers=("measure", *times["measures"]),
        floatfmt=".2f",
    )
    return f"{heading}\n\n{libraries}\n\n{measures}"


def _time_libraries(truth: COCO, results: Sequence[dict], overlap: str, repeats: int) -> dict:
    """Median seconds, the median of their ratios, and the largest difference between the values."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    values = {}
    for _ in range(repeats):
        for fast, taken in seconds.items():
            action = partial(coco_values, truth, results, overlap, fast=fast)
            second, values[fast] = _time(action)
            taken.append(second)
    plain, fast = (
        np.array([value for part in values[f] for value in part.values()]) for f in (False, True)
    )
    return {
        "pycocotools": statistics.median(seconds[False]),
        "faster_coco_eval": statistics.median(seconds[True]),
        "ratio": statistics.median(a / b for a, b in zip(*seconds.values(), strict=True)),
        "difference": float(np.nanmax(np.abs(plain - fast), initial=0)),
    }


def draw_scene(images: int, seed: int = 0) -> tuple[COCO, list[dict]]:
    """Draws ground truth and results like those of COCO's val2017: 80 classes and images of
    480 × 640. An image has on average 7 ellipses and 15 detections; two of three detections are
    near an ellipse."""
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
    with contextlib.redirect_stdout(io.StringIO()):
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
