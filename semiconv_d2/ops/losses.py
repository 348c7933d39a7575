"""The losses of the method: the segment embedding loss (5), the kernel's own cross-entropy
(section 3.5), and the repulsive half of (1), which the method does without.

Segments come as masks of regions, or as pixels of a whole image, where masks of every instance
would take too much memory.

Shapes: N segments, R regions, D embedding channels, P pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import at_least_float32, check_choice
from .kernels import EPSILON, softened_distance

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
    embedding = at_least_float32(embedding).flatten(2)
    weights = _normalised(masks.flatten(1).to(embedding.dtype), dim=1)

    mean = (weights[:, None] * embedding).sum(dim=2, keepdim=True)
    distance = softened_distance(embedding, mean, dim=1, epsilon=epsilon)
    per_segment = (weights * distance).sum(dim=1)
    return _reduced(per_segment, masks.flatten(1).any(dim=1), reduction)


def pixel_embedding_loss(
    embedding: Tensor,
    segments: Tensor,
    num_segments: int,
    *,
    reduction: str = "mean",
    epsilon: float = EPSILON,
) -> Tensor:
    """`segment_embedding_loss` of segments that are given as lists of pixels: equation (5).

    Args:
        embedding: Ψ of the pixels, (P, D); a pixel of two segments is there twice.
        segments: index of the segment of each pixel, (P,) in [0, N).
        num_segments: N; segments without pixels do not count.
        reduction: as there.

    Returns:
        A scalar, float32 at least; 0 with a graph where there is no pixel.
    """
    mean = segment_means(embedding, segments, num_segments)[segments]
    distance = softened_distance(embedding, mean, dim=1, epsilon=epsilon)
    per_segment = segment_means(distance[:, None], segments, num_segments)[:, 0]
    there = torch.bincount(segments, minlength=num_segments) > 0
    return _reduced(per_segment, there, reduction)


def segment_means(values: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """Mean over the pixels of each segment, (N, C), float32 at least; 0 where it has none. Summed
    in float64: float32 loses pixels of a segment of a million of them.

    Args:
        values: of the pixels, (P, C).
        segments: index of the segment of each pixel, (P,) in [0, N).
        num_segments: N.
    """
    values = at_least_float32(values)
    sizes = torch.bincount(segments, minlength=num_segments).clamp(min=1)
    total = values.new_zeros(num_segments, values.shape[1], dtype=torch.float64)
    means = total.index_add(0, segments, values.double()) / sizes[:, None]
    return means.to(values.dtype)


def kernel_cross_entropy(odds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy between K itself, or a share P of it, and the ground truth.

    −[y·log K + (1 − y)·log(1 − K)], averaged over pixels.

    Args:
        odds: the logit of K, which `log_odds` makes of log K, (R, H, W).
        target: y, (R, H, W), boolean or in [0, 1].
        weights: (R, H, W), boolean or non-negative: the pixels that count. All when left out.

    Returns:
        A scalar, float32 at least; 0 with a graph where no pixel counts.
    """
    odds = at_least_float32(odds)
    loss = F.binary_cross_entropy_with_logits(odds, target.to(odds.dtype), reduction="none")
    if weights is None:
        weights = torch.ones_like(loss)
    return (_normalised(weights.to(loss.dtype), dim=(0, 1, 2)) * loss).sum()


def pixel_kernel_loss(odds: Tensor, members: Tensor) -> Tensor:
    """Cross-entropy between K and whose pixel it is, for all segments of an image at once.

    For each segment the sum over all pixels, divided by the number of its own: how many pixels
    others have, nearly all of them far away, does not change the weight of its own. The mean over
    segments that have pixels.

    Args:
        odds: the logit of K between the seed of each segment and each pixel, (N, P).
        members: which pixels are whose, (N, P) boolean.

    Returns:
        A scalar, float32 at least; 0 with a graph where there is no pixel.
    """
    sizes, odds = members.sum(dim=1), at_least_float32(odds)
    loss = F.binary_cross_entropy_with_logits(odds, members.to(odds.dtype), reduction="none")
    per_segment = loss.sum(dim=1) / sizes.clamp(min=1)
    return _reduced(per_segment * (sizes > 0), sizes > 0, "mean")


def margin_loss(embedding: Tensor, members: Tensor, margin: float) -> Tensor:
    """The repulsive half of equation (1), as a hinge: pixels that share no segment are pushed
    apart until their embeddings are 1 + M from each other.

    max(0, 1 + M − ‖Ψ_u − Ψ_v‖), averaged over pairs of pixels that share no segment.

    Args:
        embedding: Ψ, (P, D).
        members: which pixels are whose, (N, P) boolean.
        margin: M.

    Returns:
        A scalar, float32 at least; 0 with a graph where there is no such pair.
    """
    embedding = at_least_float32(embedding)
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(embedding[None], embedding[None], compute_mode=exact)[0]
    belongs = members.to(embedding.dtype)
    apart = belongs.T @ belongs < 0.5
    loss = (1 + margin - distance).clamp(min=0) * apart
    return loss.sum() / apart.sum().clamp(min=1)


def _reduced(per_segment: Tensor, counts: Tensor, reduction: str) -> Tensor:
    """Sum over segments, or mean over those that count, (N,) boolean; the others are 0."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "sum":
        return per_segment.sum()
    return per_segment.sum() / counts.sum().clamp(min=1)


def _normalised(weights: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Weights that sum to 1 along `dim`, or to 0 where they are all 0."""
    total = weights.sum(dim=dim, keepdim=True)
    return weights / total.clamp(min=torch.finfo(weights.dtype).tiny)


def expected_iou(probabilities: Tensor, threshold: float = 0.5) -> Tensor:
    """Of the mask, the pixels from the threshold on, with the instance, if every pixel belonged to
    it as probably as it says: Σ_inside p / (Σ_inside 1 + Σ_outside p).

    Both sums are expectations, so that this is the ratio of them and not that of the ratio.

    Args:
        probabilities: p, (R, H, W).

    Returns:
        (R,) in [0, 1], float32 at least; 0 where the mask is empty.
    """
    p = at_least_float32(probabilities).flatten(1)
    inside = p >= threshold
    intersection = (p * inside).sum(dim=1)
    union = inside.sum(dim=1) + (p * ~inside).sum(dim=1)
    return intersection / union.clamp(min=1)
