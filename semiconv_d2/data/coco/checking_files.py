"""Checks of the image files of a dataset in COCO's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...errors import DatasetError
from ..image_headers import Header, read_header
from ..limits import tell_too_large
from ..names import FolderIndex, base_name, is_file, meant_names, stem_of
from ..pixels import Reading, find_unreadable, read_rgb
from .defects import Findings, Repair


def find_file(
    image_root: Path,
    name: str,
    bases: Mapping[str, int],
    stems: Mapping[str, int],
    files: FolderIndex,
    index: int,
    found: Findings,
) -> Path | None:
    """Path of an image file that exists, if need be under another name that is meant.

    Args:
        bases: how many file names have this `base_name`, in lower case.
        stems: how many of these are the same without their extension.
        files: those of the folder of images.
        index: of the image, for reporting defects.
    """
    path = image_root / name
    if is_file(path):
        return path
    base = base_name(name)
    alone = bases[base.lower()] == 1  # else several images may be meant
    meant = next((m for m in meant_names(name, alone) if is_file(image_root / m)), None)
    if meant is None and alone and (elsewhere := files.only(base)) is not None:
        meant = elsewhere.as_posix()
    stem = stem_of(base)
    if meant is None and stems[stem.lower()] == 1 and (other := files.only_stem(stem)) is not None:
        meant = other.as_posix()
    if meant is None:
        found.add(index, "file-missing", f"there is no {path}", Repair.DROP)
        return None
    what = f"there is no {path}, but there is {meant}"
    found.add(index, "file-missing", what, Repair.SET, {"file_name": meant})
    return image_root / meant


def check_header(
    path: Path, index: int, decode: bool, reading: Reading, found: Findings
) -> Header | None:
    """The header of an image file; None if the file cannot be read.

    Args:
        index: of the image, for reporting defects.
        decode: read the pixels too, so that damage is found.
        reading: how image files are read.
    """
    try:
        header = read_header(path)
        if too_large := tell_too_large(*header.size):
            found.add(index, "image-large", f"its file {too_large}")
            return None
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
            f"it is turned, because its EXIF orientation is {header.orientation}: check that its "
            f"masks are for the turned image"
        )
        found.add(index, "image-turned", what)
    if header.bits > 8:
        what = (
            f"it has {header.bits} bits in a channel, which become 8: INPUT.INTENSITY_RANGE is "
            f"'{reading.intensity_range}'"
        )
        found.add(index, "image-depth", what)
    return header
