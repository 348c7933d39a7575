"""What is wrong with the image files of a dataset in COCO's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from ...errors import DatasetError
from ..image_headers import Header, read_header
from ..pixels import Reading, find_unreadable, read_rgb
from .defects import Findings, Repair


def leads_out(name: str) -> bool:
    """Whether a file name leads out of the folder of images."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    return path.is_absolute() or windows.is_absolute() or ".." in windows.parts


def base_name(name: str) -> str:
    """The last part of a file name that may have slashes or backslashes."""
    return PurePosixPath(name.replace("\\", "/")).name


def find_file(
    image_root: Path, name: str, bases: Mapping[str, int], index: int, found: Findings
) -> Path | None:
    """Path of an image that is there, if need be by another name that is meant.

    Args:
        bases: how many file names have this `base_name`, in lower case.
        index: of the image, for what is found to be wrong.
    """
    path = image_root / name
    if _is_file(path):
        return path
    base = base_name(name)
    meant = [name.replace("\\", "/")]
    if bases[base.lower()] == 1:  # else nobody can tell which of them it is
        meant.append(base)
    for other in [spelling for each in meant for spelling in _spellings(each)]:
        if other and _is_file(image_root / other):
            what = f"there is no {path}, but there is {other}"
            found.add(index, "file-missing", what, Repair.SET, {"file_name": other})
            return image_root / other
    found.add(index, "file-missing", f"there is no {path}", Repair.DROP)
    return None


def _spellings(name: str) -> list[str]:
    """A file name as it is, and with its extension in lower and in upper case."""
    stem, dot, extension = name.rpartition(".")
    return [name, stem + dot + extension.lower(), stem + dot + extension.upper()] if dot else [name]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, or one with a null character
        return False


def check_header(
    path: Path, index: int, decode: bool, reading: Reading, found: Findings
) -> Header | None:
    """What an image file says, None where it cannot be read.

    Args:
        index: of the image, for what is found to be wrong.
        decode: read the pixels, too, so that damage is found.
        reading: how image files are read.
    """
    try:
        header = read_header(path)
        problem = find_unreadable(header, reading)
        if decode and not problem:
            read_rgb(path, reading)
    except DatasetError as error:
        found.add(index, "file-unreadable", f"its file is damaged: {error}", Repair.DROP)
        return None
    if problem:
        found.add(index, "image-unclear", f"its file {problem}")
    if header.orientation > 1:
        what = (
            f"it is turned, since its EXIF orientation is {header.orientation}: see that its masks "
            f"are meant for the turned image"
        )
        found.add(index, "image-turned", what)
    if header.bits > 8:
        what = (
            f"it has {header.bits} bits in a channel, which become 8: INPUT.INTENSITY_RANGE is "
            f"'{reading.intensity_range}'"
        )
        found.add(index, "image-depth", what)
    return header
