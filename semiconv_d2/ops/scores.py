"""How good a mask is, by its own probabilities."""

from torch import Tensor

from .precision import at_least_float32


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
