"""What the others share: checks of options, and islands of float32."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Returns `value`, or raises a `ValueError` that names the option and its choices."""
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} is {value!r}; it must be one of {wanted}.")
    return value


def check_positive(name: str, value: float) -> float:
    """Returns `value`, or raises a `ValueError` that names the option."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; it must be positive and finite.")
    return value


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 where it is that already. Differentiable.

    Elementwise operations and sums on the result stay in its precision under autocast, which
    lowers only matrix products and convolutions.
    """
    return x if x.dtype == torch.float64 else x.float()
