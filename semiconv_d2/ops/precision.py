"""Float32 islands: distances, exponentials and logarithms lose too much in half precision."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 where it is that already. Differentiable.

    Elementwise operations and sums on the result stay in its precision under autocast, which
    lowers only matrix products and convolutions.
    """
    return x if x.dtype == torch.float64 else x.float()
