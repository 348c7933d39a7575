"""The seed of a region: the embedding that all its pixels are compared with (section 3.5)."""

import torch
from torch import Tensor

from .choices import check_choice
from .precision import at_least_float32

SEEDS = ("soft", "hard")


def seed_weights(logits: Tensor, seed: str = "soft") -> Tensor:
    """How much each pixel of a region contributes to the region's seed.

    "soft": softmax over the region of the mask logits, which is differentiable. "hard": 1 at the
    largest logit, 0 elsewhere.

    Args:
        logits: mask logits, (R, H, W).

    Returns:
        (R, H, W), float32 at least; sums to 1 in each region.
    """
    check_choice("seed", seed, SEEDS)
    flat = at_least_float32(logits).flatten(1)
    if seed == "soft":
        weights = flat.softmax(dim=1)
    else:
        weights = torch.zeros_like(flat).scatter(1, flat.argmax(dim=1, keepdim=True), 1.0)
    return weights.view_as(logits)


def mask_weights(logits: Tensor) -> Tensor:
    """The weights with which the seed is the mean over a mask: its probabilities, normalised.

    Args:
        logits: mask logits, (R, H, W).

    Returns:
        (R, H, W), float32 at least; sums to 1 in each region, however unlikely its pixels are.
    """
    flat = at_least_float32(logits).flatten(1)
    return torch.nn.functional.logsigmoid(flat).softmax(dim=1).view_as(logits)


def seed_embedding(weights: Tensor, embedding: Tensor) -> Tensor:
    """Expectation of the embedding under the weights of `seed_weights` or `mask_weights`,
    Σ_u p(u) Ψ_u.

    Args:
        weights: p, (R, H, W).
        embedding: Ψ, (R, D, H, W).

    Returns:
        (R, D), float32 at least.
    """
    # A sum of products rather than a matrix product, which autocast would lower.
    return (weights[:, None] * at_least_float32(embedding)).sum(dim=(2, 3))
