"""Detections of one image, of any size: masks are windows, numbers are NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from ..data.mask_windows import MaskWindow


@dataclass(frozen=True)
class Detections:
    """What a model found in one image, the highest score first.

        detections = Detections.of(predictor("well.png"))
        areas = [mask.area for mask in detections.masks]

    All coordinates are pixels of the image.
    """

    size: tuple[int, int]
    """Height and width of the image."""
    boxes: np.ndarray
    """(N, 4) float32: x and y of the upper left corner, x and y of the lower right one."""
    scores: np.ndarray
    """(N,) float32."""
    classes: np.ndarray
    """(N,) int64: indices into the classes of the model."""
    masks: tuple[MaskWindow, ...] | None
    """N masks; None if the model finds boxes only."""

    @classmethod
    def of(cls, instances: Instances, masks: Sequence[MaskWindow] | None = None) -> Detections:
        """Detections of Detectron2's `Instances`, as `Predictor` returns them.

        Args:
            masks: by default those of the instances.
        """
        instances = instances.to("cpu")
        if masks is None and instances.has("pred_masks"):
            masks = [MaskWindow.of(mask.numpy()) for mask in instances.pred_masks.bool()]
        return cls(
            size=tuple(instances.image_size),
            boxes=instances.pred_boxes.tensor.float().numpy(),
            scores=instances.scores.float().numpy(),
            classes=instances.pred_classes.long().numpy(),
            masks=None if masks is None else tuple(masks),
        )

    def instances(self) -> Instances:
        """Detectron2's `Instances`, with whole masks (N, H, W): N times the image in memory."""
        instances = Instances(self.size)
        instances.pred_boxes = Boxes(torch.from_numpy(self.boxes))
        instances.scores = torch.from_numpy(self.scores)
        instances.pred_classes = torch.from_numpy(self.classes)
        if self.masks is not None:
            instances.pred_masks = torch.zeros((len(self), *self.size), dtype=torch.bool)
            for whole, mask in zip(instances.pred_masks, self.masks, strict=True):
                whole[mask.slices] = torch.from_numpy(mask.pixels)
        return instances

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> Detections:
        """Some of the detections, by a boolean array (N,) or by their indices."""
        indices = np.asarray(indices)
        chosen = np.arange(len(self))[indices if indices.size else np.zeros(0, dtype=int)]
        return Detections(
            size=self.size,
            boxes=self.boxes[chosen],
            scores=self.scores[chosen],
            classes=self.classes[chosen],
            masks=None if self.masks is None else tuple(self.masks[i] for i in chosen),
        )

    def class_name(self, index: int, classes: Sequence[str]) -> str:
        """The class of a detection: one of these names, in the order of the model's classes."""
        return class_name(int(self.classes[index]), classes)

    def label(self, index: int, classes: Sequence[str]) -> str:
        """Class and score of a detection, for people."""
        return label(int(self.classes[index]), float(self.scores[index]), classes)


def class_name(number: int, classes: Sequence[str]) -> str:
    """The name of a class by its number, also where the model has no name for it."""
    return classes[number] if number < len(classes) else f"class {number}"


def label(number: int, score: float, classes: Sequence[str]) -> str:
    """Class and score of an instance, for people."""
    return f"{class_name(number, classes)} {score:.0%}"
