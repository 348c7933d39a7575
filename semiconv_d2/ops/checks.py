"""What the other modules share: checks of options, and conversion to at least float32."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Returns `value`, or raises a `ValueError` that names the option and its choices.

    Example:
        >>> check_choice("mixing", "none", ("additive", "none"))
        'none'
        >>> check_choice("mixing", "product", ("additive", "none"))
        Traceback (most recent call last):
        ValueError: mixing is 'product'; it must be one of 'additive', 'none'.
    """
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} is {value!r}; it must be one of {wanted}.")
    return value


def check_positive(name: str, value: float) -> float:
    """Returns `value`, or raises a `ValueError` that names the option.

    Example:
        >>> check_positive("sigma", 5.0)
        5.0
        >>> check_positive("sigma", 0.0)
        Traceback (most recent call last):
        ValueError: sigma is 0.0; it must be positive and finite.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; it must be positive and finite.")
    return value


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is in float64 already. Differentiable.

    Under autocast, elementwise operations and sums on the result keep its precision: autocast
    lowers only matrix products and convolutions.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.float16)).dtype
        torch.float32
    """
    return x if x.dtype == torch.float64 else x.float()
