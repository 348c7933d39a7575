"""The mathematics number by number, to compare with."""

from __future__ import annotations

import math

from torch import Tensor

from semiconv_d2.ops import EPSILON


def naive_kernel(a: Tensor, b: Tensor, sigma: float, kernel: str) -> float:
    """K_σ between two embeddings, (D,) each, with the ε of the losses."""
    squared = EPSILON + sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True))
    if kernel == "laplacian":
        return math.exp(-math.sqrt(squared) / sigma)
    return math.exp(-squared / (2 * sigma**2))
