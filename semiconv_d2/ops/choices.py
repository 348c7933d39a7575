"""One check for all options that are one word out of a few."""

from collections.abc import Sequence


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Returns `value`, or raises a `ValueError` that names the option and its choices."""
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} is {value!r}; it must be one of {wanted}.")
    return value
