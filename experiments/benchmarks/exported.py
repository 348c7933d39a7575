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
from semiconv_d2.inference.export.comparing import in_order
from semiconv_d2.inference.export.formats import load_network, write_network
from semiconv_d2.inference.export.networks import Network, Output, network_of

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
        network = network_of(predictor.model)
        runs = _runs(network, inputs[0]["image"].float())
        seconds, outputs = _run_by_turns(runs, inputs, repeats)
        rows.append([f"{name}, PyTorch", round(1000 * seconds["PyTorch"]), None, None, None])
        for form in FORMATS:
            three = zip(outputs["PyTorch"], outputs[form], inputs, strict=True)
            differences = [_difference(network.outputs, *each) for each in three]
            worst = Difference(*map(max, zip(*differences, strict=True)))
            rows.append(
                [
                    f"{name}, {form}",
                    round(1000 * seconds[form]),
                    1e3 * worst.boxes,
                    1e6 * worst.scores,
                    1e6 * worst.masks,
                ]
            )
    return {
        "kind": "table",
        "about": f"The shipped models on {len(images)} test wells of BBBC010, 520 x 696 pixels, "
        "resized to 800 x 1071: milliseconds of the processor for a well, the median of all wells "
        f"and of {repeats} rounds, in turn, with {torch.get_num_threads()} thread, while other "
        "programs ran; and the largest difference from PyTorch in any well.",
        "headers": ["one well", "ms", "boxes / 0.001 px", "scores / 1e-6", "mask pixels / 1e-6"],
        "rows": rows,
    }


def _runs(network: Network, image: Tensor) -> dict[str, Run]:
    @torch.no_grad()
    def pytorch(x: Tensor) -> Arrays:
        return tuple(output.numpy() for output in network(x))

    runs: dict[str, Run] = {"PyTorch": pytorch}
    for name, form in FORMATS.items():
        exported = load_network(write_network(network, form, image), form)
        runs[name] = lambda x, exported=exported: exported(x.numpy())
    return runs


def _run_by_turns(
    runs: dict[str, Run], inputs: Sequence[dict], repeats: int
) -> tuple[dict[str, float], dict[str, list[Arrays]]]:
    """Median seconds of the processor, and the outputs for each image.

    The processor's time hardly depends on what else the machine does.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    outputs: dict[str, list[Arrays]] = {}
    for number in range(repeats + 1):
        chosen = inputs if number else inputs[:2]  # the first round warms up
        outputs = {name: [] for name in runs}
        for x in chosen:
            image = x["image"].float()
            for name, run in runs.items():
                start = time.process_time()
                outputs[name].append(run(image))
                if number:
                    seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}, outputs


def _difference(
    outputs: Sequence[Output], expected: Arrays, got: Sequence[np.ndarray], x: dict
) -> Difference:
    if len(expected[0]) != len(got[0]):
        return Difference(*[float("inf")] * 3)
    got = in_order(outputs, expected, got)
    a, b = (_pasted(values, x) for values in (expected, got))
    pairs = (
        (a.pred_boxes.tensor, b.pred_boxes.tensor),
        (a.scores, b.scores),
    )
    union = (a.pred_masks | b.pred_masks).sum().item()
    return Difference(
        *((p - q).abs().max().item() if len(p) else 0.0 for p, q in pairs),
        (a.pred_masks ^ b.pred_masks).sum().item() / max(1, union),
    )


def _pasted(outputs: Sequence[np.ndarray], x: dict) -> Instances:
    boxes, scores, classes, masks = map(torch.tensor, outputs)  # copies: boxes are scaled in place
    found = Instances(
        tuple(x["image"].shape[1:]),
        pred_boxes=Boxes(boxes),
        scores=scores,
        pred_classes=classes,
        pred_masks=masks[:, None],
    )
    return detector_postprocess(found, x["height"], x["width"])
