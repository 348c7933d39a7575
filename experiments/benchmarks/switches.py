"""Measures what makes a model faster: the time of an image, AP and masks, each switch alone."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import Instances
from pycocotools.coco import COCO
from torch import nn
from tqdm import tqdm

from semiconv_d2 import Predictor
from semiconv_d2.data.mask_windows import MaskWindow
from semiconv_d2.evaluation.measures.coco import coco_values
from semiconv_d2.inference.detections import Detections
from semiconv_d2.inference.outputs.coco import coco_results
from semiconv_d2.modeling.fast import fold_norms, make_fast, use_bfloat16
from semiconv_d2.modeling.masks.postprocessing import postprocess

_SURE = 0.5  # score of the instances whose masks are compared
NONE = "none"


def _everywhere_in_bfloat16(model: nn.Module, device_type: str) -> None:
    inference = model.inference

    def run(*args, **kwargs):
        with torch.autocast(device_type, torch.bfloat16):
            return inference(*args, **kwargs)

    model.inference = run


def switches(device_type: str) -> dict[str, Callable[[nn.Module], object]]:
    """Functions that change a model in place, by name."""
    return {
        NONE: lambda model: None,
        "folded normalisation": fold_norms,
        "channels last": lambda model: model.to(memory_format=torch.channels_last),
        "backbone in bfloat16": partial(use_bfloat16, device_type=device_type),
        "all in bfloat16": partial(_everywhere_in_bfloat16, device_type=device_type),
        "--fast": make_fast,
    }


def shipped_predictors() -> dict[str, Predictor]:
    """The models of BBBC010 that are shipped, with all that they find."""
    models = {
        "SemiConv": ("bbbc010_small_semiconv", "bbbc010_small_one_stage.pth"),
        "Mask R-CNN": ("bbbc010_small_mask_rcnn", "bbbc010_small_mask_rcnn.pth"),
    }
    return {
        name: Predictor.load(config, weights=f"checkpoints/{weights}", score_threshold=0)
        for name, (config, weights) in models.items()
    }


def benchmark_switches(
    predictors: Mapping[str, Predictor], truth: COCO, folder: Path, images: int
) -> dict:
    """Runs every model with every switch on an image, then on the next one.

    Args:
        predictors: GeneralizedRCNNs by name, with the score threshold 0.
        truth: ground truth; its first images are used.
        folder: folder of the images.

    Returns: a table for documents, with what it was made of. The network is timed, without reading
        and pasting.
    """
    chosen = sorted(truth.imgs)[:images]
    part = _part(truth, chosen)
    rows, details = [], {}
    for name, predictor in predictors.items():
        device = next(predictor.model.parameters()).device
        models = {}
        for switch, change in switches(device.type).items():
            models[switch] = copy.deepcopy(predictor.model)
            change(models[switch])
        details[name] = _measure(models, predictor, part, folder)
        rows += [
            [name, switch, round(m["milliseconds"]), *(round(m[key], 1) for key in _COLUMNS[1:])]
            for switch, m in details[name].items()
        ]
    return {
        "kind": "table",
        "headers": ["model", "switch", *_HEADERS],
        "rows": rows,
        "images": len(chosen),
        "threads": torch.get_num_threads(),
        "models": details,
    }


_COLUMNS = ("milliseconds", "time", "ap", "mean_iou", "least_iou")
_HEADERS = ("ms", "time, %", "AP", "mean IoU, %", "least IoU, %")


def _measure(models: Mapping[str, nn.Module], predictor: Predictor, truth: COCO, folder: Path):
    seconds: dict[str, list[float]] = {name: [] for name in models}
    found: dict[str, list[Detections]] = {name: [] for name in models}
    images = list(truth.imgs.values())
    for number, image in enumerate(tqdm([images[0], *images])):
        seen = predictor._input(folder / image["file_name"])
        for name, model in models.items():
            taken, raw = _time(model, seen)
            if number:  # the first round warms up
                seconds[name].append(taken)
                detections = postprocess(raw, (image["height"], image["width"]))
                found[name].append(Detections.of(*detections))
    plain = seconds[NONE]
    return {
        name: {
            "milliseconds": 1000 * statistics.median(seconds[name]),
            "time": 100
            * statistics.median(a / b for a, b in zip(seconds[name], plain, strict=True)),
            "ap": _ap(truth, found[name]),
        }
        | _compare(found[NONE], found[name])
        for name in models
    }


def _time(model: nn.Module, seen: dict) -> tuple[float, Instances]:
    start = time.perf_counter()
    with torch.no_grad():
        [raw] = model.inference([seen], do_postprocess=False)
    taken = time.perf_counter() - start
    raw.pred_masks = raw.pred_masks.float()
    raw.scores = raw.scores.float()
    return taken, raw


def _ap(truth: COCO, found: list[Detections]) -> float:
    [category] = truth.cats
    results = [
        result | {"category_id": category}
        for image_id, detections in zip(truth.imgs, found, strict=True)
        for result in coco_results(detections, image_id)
    ]
    return coco_values(truth, results, "mask")[0]["AP"]


def _compare(plain: list[Detections], other: list[Detections]) -> dict:
    """IoU of each sure mask with the one of the other model that is most like it."""
    ious = [
        max((_iou(mask, mate) for mate in b.masks), default=0.0)
        for a, b in zip(plain, other, strict=True)
        for mask in a[a.scores >= _SURE].masks
    ]
    return {
        "mean_iou": 100 * float(np.mean(ious)),
        "least_iou": 100 * min(ious),
        "masks": len(ious),
    }


def _iou(a: MaskWindow, b: MaskWindow) -> float:
    shared = a.overlap(b)
    return shared / (a.area + b.area - shared) if shared else 0.0


def _part(truth: COCO, images: list[int]) -> COCO:
    part = COCO()
    part.dataset = truth.dataset | {
        "images": [truth.imgs[i] for i in images],
        "annotations": truth.loadAnns(truth.getAnnIds(imgIds=images)),
    }
    part.createIndex()
    return part
