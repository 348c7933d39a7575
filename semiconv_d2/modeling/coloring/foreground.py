"""The foreground: which pixels belong to instances, and of which class. It is learned by a head,
taken from the brightness of the image, or given with the image.

Shapes: B images, C classes, H and W of an image, H_l and W_l of a feature map.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from ...ops.checks import check_choice

FOREGROUNDS = ("learned", "image")


class ForegroundHead(nn.Sequential):
    """1×1 convolution → ReLU → 3×3 convolution: a feature map in, logits (B, C, H_l, W_l) out."""

    def __init__(self, *, in_channels: int, hidden_dim: int, num_classes: int):
        super().__init__(
            nn.Conv2d(in_channels, hidden_dim, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_dim, num_classes, kernel_size=3, padding=1),
        )
        for layer in (self[0], self[2]):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def build_foreground_head(cfg: CfgNode, in_channels: int) -> ForegroundHead | None:
    """The head that a config asks for; None if the foreground is not learned."""
    if check_choice("FOREGROUND", cfg.MODEL.COLORING.FOREGROUND, FOREGROUNDS) != "learned":
        return None
    return ForegroundHead(
        in_channels=in_channels,
        hidden_dim=cfg.MODEL.SEMICONV.HIDDEN_DIM or in_channels,
        num_classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES,
    )


def classify_given(given: Tensor, found: Tensor, name: str) -> Tensor:
    """Divides a foreground that is given with an image among classes, in the proportions that the
    model predicts.

    Args:
        given: (H, W), 0 or 1.
        found: probabilities of the model, (C, H, W).
        name: of the image, for the message.

    Returns:
        (C, H, W). Where `given` is 1, the most probable class gets 1.

    Raises:
        ValueError: the two have different sizes.
    """
    if given.shape != found.shape[1:]:
        raise ValueError(
            f"image {name}: the given foreground has the size {tuple(given.shape)}; it must have "
            f"that of the output, {tuple(found.shape[1:])}."
        )
    if len(found) == 1:
        return given[None]
    largest = found.amax(dim=0).clamp(min=torch.finfo(found.dtype).tiny)
    return given * found / largest
