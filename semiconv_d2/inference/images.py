"""Images as models take them, from files, Pillow images and arrays."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from detectron2.data.detection_utils import read_image
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import log_first_n

from ..data.images import DEEP_MODES, STRETCH, read_8bit

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageLike = np.ndarray | Image | str | Path

logger = logging.getLogger(__name__)


def read_rgb(image: ImageLike) -> np.ndarray:
    """An image as (H, W, 3) uint8, RGB; files the way their EXIF data turn them.

    Grey files of more than 8 bits are stretched as `semiconv convert` does it with those that are
    trained on, and of several pages the first one is taken; both is said.

    Raises:
        ValueError: an array has another shape or type, or something that is no file more than 8
            bits.
        OSError: a file is missing or no image.
    """
    if isinstance(image, (str, Path)):
        return _read_file(str(image))
    from PIL.Image import Image

    if not isinstance(image, (np.ndarray, Image)):
        raise ValueError(
            f"The image is a {type(image).__name__}; it must be a file, a Pillow image or an array."
        )
    if isinstance(image, Image):
        if image.mode in DEEP_MODES:
            raise ValueError(
                f"The image has the mode {image.mode}, more than 8 bits, of which Pillow cuts off "
                "what is bright: name its file, which is stretched, or convert it to 8 bits."
            )
        return np.asarray(image.convert("RGB"))
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not fits or not image.size:
        raise ValueError(
            f"The image is an array of {image.dtype} with the shape {image.shape}; it must be "
            "uint8, (height, width, 3) in RGB or (height, width)."
        )
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _read_file(name: str) -> np.ndarray:
    from PIL import Image

    path = PathManager.get_local_path(name)
    with Image.open(path) as header:
        deep = header.mode in DEEP_MODES
        # MPO, a JPEG of some cameras, has a preview as its second page.
        pages = 1 if header.format == "MPO" else getattr(header, "n_frames", 1)
    if deep:
        log_first_n(
            logging.WARNING,
            f"{name} has more than 8 bits. Such images are stretched to 8, each between its "
            f"{STRETCH[0]} and {STRETCH[1]} percentile, as `semiconv convert` does. If the model "
            "has learned from images that were converted in another way, convert them so too.",
            name=__name__,
        )
        return np.repeat(read_8bit(Path(path))[..., None], 3, axis=2)
    if pages > 1:
        logger.warning("%s has %d pages, of which the first one is taken.", name, pages)
    return read_image(path, "RGB")
