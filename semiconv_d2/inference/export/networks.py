"""Models as functions from one tensor to several ones, as TorchScript and ONNX know them.

Each network takes one image, (3, H, W) float32 from 0 to 255: resized for the model, with the
channels in the order of INPUT.FORMAT. Normalising and padding are parts of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from detectron2.export.torchscript_patch import patch_builtin_len
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor, nn

from ...errors import ConfigError
from ...modeling import InstanceColoring

FOREGROUND = 0.5
"""A point of a mask belongs to the instance from this probability on."""


class Output(NamedTuple):
    """An output of a network, and how two of its values are compared."""

    name: str
    about: str
    axes: dict[int, str]
    """The axes whose lengths depend on the image, by number."""
    difference: Callable[[np.ndarray, np.ndarray], float]
    tolerance: float
    """The difference that rounding may cause, at most."""
    unit: str
    """Of the difference."""


def farthest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two numbers; 0 for empty arrays."""
    return float(np.abs(a.astype(np.float64) - b).max(initial=0))


def changed_sides(threshold: float) -> Callable[[np.ndarray, np.ndarray], float]:
    """A function: which share of points is in only one of two masks, of those in either one."""

    def share(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a >= threshold, b >= threshold
        return float((a ^ b).sum() / max(1, (a | b).sum()))

    return share


_FOUND = {0: "N"}
_BOXES = Output(
    "boxes", "x0, y0, x1, y1 in pixels of the input image", _FOUND, farthest, 1e-3, "px"
)
_SCORES = Output("scores", "from 0 to 1, the highest first", _FOUND, farthest, 1e-4, "")
_CLASSES = Output("classes", "numbers of classes, from 0", _FOUND, farthest, 0, "")
_MASKS = Output(
    "masks",
    "probabilities at the centres of the cells of a grid over each box; rows, columns",
    _FOUND,
    changed_sides(FOREGROUND),
    1e-3,
    "of the points",
)


class RegionNetwork(nn.Module):
    """A Mask R-CNN or Faster R-CNN: image in, N instances out."""

    def __init__(self, model: GeneralizedRCNN):
        super().__init__()
        self.model = model
        masks = [_MASKS] if model.roi_heads.mask_on else []
        self.outputs = [_BOXES, _SCORES, _CLASSES, *masks]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        with patch_builtin_len():  # while it is traced, the number of instances stays open
            [found] = self.model.inference([{"image": image}], do_postprocess=False)
        masks = (found.pred_masks[:, 0],) if self.outputs[-1] is _MASKS else ()
        return found.pred_boxes.tensor, found.scores, found.pred_classes, *masks


class ColoringNetwork(nn.Module):
    """`InstanceColoring` before its decoder: Ψ and the foreground of each pixel of the input."""

    def __init__(self, model: InstanceColoring):
        super().__init__()
        self.model = model
        pixels = {1: "height", 2: "width"}
        sides = changed_sides(model.foreground_threshold)
        self.outputs = [
            Output("embedding", "of each pixel, in cells", pixels, farthest, 1e-2, "cells"),
            Output("foreground", "probability of each class", pixels, sides, 1e-3, "of the pixels"),
        ]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        [coloring] = self.model.color([{"image": image}])
        return coloring.embedding, coloring.foreground


Network = RegionNetwork | ColoringNetwork


def network_of(model: nn.Module) -> Network:
    """The network of a model in evaluation mode. The model is on the CPU, and does not learn any
    more.

    Raises:
        ConfigError: the model cannot be exported.
    """
    model = model.cpu().requires_grad_(False)
    if isinstance(model, InstanceColoring):
        return ColoringNetwork(model).eval()
    if not isinstance(model, GeneralizedRCNN):
        raise ConfigError(
            f"A {type(model).__name__} cannot be exported: only the meta-architectures "
            "GeneralizedRCNN and InstanceColoring can."
        )
    if getattr(model.roi_heads, "exclusive_masks", False):
        raise ConfigError(
            "MODEL.SEMICONV.EXCLUSIVE_MASKS is True, but masks become exclusive when they are "
            "pasted into the image, and an exported model does not paste them. Add "
            "--opts MODEL.SEMICONV.EXCLUSIVE_MASKS False."
        )
    return RegionNetwork(model).eval()
