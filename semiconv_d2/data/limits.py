"""How large an image may be: a file of 20 KB can have pixels enough to fill the memory."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigError, DatasetError
from .files import one_line

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


def refuse_large(path: Path) -> None:
    """Look at the header of an image file before anybody decodes it.

    Raises:
        DatasetError: it has too many pixels. What is wrong otherwise is left to who reads it.
    """
    from PIL import Image, UnidentifiedImageError

    allow_large_images()
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return
    except Exception as error:  # Pillow's readers of damaged files raise whatever comes up
        raise DatasetError(f"cannot read the image {path}: {one_line(error)}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = before
    if too_large := tell_too_large(height, width):
        raise DatasetError(f"{path} {too_large}")


def allow_large_images() -> None:
    """Pillow refuses images of more than 179 million pixels by itself: not those that somebody has
    asked for by `VARIABLE`."""
    if VARIABLE in os.environ:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = max(int(most_pixels()), Image.MAX_IMAGE_PIXELS or 0) or None
