"""What the plugin needs of a mask head, and asks of it."""

from __future__ import annotations

import copy

import torch
from detectron2.modeling.roi_heads import BaseMaskRCNNHead
from torch import Tensor, nn


def check_mask_branch(mask_head: nn.Module, mask_pooler: nn.Module | None) -> None:
    if (
        mask_pooler is None
        or not callable(getattr(mask_head, "layers", None))
        or type(mask_head).forward is not BaseMaskRCNNHead.forward
    ):
        raise TypeError(
            f"The masks of {type(mask_head).__name__} cannot be rescored: SemiConv needs a mask "
            "head with `layers` and the `forward` of BaseMaskRCNNHead, on pooled features. Set "
            "MODEL.ROI_MASK_HEAD.NAME to 'MaskRCNNConvUpsampleHead', or use the stock ROI heads."
        )


def mask_side(mask_head: nn.Module, in_channels: int, pooled_size: tuple[int, int]) -> int:
    """Side of a mask head's logits, found with tensors on the meta device, which hold no data."""
    head = copy.deepcopy(mask_head).to("meta").eval()
    return head.layers(torch.empty(1, in_channels, *pooled_size, device="meta")).shape[-1]  # type: ignore[operator]


def logits_of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """The channel of each region's class: (R, C, M, M), or (R, 1, M, M), to (R, M, M)."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    index = classes[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, index)[:, 0]
