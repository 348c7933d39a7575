"""What is wrong with the image files of a dataset in COCO's format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..images import DEEP_MODES, Size, read_orientation
from ..names import FolderIndex, base_name, is_file, meant_names
from .defects import Findings, Repair


class Header(NamedTuple):
    """What an image file says of itself."""

    size: Size
    """Height and width as Detectron2 gets it: turned as EXIF's orientation says."""
    orientation: int
    """EXIF's, 1 where it says nothing."""


def find_file(
    image_root: Path,
    name: str,
    bases: Mapping[str, int],
    files: FolderIndex,
    index: int,
    found: Findings,
) -> Path | None:
    """Path of an image that is there, if need be by another name that is meant.

    Args:
        bases: how many file names have this `base_name`, in lower case.
        files: those of the folder of images.
        index: of the image, for what is found to be wrong.
    """
    path = image_root / name
    if is_file(path):
        return path
    base = base_name(name)
    alone = bases[base.lower()] == 1  # else nobody can tell which of them it is
    meant = next((m for m in meant_names(name, alone) if is_file(image_root / m)), None)
    if meant is None and alone and (elsewhere := files.only(base)) is not None:
        meant = elsewhere.as_posix()
    if meant is None:
        found.add(index, "file-missing", f"there is no {path}", Repair.DROP)
        return None
    what = f"there is no {path}, but there is {meant}"
    found.add(index, "file-missing", what, Repair.SET, {"file_name": meant})
    return image_root / meant


def check_header(path: Path, index: int, decode: bool, found: Findings) -> Header | None:
    """What an image file says, None where it cannot be read.

    Args:
        index: of the image, for what is found to be wrong.
        decode: read the pixels, too, so that damage is found.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            (width, height), mode = image.size, image.mode
            # A PNG may have EXIF after its pixels: then Pillow decodes it to find that.
            late = image.format == "PNG" and "exif" not in image.info
            orientation = 1 if late else read_orientation(image)
            if decode:
                image.load()
                orientation = read_orientation(image) if late else orientation
    except Exception as error:  # Pillow's readers of damaged files raise whatever they come across
        what = f"it cannot be read ({type(error).__name__}: {error})"
        found.add(index, "file-unreadable", what, Repair.DROP)
        return None
    if orientation > 1:
        what = (
            f"Detectron2 turns it, since its EXIF orientation is {orientation}: see that its masks "
            f"are meant for the turned image"
        )
        found.add(index, "image-turned", what)
    if mode in DEEP_MODES:
        what = (
            f"its pixels are of mode {mode}; Detectron2 makes 8 bits of them and cuts off what is "
            f"over 255"
        )
        found.add(index, "image-depth", what)
    return Header((width, height) if orientation >= 5 else (height, width), orientation)
