"""The one reader of images: any file becomes (H, W, 3) uint8, RGB, as models take it. Training,
evaluation, prediction, checks and conversion all read with it, so that they see the same.

- A file of 8 bits in a channel is taken as it is. Deeper values are scaled to 8 bits, as an
  `IntensityRange` says.
- A file of several pages, such as a stack or an animation, needs a choice: `Reading.pages`.
- A file of one channel is grey, a file of three is RGB; alpha is left out. Files with other numbers
  of channels need `Reading.channels`.
- An image is turned as its EXIF orientation says, as Detectron2 turns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, DatasetError
from .image_headers import Header, read_header, read_page
from .limits import tell_too_large

_GREATEST = float(np.finfo(np.float64).max)
_LIMITS = {
    "percentiles": (0.0, 100.0),
    "bounds": (-_GREATEST, _GREATEST),
    "full": (0.0, 1.0),
}  # of the numbers in an intensity range


class IntensityRange(NamedTuple):
    """Which values become 0 and 255, in images of more than 8 bits in a channel.

    - "percentiles": the percentiles `low` and `high` of all values of the image;
    - "bounds": `low` and `high` themselves;
    - "full": the least and the greatest number of the file's type.

    Values beyond them also become 0 or 255.
    """

    kind: str = "percentiles"
    low: float = 0.1
    high: float = 99.9

    @classmethod
    def parse(cls, text: str) -> IntensityRange:
        """Reads INPUT.INTENSITY_RANGE: "percentiles 0.1 99.9", "bounds 100 3500" or "full".

        Raises:
            ConfigError: the text is none of these.
        """
        kind, *numbers = str(text).split() or [""]
        try:
            low, high = map(float, numbers) if kind != "full" else (float(*numbers), 1.0)
        except (TypeError, ValueError):
            low, high = 0.0, -1.0
        least, greatest = _LIMITS.get(kind, (0.0, 0.0))
        if not least <= low < high <= greatest:
            raise ConfigError(
                f"The intensity range is {text!r}; it must be 'percentiles LOW HIGH' with "
                "percentages, 'bounds LOW HIGH' with values of the images, or 'full'."
            )
        return cls(kind, low, high)

    def __str__(self) -> str:
        return self.kind if self.kind == "full" else f"{self.kind} {self.low:g} {self.high:g}"


class Reading(NamedTuple):
    """How image files are read."""

    intensity_range: IntensityRange = IntensityRange()
    pages: tuple[int, ...] = ()
    """The page to read from files with several pages, counted from 0; or three pages, which become
    red, green and blue. (): such files are refused."""
    channels: tuple[int, ...] = ()
    """The channel to read from all files, counted from 0; or three channels, which become red,
    green and blue. (): all channels of grey and RGB images; other images are refused."""

    @classmethod
    def of(cls, keys: Mapping) -> Reading:
        """How a config wants image files to be read.

        Args:
            keys: those under INPUT; keys that are missing have their defaults.

        Raises:
            ConfigError: a value is not valid.
        """
        default = cls()
        return cls(
            IntensityRange.parse(keys.get("INTENSITY_RANGE", default.intensity_range)),
            _numbers("PAGES", keys),
            _numbers("CHANNELS", keys),
        )


def _numbers(key: str, keys: Mapping) -> tuple[int, ...]:
    value = keys.get(key, ())
    several = isinstance(value, (tuple, list)) and len(value) in (0, 1, 3)
    if not several or any(type(n) is not int or n < 0 for n in value):
        raise ConfigError(
            f"INPUT.{key} is {value!r}; it must be (N,) with a number from 0 on, three numbers for "
            "red, green and blue, or ()."
        )
    return tuple(value)


def find_unreadable(header: Header, reading: Reading, in_parts: bool = False) -> str:
    """Why a file cannot be read in this way, for the end of a sentence; "" if it can.

    Args:
        in_parts: it is not read at once, so it may have any size.
    """
    if not in_parts and (too_large := tell_too_large(*header.size)):
        return too_large
    if header.pages > 1 and not reading.pages:
        return (
            f"has {header.pages} pages: choose one of them by INPUT.PAGES (N,), counted from 0 "
            "(semiconv predict: --plane N), or save the right page as a file of its own"
        )
    if header.pages > 1 and max(reading.pages) >= header.pages:
        return (
            f"has {header.pages} pages, counted from 0, but INPUT.PAGES (--plane) is "
            f"{reading.pages}"
        )
    if reading.channels and max(reading.channels) >= header.channels:
        return (
            f"has {header.channels} channel{'s' * (header.channels != 1)}, counted from 0, but "
            f"INPUT.CHANNELS (--channel) is {reading.channels}"
        )
    if not reading.channels and header.channels not in (1, 3):
        return (
            f"has {header.channels} channels: choose one by INPUT.CHANNELS (N,), counted from 0 "
            "(semiconv predict: --channel N), or three, which become red, green and blue"
        )
    if len(reading.pages) == 3 and header.pages > 1 and (header.channels > 1 or reading.channels):
        return "has several pages: INPUT.PAGES can name three only if each page has one channel"
    return ""


def is_special(header: Header, reading: Reading) -> bool:
    """Whether another program may read a file in another way."""
    return header.bits > 8 or header.pages > 1 or bool(reading.channels)


def read_rgb(path: Path, reading: Reading = Reading()) -> np.ndarray:
    """Pixels of an image file, (H, W, 3) uint8, RGB.

    Raises:
        DatasetError: the file is missing, damaged or not an image, or cannot be read in this way.
    """
    header = read_header(path)
    problem = find_unreadable(header, reading)
    if problem:
        raise DatasetError(f"{path} {problem}")
    pages = reading.pages if header.pages > 1 else (0,)
    values = np.concatenate([read_page(path, header, page) for page in pages], axis=2)
    if reading.channels:
        values = values[..., list(reading.channels)]
    if values.dtype != np.uint8:
        values = scale_to_8bit(values, reading.intensity_range, str(path))
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def scale_to_8bit(
    values: np.ndarray, intensity_range: IntensityRange, name: str = "the image"
) -> np.ndarray:
    """Values of more than 8 bits as uint8, in the same shape.

    Args:
        values: whole numbers or fractions. NaN becomes 0; infinity lies beyond any limit.
        name: of the image, for messages.

    Raises:
        DatasetError: the range is "full" and the values are fractions, which have no full range.
    """
    return scale_between(values, *intensity_limits(values, intensity_range, name))


def scale_between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values of more than 8 bits as uint8, in the same shape: `low` and below become 0, `high` and
    above 255. NaN becomes 0."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:  # a table is faster
        every = np.arange(np.iinfo(values.dtype).max + 1)
        return _scale(every, low, high)[values]
    return _scale(values, low, high)


def intensity_limits(
    values: np.ndarray, intensity_range: IntensityRange, name: str = "the image"
) -> tuple[float, float]:
    """The values of an image that become 0 and 255; for the arguments and errors see
    `scale_to_8bit`."""
    kind, low, high = intensity_range
    if kind == "full":
        if values.dtype.kind == "f":
            raise DatasetError(
                f"{name} has fractions, which have no full range: choose percentiles or bounds by "
                "INPUT.INTENSITY_RANGE"
            )
        limits = np.iinfo(values.dtype)
        return float(limits.min), float(limits.max)
    if kind == "bounds":
        return low, high
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return 0.0, 1.0
    first, last = np.percentile(finite, (low, high))
    if first == last:  # all but a few pixels are the same
        first, last = finite.min(), finite.max()
    return float(first), float(last)


def _scale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    shares = (values.astype(np.float64) - low) / (high - low if high > low else 1)
    shares = np.nan_to_num(shares, nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)
