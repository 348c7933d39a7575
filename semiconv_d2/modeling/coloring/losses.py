"""The losses of `InstanceColoring`, for one image at a time.

`loss_embedding`: equation (5).
`loss_kernel`: cross-entropy over the pixels of all instances. It compares K_σ between a pixel and
the mean of an instance with whether the pixel belongs to the instance. It trains σ.
`loss_foreground`: which pixels belong to instances of which class.
`loss_margin`: the repulsive half of equation (1).

Shapes: C classes, D embedding channels, N instances, P pixels that belong to one instance each, H
and W of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...ops import (
    log_affinities,
    log_odds,
    margin_loss,
    pixel_embedding_loss,
    pixel_kernel_loss,
    segment_means,
)
from ..learned_kernel import LearnedKernel

EMBEDDING_LOSSES = ("loss_embedding", "loss_kernel", "loss_margin")


def foreground_loss(logits: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
    """Binary cross-entropy between the foreground and the union of the masks of each class.

    Args:
        logits: (C, H, W).
        masks: ground truth, (N, H, W) boolean.
        classes: of the masks, (N,).
    """
    target = torch.zeros(logits.shape, device=logits.device)
    for mask, index in zip(masks, classes.tolist(), strict=True):
        target[index][mask] = 1
    return F.binary_cross_entropy_with_logits(logits, target)


class ColoringLosses:
    """The weights of all losses, and the losses that train the embedding."""

    def __init__(
        self,
        *,
        embedding_weight: float,
        kernel_weight: float,
        foreground_weight: float,
        margin_weight: float,
        margin: float,
        max_pixels: int,
    ):
        """
        Args:
            embedding_weight, kernel_weight, foreground_weight, margin_weight: a loss of weight 0
                is left out.
            margin: M of `ops.margin_loss`, in coordinate units.
            max_pixels: pixels drawn at random from an image for the kernel and margin losses.
        """
        self.weights = {
            "loss_embedding": embedding_weight,
            "loss_kernel": kernel_weight,
            "loss_foreground": foreground_weight,
            "loss_margin": margin_weight,
        }
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise ValueError(f"The weight of {name} is {weight}; it must be 0 or positive.")
        self.used = [name for name, weight in self.weights.items() if weight > 0]
        self.margin = margin
        self.max_pixels = max_pixels
        if not self.used_for_embedding:
            raise ValueError(
                "The embedding would not learn: EMBEDDING_LOSS_WEIGHT, KERNEL_LOSS_WEIGHT and "
                "MARGIN_LOSS_WEIGHT are all 0. Set one of them above 0."
            )

    @property
    def used_for_embedding(self) -> set[str]:
        return set(self.used) & set(EMBEDDING_LOSSES)

    def of_embedding(
        self, psi: Tensor, members: Tensor, kernel: LearnedKernel
    ) -> dict[str, Tensor]:
        """The losses of one image that train the embedding, not yet weighted.

        Args:
            psi: Ψ, (P, D), P > 0.
            members: which pixels belong to which instance, (N, P) boolean.
        """
        used, losses = self.used_for_embedding, {}
        if "loss_embedding" in used:
            segments, pixels = members.nonzero().unbind(dim=1)
            losses["loss_embedding"] = pixel_embedding_loss(psi[pixels], segments, len(members))
        if used & {"loss_kernel", "loss_margin"}:
            drawn = torch.randperm(len(psi), device=psi.device)[: self.max_pixels]
            psi, members = psi[drawn], members[:, drawn]
        if "loss_kernel" in used:
            odds = log_odds(_log_kernel_to_means(psi, members, kernel))
            losses["loss_kernel"] = pixel_kernel_loss(odds, members)
        if "loss_margin" in used:
            losses["loss_margin"] = margin_loss(psi, members, self.margin)
        return losses

    def weighted_means(self, losses: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """The mean of each loss over several images, times its weight."""
        return {k: torch.stack(v).mean() * self.weights[k] for k, v in losses.items()}


def _log_kernel_to_means(psi: Tensor, members: Tensor, kernel: LearnedKernel) -> Tensor:
    """log K between each pixel and the mean of each instance's pixels, (N, P)."""
    segments, pixels = members.nonzero().unbind(dim=1)
    seeds = segment_means(psi[pixels], segments, len(members))
    return log_affinities(psi, seeds, kernel.sigma, kernel.kernel)
