"""Values out of somebody's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

_WIDEST = 40  # characters of a value in a message
_LARGEST = 2**53


def is_integer(value: object) -> TypeGuard[int]:
    """Whether it is a whole number of 64 bits and not merely one by its value; true and false are
    none."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; true and false are none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300


def as_integer(value: object) -> int | None:
    """A whole number out of one, out of 12.0 or out of "12"; None out of anything else."""
    if is_integer(value):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    return None


def shorten(value: object) -> str:
    """A value as Python writes it, for a message, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def tell_value(entry: Mapping, key: str, wrong: str = "") -> str:
    """What an entry has by a key, as in "its id is 'a', no whole number", or that it has none."""
    return f"its {key} is {shorten(entry[key])}{wrong}" if key in entry else f"it has no {key}"
