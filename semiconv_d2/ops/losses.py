"""The two losses that the method adds: the segment embedding loss (5) and the kernel's own
cross-entropy (section 3.5).

Shapes: N segments, R regions, D embedding channels.
"""

import torch
from torch import Tensor

from .choices import check_choice
from .kernels import EPSILON, log_one_minus_exp, softened_squared_distance
from .precision import at_least_float32

REDUCTIONS = ("mean", "sum")


def segment_embedding_loss(
    embedding: Tensor,
    masks: Tensor,
    *,
    reduction: str = "mean",
    epsilon: float = EPSILON,
) -> Tensor:
    """Mean distance of the pixels of a segment to their mean embedding: equation (5).

    The norm is not squared; ε under its root keeps the gradient finite where they agree.

    Args:
        embedding: Ψ, (N, D, H, W), around each segment.
        masks: (N, H, W), boolean or weights in [0, 1].
        reduction: over segments that are not empty, "mean" or "sum". (5) has the sum; the mean
            keeps the weight of the loss independent of how crowded an image is.

    Returns:
        A scalar, float32 at least; 0 with a graph where every segment is empty.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    embedding = at_least_float32(embedding).flatten(2)
    weights = _normalised(masks.flatten(1).to(embedding.dtype), dim=1)

    mean = (weights[:, None] * embedding).sum(dim=2, keepdim=True)
    squared = softened_squared_distance(embedding, mean, dim=1, epsilon=epsilon)
    per_segment = (weights * squared.sqrt()).sum(dim=1)
    if reduction == "sum":
        return per_segment.sum()
    return per_segment.sum() / masks.flatten(1).any(dim=1).sum().clamp(min=1)


def kernel_cross_entropy(log_k: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy between K itself and the ground truth, from log K.

    −[y·log K + (1 − y)·log(1 − K)], averaged over pixels.

    Args:
        log_k: (R, H, W), below 0.
        target: y, (R, H, W), boolean or in [0, 1].
        weights: (R, H, W), boolean or non-negative: the pixels that count. All when left out.

    Returns:
        A scalar, float32 at least; 0 with a graph where no pixel counts.
    """
    log_k = at_least_float32(log_k)
    target = target.to(log_k.dtype)
    loss = -(target * log_k + (1 - target) * log_one_minus_exp(log_k))
    if weights is None:
        weights = torch.ones_like(loss)
    return (_normalised(weights.to(log_k.dtype), dim=(0, 1, 2)) * loss).sum()


def _normalised(weights: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Weights that sum to 1 along `dim`, or to 0 where they are all 0."""
    total = weights.sum(dim=dim, keepdim=True)
    return weights / total.clamp(min=torch.finfo(weights.dtype).tiny)
