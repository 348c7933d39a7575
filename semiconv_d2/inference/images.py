"""Reads images for models, from files, Pillow images and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from detectron2.utils.file_io import PathManager

from ..data import pixels
from ..data.image_headers import DEEP_MODES
from ..data.pixels import Reading
from ..data.regions import Regions, WholeImage, open_regions

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageLike = np.ndarray | Image | str | Path


def read_rgb(image: ImageLike, reading: Reading = Reading()) -> np.ndarray:
    """An image as (H, W, 3) uint8, RGB. Files are rotated as their EXIF data say.

    Args:
        image: file, Pillow image, or uint8 array: (H, W, 3) RGB, or (H, W) grey.
        reading: how files are read.

    Raises:
        ValueError: an array has another shape or type, or a Pillow image has more than 8 bits.
        DatasetError: a file is missing, damaged or not an image, or it has several pages or
            channels and `reading` does not choose one. Also a `ValueError`.
    """
    if isinstance(image, (str, Path)):
        return pixels.read_rgb(Path(PathManager.get_local_path(str(image))), reading)
    from PIL.Image import Image

    if not isinstance(image, (np.ndarray, Image)):
        raise ValueError(
            f"The image is a {type(image).__name__}; it must be a file, a Pillow image or an array."
        )
    if isinstance(image, Image):
        if image.mode in DEEP_MODES:
            raise ValueError(
                f"The image has the mode {image.mode}, more than 8 bits. Pillow would cut off its "
                "bright values: give the name of its file, which is then scaled, or convert it to "
                "8 bits."
            )
        return np.asarray(image.convert("RGB"))
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not fits or not image.size:
        raise ValueError(
            f"The image is an array of {image.dtype} with the shape {image.shape}; it must be "
            "uint8, (height, width, 3) in RGB or (height, width). To scale an array with more "
            "bits, use semiconv_d2.data.pixels.scale_to_8bit."
        )
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


@contextmanager
def open_image(image: ImageLike, reading: Reading = Reading()) -> Iterator[Regions]:
    """The same image as `read_rgb` gives, to be read in parts; files that are too large for the
    memory can be read so, see `semiconv_d2.data.regions`.

    Args and errors: as those of `read_rgb`.
    """
    if isinstance(image, (str, Path)):
        with open_regions(Path(PathManager.get_local_path(str(image))), reading) as regions:
            yield regions
    else:
        yield WholeImage(read_rgb(image, reading))
