"""Detectron2's postprocessing, with masks as windows in place of an array (N, H, W)."""

from __future__ import annotations

from itertools import compress
from typing import TypeGuard

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances, ROIMasks
from torch import nn

from ...data.mask_windows import MaskWindow
from .exclusive import ExclusiveMasks
from .pasting import paste_windows


def has_regions(model: nn.Module) -> TypeGuard[GeneralizedRCNN]:
    """Whether a model is a GeneralizedRCNN, so that its `inference` can leave `postprocess` to
    us. Models that have changed what it does, such as PanopticFPN, do not count."""
    return isinstance(model, GeneralizedRCNN) and all(
        getattr(type(model), name) is getattr(GeneralizedRCNN, name)
        for name in ("forward", "inference", "_postprocess")
    )


def postprocess(
    found: Instances, size: tuple[int, int], score_threshold: float = 0.0
) -> tuple[Instances, list[MaskWindow] | None]:
    """Does what Detectron2's `detector_postprocess` does, and keeps the masks small.

    Args:
        found: what ROI heads return for an image, in pixels of the model's input. Its boxes are
            scaled in place, as `detector_postprocess` does it.
        size: height and width of the image.
        score_threshold: instances with a lower score are left out.

    Returns:
        N instances on the CPU, in pixels of the image and without `pred_masks`; and their N masks,
        or None if the model finds boxes only. An instance whose box is empty is left out. See
        `paste_windows` for the masks of a GPU.
    """
    found = found.to("cpu")
    fields = found.get_fields()
    masks = fields.get("pred_masks")
    others = {name: field for name, field in fields.items() if name != "pred_masks"}
    places = torch.arange(len(found))
    kept = detector_postprocess(Instances(found.image_size, **others, place=places), *size)
    if masks is None:
        return _take(kept, kept.scores >= score_threshold), None
    if not isinstance(masks, ROIMasks):
        masks = ROIMasks(masks[:, 0])
    if not isinstance(masks, ExclusiveMasks):  # whose unsure instances claim pixels too
        kept = kept[kept.scores >= score_threshold]
    windows = _windows(masks[kept.place], kept.pred_boxes, size)
    sure = kept.scores >= score_threshold
    return _take(kept, sure), list(compress(windows, sure.tolist()))


def _take(kept: Instances, sure: torch.Tensor) -> Instances:
    kept = kept[sure]
    kept.remove("place")
    return kept


def _windows(masks: ROIMasks, boxes: Boxes, size: tuple[int, int]) -> list[MaskWindow]:
    if isinstance(masks, ExclusiveMasks):
        return masks.to_windows(boxes, *size)
    if type(masks) is ROIMasks:
        return paste_windows(masks.tensor, boxes.tensor, size)
    # Somebody else's, which may be pasted in a way of their own.
    return [MaskWindow.of(mask.numpy()) for mask in masks.to_bitmasks(boxes, *size).tensor]
