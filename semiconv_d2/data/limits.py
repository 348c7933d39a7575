"""How large an image may be: a file of 20 KB can have pixels enough to fill the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError

VARIABLE = "SEMICONV_MAX_MEGAPIXELS"
"""Environment variable with another limit, in millions of pixels."""

_DEFAULT = 100.0


def most_pixels() -> float:
    """So many pixels an image may have: 100 million, or what `VARIABLE` says.

    Raises:
        ConfigError: that is no number above 0.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return 1e6 * _DEFAULT
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e6:
        raise ConfigError(f"{VARIABLE} is {text!r}, which is no number of megapixels above 0")
    return 1e6 * limit


def tell_too_large(height: int, width: int) -> str:
    """What is wrong with an image of this size, "" where nothing is."""
    pixels, limit = height * width, most_pixels()
    if pixels <= limit:
        return ""
    return (
        f"has {height} × {width} pixels (height × width), {pixels / 1e6:,.0f} million and more "
        f"than the limit of {limit / 1e6:,.0f}: cut it into tiles or, if there is memory for it, "
        f"set the environment variable {VARIABLE}={-(-pixels // 10**6)}"
    )


@contextmanager
def no_limit_of_pillow() -> Iterator[None]:
    """Pillow opens images of any size, where it is this limit that counts."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
