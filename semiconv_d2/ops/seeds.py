"""The seed of a region: the embedding that all its pixels are compared with (section 3.5)."""

from torch import Tensor

from .precision import at_least_float32


def seed_weights(logits: Tensor) -> Tensor:
    """How much each pixel of a region contributes to the region's seed: p, the softmax over the
    region of the mask logits. The differentiable form of the pixel with the largest logit.

    Args:
        logits: mask logits, (R, H, W).

    Returns:
        (R, H, W), float32 at least; sums to 1 in each region.
    """
    return at_least_float32(logits).flatten(1).softmax(dim=1).view_as(logits)


def seed_embedding(weights: Tensor, embedding: Tensor) -> Tensor:
    """Expectation of the embedding under the weights of `seed_weights`, Σ_u p(u) Ψ_u.

    Args:
        weights: p, (R, H, W).
        embedding: Ψ, (R, D, H, W).

    Returns:
        (R, D), float32 at least.

    Example:
        >>> logits = torch.tensor([[[50.0, 0.0]]])  # one region of 1 × 2 pixels, sure of the left
        >>> embedding = torch.tensor([[[[3.0, 9.0]], [[4.0, 9.0]]]])
        >>> seed_embedding(seed_weights(logits), embedding)
        tensor([[3., 4.]])
    """
    # A sum of products rather than a matrix product, which autocast would lower.
    return (weights[:, None] * at_least_float32(embedding)).sum(dim=(2, 3))
