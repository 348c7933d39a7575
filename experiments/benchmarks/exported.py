"""Exported models beside PyTorch, on wells of BBBC010: what differs, and the time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor

from semiconv_d2 import Predictor
from semiconv_d2.inference.export.formats import load_network, write_network
from semiconv_d2.inference.export.networks import network_of

MODELS = {
    "SemiConv": ("bbbc010_small_semiconv", "checkpoints/bbbc010_small_one_stage.pth"),
    "Mask R-CNN": ("bbbc010_small_mask_rcnn", "checkpoints/bbbc010_small_mask_rcnn.pth"),
}
"""Config and weights."""
FORMATS = {"TorchScript": "torchscript", "ONNX Runtime": "onnx"}

Arrays = tuple[np.ndarray, ...]
Run = Callable[[Tensor], Arrays]


class Difference(NamedTuple):
    """From PyTorch in one image, in the frame of the image before it was resized."""

    boxes: float
    """Largest difference of a coordinate, in pixels."""
    scores: float
    """Largest difference."""
    masks: float
    """Pixels that are in only one of two masks, as a share of those in either one."""


def compare_exported(images: Sequence[Path], repeats: int = 3) -> dict:
    """Runs PyTorch and the formats in turn on each image; without reading, resizing and pasting.

    Returns:
        The content of a JSON file, a table.
    """
    rows = []
    for name, (config, weights) in MODELS.items():
        predictor = Predictor.load(config, weights=weights, device="cpu")
        inputs = [predictor.prepare(path) for path in images]
        runs = _runs(predictor, inputs[0]["image"].float())
        seconds = _time(runs, inputs, repeats)
        rows.append([f"{name}, PyTorch", round(1000 * seconds["PyTorch"]), None, None, None])
        for form in FORMATS:
            differences = [_difference(runs["PyTorch"], runs[form], x) for x in inputs]
            worst = Difference(*map(max, zip(*differences, strict=True)))
            rows.append(
                [
                    f"{name}, {form}",
                    round(1000 * seconds[form]),
                    f"{worst.boxes:.0e} px",
                    f"{worst.scores:.0e}",
                    f"{100 * worst.masks:.3f} %",
                ]
            )
    return {
        "kind": "table",
        "about": f"The shipped models on {len(images)} test wells of BBBC010, 520 x 696 pixels, "
        "resized to 800 x 1071: milliseconds for a well, the median of all wells and of "
        f"{repeats} rounds, in turn, on the CPU with {torch.get_num_threads()} thread, while other "
        "programs ran; and the largest difference from PyTorch in any well.",
        "headers": ["one well", "ms", "boxes", "scores", "mask pixels"],
        "rows": rows,
    }


def _runs(predictor: Predictor, image: Tensor) -> dict[str, Run]:
    network = network_of(predictor.model)

    @torch.no_grad()
    def pytorch(x: Tensor) -> Arrays:
        return tuple(output.numpy() for output in network(x))

    runs: dict[str, Run] = {"PyTorch": pytorch}
    for name, form in FORMATS.items():
        exported = load_network(write_network(network, form, image), form)
        runs[name] = lambda x, exported=exported: exported(x.numpy())
    return runs


def _time(runs: dict[str, Run], inputs: Sequence[dict], repeats: int) -> dict[str, float]:
    """Median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for x in inputs if number else inputs[:2]:  # the first round warms up
            image = x["image"].float()
            for name, run in runs.items():
                start = time.perf_counter()
                run(image)
                if number:
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _difference(expected: Run, got: Run, x: dict) -> Difference:
    a, b = (_pasted(run(x["image"].float()), x) for run in (expected, got))
    if len(a) != len(b):
        return Difference(*[float("inf")] * 3)
    pairs = (
        (a.pred_boxes.tensor, b.pred_boxes.tensor),
        (a.scores, b.scores),
    )
    union = (a.pred_masks | b.pred_masks).sum().item()
    return Difference(
        *((p - q).abs().max().item() if len(p) else 0.0 for p, q in pairs),
        (a.pred_masks ^ b.pred_masks).sum().item() / max(1, union),
    )


def _pasted(outputs: Arrays, x: dict) -> Instances:
    boxes, scores, classes, masks = map(torch.from_numpy, outputs)
    found = Instances(
        tuple(x["image"].shape[1:]),
        pred_boxes=Boxes(boxes),
        scores=scores,
        pred_classes=classes,
        pred_masks=masks[:, None],
    )
    return detector_postprocess(found, x["height"], x["width"])
