"""Losses of the embedding and its kernel, and a score for masks.

In this order: the segment embedding loss, equation (5); the kernel's cross-entropy (section 3.5);
the repulsive half of equation (1), which the paper's method does not use; and the expected IoU of a
mask, which is not a loss but ranks detections.

The first two exist in two forms. One takes the masks of regions. The other, `pixel_…`, is for a
whole image, where a mask for every instance would take too much memory: it takes a list of pixels
and the segments that they belong to.

Shapes: N segments, R regions, H and W of a region, D embedding channels, C channels, P pixels.
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
    """Mean distance of the pixels of a segment from their mean embedding, equation (5).

    The norm is not squared.

    Args:
        embedding: Ψ around each segment, (N, D, H, W).
        masks: (N, H, W), boolean or weights in [0, 1].
        reduction: "mean" or "sum" over the segments that are not empty. Equation (5) has the sum.
            With the mean, the weight of the loss does not depend on how crowded an image is.
        epsilon: as in `softened_distance`.

    Returns:
        A scalar in coordinate units, float32 at least; 0 with a graph if all segments are empty.

    Example:
        >>> embedding = torch.tensor([[[[0.0, 6.0]], [[0.0, 8.0]]]])  # two pixels, 10 apart
        >>> segment_embedding_loss(embedding, torch.ones(1, 1, 2))
        tensor(5.0000)
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
    """`segment_embedding_loss` for segments that are given as a list of pixels, equation (5).

    Args:
        embedding: Ψ of the pixels, (P, D). A pixel that belongs to two segments is listed twice.
        segments, num_segments: as in `segment_means`. Segments without pixels do not count.
        reduction, epsilon: as in `segment_embedding_loss`.

    Returns:
        A scalar in coordinate units, float32 at least; 0 with a graph if there is no pixel.

    Example:
        >>> embedding = torch.tensor([[0.0, 0.0], [6.0, 8.0], [1.0, 2.0]])
        >>> pixel_embedding_loss(embedding, torch.tensor([0, 0, 2]), 3)  # (5 + √ε) / 2
        tensor(2.5050)
    """
    mean = segment_means(embedding, segments, num_segments)[segments]
    distance = softened_distance(embedding, mean, dim=1, epsilon=epsilon)
    per_segment = segment_means(distance[:, None], segments, num_segments)[:, 0]
    there = torch.bincount(segments, minlength=num_segments) > 0
    return _reduced(per_segment, there, reduction)


def segment_means(values: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """Mean over the pixels of each segment.

    Sums are in float64: in a segment of a million pixels, a float32 sum loses some of them.

    Args:
        values: values of the pixels, (P, C).
        segments: index of the segment that each pixel belongs to, (P,) in [0, N).
        num_segments: N.

    Returns:
        (N, C), float32 at least; 0 for a segment without pixels.

    Example:
        >>> segment_means(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 2]), 3)
        tensor([[2.],
                [0.],
                [5.]])
    """
    values = at_least_float32(values)
    sizes = torch.bincount(segments, minlength=num_segments).clamp(min=1)
    total = values.new_zeros(num_segments, values.shape[1], dtype=torch.float64)
    means = total.index_add(0, segments, values.double()) / sizes[:, None]
    return means.to(values.dtype)


def kernel_cross_entropy(odds: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy between K, or a share P, and the ground-truth mask (section 3.5).

    −[y·log K + (1 − y)·log(1 − K)], averaged over pixels.

    Args:
        odds: the logit of K or P, (R, H, W); see `log_odds` and `share_odds`.
        target: y, (R, H, W), boolean or in [0, 1].
        weights: weights of pixels, (R, H, W), boolean or non-negative. None: all pixels count.

    Returns:
        A scalar, float32 at least; 0 with a graph if no pixel counts.

    Example:
        >>> odds = torch.zeros(1, 1, 2)  # K = 1/2 in both pixels
        >>> kernel_cross_entropy(odds, torch.tensor([[[True, False]]]))  # log 2
        tensor(0.6931)
    """
    odds = at_least_float32(odds)
    loss = F.binary_cross_entropy_with_logits(odds, target.to(odds.dtype), reduction="none")
    if weights is None:
        weights = torch.ones_like(loss)
    return (_normalised(weights.to(loss.dtype), dim=(0, 1, 2)) * loss).sum()


def pixel_kernel_loss(odds: Tensor, members: Tensor) -> Tensor:
    """Binary cross-entropy between K and membership, for all segments of an image at once.

    For each segment the sum over all pixels is divided by the number of the segment's own pixels.
    Most pixels belong to other segments and are far away; divided by the number of all pixels, the
    loss of the own ones would almost vanish. The result is the mean over segments that have pixels.

    Args:
        odds: the logit of K between the seed of each segment and each pixel, (N, P).
        members: which pixels belong to which segment, (N, P) boolean.

    Returns:
        A scalar, float32 at least; 0 with a graph if there is no pixel.

    Example:
        >>> odds = torch.tensor([[0.0, 0.0, -99.0]])  # K = 1/2, 1/2 and 0
        >>> pixel_kernel_loss(odds, torch.tensor([[True, True, False]]))  # log 2
        tensor(0.6931)
    """
    sizes, odds = members.sum(dim=1), at_least_float32(odds)
    loss = F.binary_cross_entropy_with_logits(odds, members.to(odds.dtype), reduction="none")
    per_segment = loss.sum(dim=1) / sizes.clamp(min=1)
    return _reduced(per_segment * (sizes > 0), sizes > 0, "mean")


def margin_loss(embedding: Tensor, members: Tensor, margin: float) -> Tensor:
    """The repulsive half of equation (1), as a hinge loss: it pushes pixels that share no segment
    apart until the distance between their embeddings is 1 + M.

    max(0, 1 + M − ‖Ψ_u − Ψ_v‖), averaged over pairs of pixels that share no segment.

    Args:
        embedding: Ψ, (P, D), in coordinate units.
        members: which pixels belong to which segment, (N, P) boolean.
        margin: M, in coordinate units.

    Returns:
        A scalar in coordinate units, float32 at least; 0 with a graph if there is no such pair.

    Example:
        >>> embedding = torch.tensor([[0.0], [1.0]])  # two pixels of two segments, 1 apart
        >>> margin_loss(embedding, torch.tensor([[True, False], [False, True]]), margin=0.5)
        tensor(0.5000)
    """
    embedding = at_least_float32(embedding)
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(embedding[None], embedding[None], compute_mode=exact)[0]
    belongs = members.to(embedding.dtype)
    apart = belongs.T @ belongs < 0.5
    loss = (1 + margin - distance).clamp(min=0) * apart
    return loss.sum() / apart.sum().clamp(min=1)


def expected_iou(probabilities: Tensor, threshold: float = 0.5) -> Tensor:
    """The IoU to expect between a mask and its instance, if the probabilities of the pixels are
    right. Not in the paper.

    The mask has the pixels with p ≥ threshold. The result is the expected intersection divided by
    the expected union, Σ_inside p / (Σ_inside 1 + Σ_outside p). The expectation of the ratio would
    be slightly different.

    Args:
        probabilities: p, (R, H, W).
        threshold: smallest probability of a pixel in the mask.

    Returns:
        (R,) in [0, 1], float32 at least; 0 where the mask is empty.

    Example:
        >>> expected_iou(torch.tensor([[[1.0, 0.8, 0.4]]]))  # 1.8 / 2.4
        tensor([0.7500])
    """
    p = at_least_float32(probabilities).flatten(1)
    inside = p >= threshold
    intersection = (p * inside).sum(dim=1)
    union = inside.sum(dim=1) + (p * ~inside).sum(dim=1)
    return intersection / union.clamp(min=1)


def _reduced(per_segment: Tensor, counts: Tensor, reduction: str) -> Tensor:
    """The sum over segments, or the mean over those that count.

    Args:
        per_segment: losses, (N,); 0 for a segment that does not count.
        counts: which segments count, (N,) boolean.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "sum":
        return per_segment.sum()
    return per_segment.sum() / counts.sum().clamp(min=1)


def _normalised(weights: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Weights that sum to 1 along `dim`, or to 0 where they are all 0."""
    total = weights.sum(dim=dim, keepdim=True)
    return weights / total.clamp(min=torch.finfo(weights.dtype).tiny)
