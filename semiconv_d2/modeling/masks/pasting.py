"""Pastes masks of regions into windows of the image, never into the whole image."""

from __future__ import annotations

from detectron2.layers.mask_ops import _do_paste_mask
from torch import Tensor

from ...data.mask_windows import MaskWindow


def paste_windows(
    masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5
) -> list[MaskWindow]:
    """The pixels that Detectron2's `paste_masks_in_image` finds on the CPU, bit for bit.

    On a GPU that function pastes otherwise: a pixel whose probability is the threshold, but for
    rounding, can differ.

    Args:
        masks: probabilities of N regions, (N, M, M). They are pasted on the CPU.
        boxes: (N, 4), x and y of the corners in pixels of the image.
        size: height and width of the image.
        threshold: smallest probability of a pixel of the mask.
    """
    masks, boxes = masks.cpu(), boxes.cpu()
    windows = []
    for mask, box in zip(masks[:, None, None], boxes[:, None], strict=True):
        pasted, (rows, columns) = _do_paste_mask(mask, box, *size)
        own = (pasted[0] >= threshold).numpy()
        windows.append(MaskWindow.of(own, int(rows.start), int(columns.start)))
    return windows
