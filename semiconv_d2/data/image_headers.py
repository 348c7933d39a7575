"""Headers of image files, and their pages as they are stored.

Pillow reads most files. tifffile describes TIFF: it knows the true depth and all pages. OpenCV
reads colours of more than 8 bits, because Pillow keeps only their high byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import DatasetError
from .files import one_line
from .images import Size, read_orientation
from .limits import no_limit_of_pillow, tell_too_large
from .names import is_file

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's names of the modes with more than 8 bits in a channel."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY = ("1", "L", "LA", *DEEP_MODES)
_KEPT = ("L", "LA", "RGB", "RGBA", *DEEP_MODES)
_ORIENTATION = 274  # a TIFF's tag
_ALPHA = (1, 2)  # kinds of extra samples in a TIFF
_WHITE_IS_ZERO = 0  # a photometric interpretation of a TIFF
_MADE_RGB = (3, 5, 6)  # interpretations that Pillow turns into RGB: palette, CMYK and YCbCr
_HEAD = 512  # first bytes, which have the depth of PNG, JPEG 2000 and PNM


class Header(NamedTuple):
    """The header of an image file."""

    size: Size
    """Height and width of the first page, as it is shown."""
    orientation: int
    """EXIF orientation, from 1 to 8; 1 if there is none."""
    pages: int
    channels: int
    """Number of channels in a page, without alpha."""
    bits: int
    """Number of bits in a channel."""
    read_page: Callable[[int], np.ndarray]
    """Reads a page, turned by its orientation: (H, W, C) of the stored type, with alpha if any."""
    is_tiff: bool = False


def read_header(path: Path) -> Header:
    """Describe an image file without decoding it.

    Raises:
        DatasetError: the file is missing, its header is damaged, or it is not an image.
    """
    if not is_file(path):
        raise DatasetError(f"there is no image {path}")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return _describe_tiff(path) if head[:4] in _TIFF else _describe_other(path, head)
    except Exception as error:  # readers of damaged files raise whatever comes up
        raise DatasetError(f"cannot read the image {path}: {_tell(error)}") from error


def read_page(path: Path, header: Header, page: int) -> np.ndarray:
    """A page of a file, (H, W, C) of the stored type, without alpha.

    Raises:
        DatasetError: the file is damaged, or needs a library that is not installed.
    """
    try:
        values = header.read_page(page)
    except Exception as error:
        raise DatasetError(f"cannot read the image {path}: {_tell(error)}") from error
    values = values[..., None] if values.ndim == 2 else values
    if values.shape[:2] != header.size:
        raise DatasetError(
            f"{path}: page {page} has {values.shape[:2]} pixels (height, width), but the first "
            f"page has {header.size}"
        )
    return values[..., : header.channels]


def refuse_large(path: Path) -> None:
    """Check the size in the header of an image file before it is decoded.

    Raises:
        DatasetError: it has too many pixels, or cannot be read.
    """
    if too_large := tell_too_large(*read_header(path).size):
        raise DatasetError(f"{path} {too_large}")


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, …) turned and mirrored as EXIF's orientation says."""
    if orientation == 2:
        return values[:, ::-1]
    if orientation in (4, 5, 7):
        values = values[::-1]
    return np.rot90(values, {3: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(orientation, 0))


def _tell(error: Exception) -> str:
    return one_line(error) or type(error).__name__


def _shown(size: Size, orientation: int) -> Size:
    return size[::-1] if orientation >= 5 else size


def _describe_other(path: Path, head: bytes) -> Header:
    """The header of a file that is not a TIFF."""
    from PIL import Image

    with no_limit_of_pillow(), Image.open(path) as image:
        size, mode = (image.height, image.width), image.mode
        # MPO, a JPEG of some cameras, has a preview as its second page.
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        # A PNG may have EXIF after its pixels: Pillow would decode the pixels to find it.
        late = image.format == "PNG" and "exif" not in image.info
        orientation = 1 if late else read_orientation(image)
    told = _depth(head)
    kept = 16 if mode.startswith("I;16") else 32 if mode in ("I", "F") else 8  # by Pillow

    def read(page: int) -> np.ndarray:
        if told > 8 and kept != told:
            return turn(_read_with_opencv(path, page), orientation)
        return _read_with_pillow(path, page)

    channels = 1 if mode in _GREY else 3
    bits = told if told > 8 else kept
    return Header(_shown(size, orientation), orientation, pages, channels, bits, read)


def _depth(head: bytes) -> int:
    """Bits in a channel, from the first bytes of a PNG, JPEG 2000 or PNM; 8 for other files."""
    if head.startswith(b"\x89PNG"):
        return head[24]
    if (place := head.find(b"ihdr")) >= 0:
        return (head[place + 14] & 0x7F) + 1
    greatest = re.match(rb"P[2356]\s+(?:#.*\s+)*\d+\s+\d+\s+(\d+)", head)
    return int(greatest[1]).bit_length() if greatest else 8


def _describe_tiff(path: Path) -> Header:
    from tifffile import TiffFile

    with TiffFile(path, is_ome=False) as tiff:
        frames = frames_of(tiff)
        page = frames[0][0].keyframe
        size, samples = (page.imagelength, page.imagewidth), page.samplesperpixel
        kind = page.photometric
        tag = page.tags.get(_ORIENTATION)
        alpha = sum(extra in _ALPHA for extra in page.extrasamples)
        bits = int(np.max(page.bitspersample))
    orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else 1
    channels = 3 if bits <= 8 and kind in _MADE_RGB else samples - alpha
    usual = bits <= 8 and channels in (1, 3)
    return Header(
        _shown(size, orientation),
        orientation,
        len(frames),
        channels,
        bits,
        lambda number: _read_tiff(path, number, usual, orientation),
        is_tiff=True,
    )


def frames_of(tiff: TiffFile) -> list[tuple[TiffPageSeries, int]]:
    """The images of full size in a TIFF: for each its series, and its number in the series."""
    full = [series for series in tiff.series if not series.keyframe.is_reduced]
    return [(s, k) for s in full or tiff.series[:1] for k in range(s.size // s.keyframe.size)]


def _read_tiff(path: Path, number: int, usual: bool, orientation: int) -> np.ndarray:
    """
    Args:
        number: of the image among those of full size.
        usual: whether Pillow, which Detectron2 uses, reads it well.
    """
    import tifffile

    with tifffile.TiffFile(path, is_ome=False) as tiff:
        series, place = frames_of(tiff)[number]
        page = series.keyframe
        if page.size * len(series.pages) < series.size:  # one header for all, as ImageJ writes them
            stack = tifffile.memmap(path, series=tiff.series.index(series), mode="r")
            values = np.array(stack.reshape(-1, *page.shape)[place])
        elif (frame := series.pages[place]) is None:
            raise DatasetError(f"page {number} is missing")
        elif usual:
            return _read_with_pillow(path, frame.index)
        else:
            try:
                values = frame.asarray()
            except ValueError:  # a compression that tifffile cannot read alone
                values = _read_with_opencv(path, frame.index)
        planes_first, inverted = page.axes.startswith("S"), page.photometric == _WHITE_IS_ZERO
    values = np.moveaxis(values, 0, -1) if planes_first and values.ndim == 3 else values
    if inverted and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return turn(values, orientation)


def _read_with_pillow(path: Path, page: int) -> np.ndarray:
    from PIL import Image

    with no_limit_of_pillow(), Image.open(path) as image:
        if page:
            image.seek(page)
        image.load()
        orientation = read_orientation(image)  # 1 if Pillow itself has turned the image
        kept = image.mode in _KEPT
        shown = image if kept else image.convert("L" if image.mode == "1" else "RGB")
        return turn(np.asarray(shown), orientation)


def _read_with_opencv(path: Path, page: int) -> np.ndarray:
    """(H, W) or (H, W, C), in the order R, G, B, alpha."""
    try:
        import cv2
    except ImportError as error:
        raise DatasetError(
            "colours of more than 8 bits, and some compressions, need OpenCV: pip install "
            "opencv-python-headless"
        ) from error

    ok, pages = cv2.imreadmulti(str(path), page, 1, flags=cv2.IMREAD_UNCHANGED)
    if not ok or not pages:
        raise DatasetError("OpenCV finds no image in it")
    values = pages[0]
    return values[..., [2, 1, 0, 3][: values.shape[2]]] if values.ndim == 3 else values
