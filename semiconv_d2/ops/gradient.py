"""Gradient scaling: the paper's protection of the FPN from the embedding subnet (section 3.5)."""

import torch
from torch import Tensor


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """`x` itself, bit for bit; the gradient that flows back through it is multiplied by `scale`.
    With 0 none flows."""
    if scale == 0.0:
        return x.detach()
    if scale == 1.0 or not (torch.is_grad_enabled() and x.requires_grad):
        return x
    return _ScaleGradient.apply(x, scale)
