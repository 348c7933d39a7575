"""How large an image may be: a file of 20 KB can have enough pixels to fill the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError

VARIABLE = "SEMICONV_MAX_MEGAPIXELS"
"""Environment variable with another limit, in millions of pixels."""

_DEFAULT = 100.0


def most_pixels() -> float:
    """The largest number of pixels that an image may have: 100 million, or what `VARIABLE` says.

    Raises:
        ConfigError: the variable is not a number above 0.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return 1e6 * _DEFAULT
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e6:
        raise ConfigError(f"{VARIABLE} is {text!r}; it must be a number of megapixels above 0")
    return 1e6 * limit


def tell_too_large(
    height: int, width: int, remedy: str = "cut it into tiles (semiconv predict: --tile)"
) -> str:
    """Why an image of this size is too large, and what helps; "" if it is not."""
    pixels, limit = height * width, most_pixels()
    if pixels <= limit:
        return ""
    return (
        f"has {height} × {width} pixels (height × width), {pixels / 1e6:,.0f} million, but the "
        f"limit is {limit / 1e6:,.0f} million: {remedy} or, if there is enough memory, "
        f"set the environment variable {VARIABLE}={-(-pixels // 10**6)}"
    )


@contextmanager
def no_limit_of_pillow() -> Iterator[None]:
    """Within the context, Pillow opens images of any size: only the limit of this module counts."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
