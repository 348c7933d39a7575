"""Checks of options: one word out of a few, or a positive number."""

import math
from collections.abc import Sequence


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
