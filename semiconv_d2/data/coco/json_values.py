"""Checks and conversions of values in a user's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

_WIDEST = 40  # characters of a value in a message
_LARGEST = 2**53


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of 64 bits. 12.0, true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number. True and false are not."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300


def read_box(value: object) -> list[float] | None:
    """Four finite numbers, as [left, top, width, height]; None for any other value."""
    if isinstance(value, list) and len(value) == 4 and all(map(is_number, value)):
        return value
    return None


def as_integer(value: object) -> int | None:
    """The integer that a value such as 12, 12.0 or "12" means; None for any other value."""
    if is_integer(value):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    return None


def shorten(value: object) -> str:
    """A value as Python writes it, for a message; cut off if it is long."""
    text = repr(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def tell_value(entry: Mapping, key: str, wrong: str = "") -> str:
    """A clause about a value of an entry: "its id is 'a', not a whole number" or "it has no id"."""
    return f"its {key} is {shorten(entry[key])}{wrong}" if key in entry else f"it has no {key}"
