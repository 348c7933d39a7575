"""Image files: sizes, orientations and pixels, with errors that name the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import DatasetError
from ..writing import write_whole
from .files import one_line
from .limits import no_limit_of_pillow, tell_too_large

if TYPE_CHECKING:
    from PIL import Image

Result = TypeVar("Result")

Size = tuple[int, int]
"""Height and width of an image in pixels."""

_SUFFIXES = (
    *(".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff"),
    ".webp",
)
_ORIENTATION = 274  # EXIF's tag; from 5 on height and width are exchanged


def is_image(path: Path) -> bool:
    """Whether a file counts as an image, by its name."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def open_image(path: Path, read: Callable[[Image.Image], Result]) -> Result:
    """Opens an image file of one page, and returns what `read` makes of it.

    Raises:
        DatasetError: the file is missing, damaged, too large, not an image, or has several
            pages.
    """
    from PIL import Image

    try:
        with no_limit_of_pillow(), Image.open(path) as image:
            too_large = tell_too_large(image.height, image.width)
            # MPO, a JPEG of some cameras, has a preview as its second page.
            pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            result = read(image) if pages == 1 and not too_large else None
    except Exception as error:  # Pillow's readers of damaged files raise whatever comes up
        message = one_line(error) or type(error).__name__
        raise DatasetError(f"cannot read the image {path}: {message}") from error
    if too_large:
        raise DatasetError(f"{path} {too_large}")
    if result is None:
        raise DatasetError(f"{path} has {pages} pages: save the right page as a file of its own")
    return result


def read_image(path: Path, modes: Iterable[str], expected: str = "") -> np.ndarray:
    """Pixels of an image file, as its mode stores them: (H, W) or (H, W, C).

    Args:
        modes: Pillow's names of the modes that are accepted, such as "L" or "P".
        expected: text for a message, instead of these names.

    Raises:
        DatasetError: see `open_image`, or the image is of another mode.
    """
    mode, pixels = open_image(path, lambda image: (image.mode, np.asarray(image)))
    if mode not in modes:
        expected = expected or " or ".join(modes)
        raise DatasetError(f"{path} is an image of mode {mode}, expected {expected}")
    return pixels


def read_image_size(path: Path) -> Size:
    """Height and width of an image file as it is stored, from its header; see `open_image`."""
    return open_image(path, lambda image: (image.height, image.width))


def read_orientation(image: Image.Image) -> int:
    """EXIF orientation, from 1 to 8; 1 if it is missing or not valid, as in Detectron2."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Detectron2 takes any error for no EXIF
        return 1
    return orientation if orientation in range(1, 9) else 1


def tell_turning(path: Path) -> str:
    """The end of a message about an image of another size than its annotations. If its EXIF
    orientation turns the image, it says so and how to mend that; otherwise it is ""."""
    orientation = open_image(path, read_orientation)
    if orientation == 1:
        return ""
    return (
        f", because its EXIF orientation {orientation} turns it: if the annotations are for the "
        f"image as it is stored, save it without that orientation"
    )


def require_size(
    what: str, pixels: np.ndarray, other: str, size: Size, image: Path | None = None
) -> None:
    """Check the size of what belongs to an image.

    Args:
        what: begins the message, as in "a.png is".
        pixels: (H, W), or of a wrong shape.
        other: what has the right size, as in "its image is".
        image: file of the image, if its orientation may be the reason.

    Raises:
        DatasetError: naming both sizes.
    """
    if pixels.shape != size:
        turning = "" if image is None else tell_turning(image)
        raise DatasetError(f"{what} {pixels.shape} pixels (height, width), {other} {size}{turning}")


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) uint8; as a grey image if all channels are the same."""
    from PIL import Image

    grey = pixels.ndim == 3 and not np.ptp(pixels, axis=2).any()
    tiff = path.suffix.lower() in (".tif", ".tiff")
    keys = {"format": "TIFF", "compression": "tiff_deflate"} if tiff else {"format": "PNG"}
    with write_whole(path, "wb") as file:
        Image.fromarray(pixels[..., 0] if grey else pixels).save(file, **keys)
