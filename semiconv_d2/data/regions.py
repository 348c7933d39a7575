"""Parts of images that are too large for the memory, read as `pixels.read_rgb` reads them whole.

A page of a TIFF is read in parts if it is stored as it is, or in tiles or strips. All other files
are read whole. `SEMICONV_MAX_MEGAPIXELS` limits what is decoded at once: a tile, a strip or a whole
image, not a file.

Of an image with more than 8 bits in a channel, the intensity range holds for the whole image and
not for a part: percentiles are taken once. In a part-wise read image of more than 16 million
pixels they are those of rows that lie evenly in it, 16 million pixels in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ..errors import DatasetError
from .files import one_line
from .image_headers import Header, frames_of, read_header
from .images import Size
from .limits import tell_too_large
from .pixels import Reading, find_unreadable, intensity_limits, read_rgb, scale_between

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage

_SAMPLED = 2**24  # pixels that percentiles are taken from
_PLAIN = (0, 1, 2)  # photometric interpretations: grey, inverted or not, and RGB
_WHITE_IS_ZERO, _YCBCR = 0, 6
_JPEG = (6, 7)  # compressions that turn YCbCr into RGB


class Regions(Protocol):
    """An image that is read in parts."""

    @property
    def size(self) -> Size:
        """Height and width in pixels."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Some of the pixels, (h, w, 3) uint8, RGB.

        Args:
            rows, columns: with a start and a stop within the image.

        Raises:
            DatasetError: the file is damaged there.
        """


class WholeImage(NamedTuple):
    """An image in memory."""

    pixels: np.ndarray
    """(H, W, 3) uint8, RGB."""

    @property
    def size(self) -> Size:
        return self.pixels.shape[:2]

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self.pixels[rows, columns]


@contextmanager
def open_regions(path: Path, reading: Reading = Reading()) -> Iterator[Regions]:
    """Opens an image file to read parts of it.

    Raises:
        DatasetError: the file is missing, damaged or not an image, or cannot be read in this way;
            or it has too many pixels and cannot be read in parts.
    """
    header = read_header(path)
    if problem := find_unreadable(header, reading, in_parts=True):
        raise DatasetError(f"{path} {problem}")
    pages = reading.pages if header.pages > 1 else (0,)
    with ExitStack() as opened:
        try:
            sources = [_open_page(path, header, page, opened) for page in pages]
        except _NotInPartsError as reason:
            if too_large := tell_too_large(*header.size, remedy=reason.remedy):
                raise DatasetError(
                    f"{path} cannot be read in parts, since {reason}, and it {too_large}"
                ) from reason
            sources = []
        yield (
            _StoredImage(path, header.size, sources, reading)
            if sources
            else WholeImage(read_rgb(path, reading))
        )


class _NotInPartsError(Exception):
    """Why a file has to be read whole, and what to do if it is too large for that."""

    def __init__(self, reason: str, remedy: str = "save it as a grey or RGB TIFF with tiles"):
        super().__init__(reason)
        self.remedy = remedy


_Source = Callable[[slice, slice], np.ndarray]
"""Reads rows and columns of a page: (h, w, C) of the stored type, without alpha."""


class _StoredImage:
    """A page of a TIFF, or three that become red, green and blue."""

    def __init__(self, path: Path, size: Size, sources: list[_Source], reading: Reading):
        self.size = size
        self._path = path
        self._sources = sources
        self._channels = list(reading.channels)
        self._limits = (0.0, 1.0)
        if self._stored(slice(0, 1), slice(0, 1)).dtype != np.uint8:
            self._limits = intensity_limits(self._sample(), reading.intensity_range, str(path))

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        values = self._stored(rows, columns)
        if values.dtype != np.uint8:
            values = scale_between(values, *self._limits)
        return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))

    def _stored(self, rows: slice, columns: slice) -> np.ndarray:
        try:
            parts = [source(rows, columns) for source in self._sources]
        except DatasetError:
            raise
        except Exception as error:  # readers of damaged files raise whatever comes up
            told = one_line(error) or type(error).__name__
            raise DatasetError(f"cannot read the image {self._path}: {told}") from error
        values = np.concatenate(parts, axis=2)
        return values[..., self._channels] if self._channels else values

    def _sample(self) -> np.ndarray:
        """Values of all rows, or of bands of rows that lie evenly in the image."""
        height, width = self.size
        if height * width <= _SAMPLED:
            return self._stored(slice(0, height), slice(0, width))
        bands = min(height, 64)
        thick = max(1, _SAMPLED // (width * bands))
        starts = np.linspace(0, height - thick, bands).astype(int).tolist()
        return np.concatenate(
            [self._stored(slice(s, s + thick), slice(0, width)) for s in starts], axis=0
        )


def _open_page(path: Path, header: Header, number: int, opened: ExitStack) -> _Source:
    """
    Args:
        number: of the image among those of full size in the file.

    Raises:
        _NotInPartsError: the page has to be read whole.
    """
    if header.orientation != 1:
        raise _NotInPartsError("its EXIF orientation turns it")
    if not header.is_tiff:
        raise _NotInPartsError("it is no TIFF")
    from tifffile import TiffFile

    tiff = opened.enter_context(TiffFile(path, is_ome=False))
    series, place = frames_of(tiff)[number]
    page = series.keyframe
    jpeg = page.photometric == _YCBCR and page.compression in _JPEG
    if header.bits not in (8, 16, 32, 64) or not (page.photometric in _PLAIN or jpeg):
        raise _NotInPartsError("its colours are not stored as grey or RGB")
    if page.imagelength != header.size[0] or page.imagewidth != header.size[1]:
        raise _NotInPartsError(f"page {number} has another size than the first")
    inverted = page.photometric == _WHITE_IS_ZERO
    planes_first = page.axes.startswith("S") and page.ndim == 3
    one_header = page.size * len(series.pages) < series.size  # as ImageJ writes stacks
    frame = page if one_header else series.pages[place]
    if frame is None:
        raise DatasetError(f"cannot read the image {path}: page {number} is missing")
    if one_header or frame.is_memmappable:
        kind = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
        offset = frame.dataoffsets[0] + (place * page.nbytes if one_header else 0)
        source = _mapped(np.memmap(path, kind, "r", offset, page.shape), planes_first)
    else:
        source = _segments(path, tiff, frame, page)
    return lambda rows, columns: _as_shown(source(rows, columns)[..., : header.channels], inverted)


def _as_shown(values: np.ndarray, inverted: bool) -> np.ndarray:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if inverted and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return values


def _mapped(values: np.ndarray, planes_first: bool) -> _Source:
    if values.ndim == 2:
        values = values[..., None]
    elif planes_first:
        values = np.moveaxis(values, 0, -1)
    return lambda rows, columns: np.array(values[rows, columns])


def _segments(path: Path, tiff: TiffFile, frame: TiffPage | TiffFrame, page: TiffPage) -> _Source:
    """Reads a page whose tiles or strips are decoded one by one.

    Args:
        frame: says where they are in the file.
        page: says how they are stored.

    Raises:
        _NotInPartsError: its compression needs another package.
        DatasetError: a tile or strip is too large.
    """
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    samples = page.samplesperpixel // planes
    tall, wide = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    if too_large := tell_too_large(tall, wide, remedy="save it with smaller tiles"):
        raise DatasetError(f"{path}: a tile or strip of it {too_large}")
    down, across = -(-page.imagelength // tall), -(-page.imagewidth // wide)

    def decode(index: int) -> tuple[np.ndarray | None, int, int]:
        """(h, w, C) of a segment, None if it is empty; its first row and column."""
        count = frame.databytecounts[index]
        tiff.filehandle.seek(frame.dataoffsets[index])
        data = tiff.filehandle.read(count) if count else None
        values, (_, _, top, left, _), _ = page.decode(data, index, jpegtables=page.jpegtables)
        return None if values is None else values[0], top, left

    try:
        decode(0)
    except (ValueError, NotImplementedError, ImportError) as error:
        raise _NotInPartsError(
            "its compression needs another package", "pip install imagecodecs"
        ) from error

    def read(rows: slice, columns: slice) -> np.ndarray:
        height, width = rows.stop - rows.start, columns.stop - columns.start
        part = np.full((height, width, planes * samples), page.nodata, dtype=page.dtype)
        for plane in range(planes):
            channels = slice(plane * samples, (plane + 1) * samples)
            for row in range(rows.start // tall, -(-rows.stop // tall)):
                for column in range(columns.start // wide, -(-columns.stop // wide)):
                    values, top, left = decode((plane * down + row) * across + column)
                    if values is not None:
                        _paste(values, top - rows.start, left - columns.start, part[..., channels])
        return part

    return read


def _paste(values: np.ndarray, top: int, left: int, part: np.ndarray) -> None:
    """Copies what a segment (h, w, C) has of a part of the image, in place.

    Args:
        top, left: of the segment in the frame of the part; they may be negative.
    """
    bottom, right = top + values.shape[0], left + values.shape[1]
    y0, y1 = max(0, top), min(part.shape[0], bottom)
    x0, x1 = max(0, left), min(part.shape[1], right)
    part[y0:y1, x0:x1] = values[y0 - top : y1 - top, x0 - left : x1 - left]
