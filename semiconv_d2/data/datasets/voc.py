"""Instance masks of PASCAL VOC: one year of a VOCdevkit, such as VOCdevkit/VOC2012.

`SegmentationObject` numbers the instances of an image and `SegmentationClass` holds the class of
every pixel; both are palette images in which 0 is background and 255 void, the border around
objects, which belongs to nothing.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..coco.coco_json import CocoImage
from ..files import read_lines, require_folders
from ..images import Size, read_image, read_image_size, require_size
from .prepared import Summary, clear_prepared, datasets_root, link_images, write_prepared

CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
"""Class c of SegmentationClass is the c-th of them, counted from 1."""

YEARS = (2007, 2012)
SPLITS = ("train", "val")
BACKGROUND, VOID = 0, 255

_IMAGE_SETS = "ImageSets/Segmentation"
_FOLDERS = ("JPEGImages", "SegmentationObject", "SegmentationClass", _IMAGE_SETS)


def folder_name(year: int) -> str:
    """Name of a year's prepared folder."""
    return f"voc_{year}"


def prepare_voc(root: Path, output: Path | None = None, year: int | None = None) -> Summary:
    """Write the COCO JSON of a year's segmentation images; the images themselves are linked to.

    Args:
        root: the year's folder, with JPEGImages, SegmentationObject and so on.
        output: folder to write; by default the one that Detectron2's registered names of the
            year read.
        year: 2007 or 2012; needed only if `output` is left out, and neither the folder's name nor
            its annotations tell the year.

    Raises:
        DatasetError: a folder or file is missing or damaged, a mask does not fit its image, an
            instance has no class, or the year is unknown.
    """
    splits = read_splits(root)
    if output is None:
        output = datasets_root() / folder_name(find_year(root) if year is None else year)
    clear_prepared(output, SPLITS)
    names = chain(*splits.values())
    link_images(output, images_folder(root), (f"{name}.jpg" for name in names))
    return write_prepared(output, CATEGORIES, splits, lambda name: read_instances(root, name))


def find_year(root: Path) -> int:
    """Year of a VOCdevkit folder, from its name or else from its annotations.

    Raises:
        DatasetError: neither tells the year, or the year is not one of `YEARS`.
    """
    year = told_year(root)
    if year is None:
        raise DatasetError(
            f"neither the name of {root} nor the <folder> of an annotation in it tells the year: "
            f"give --year or --output"
        )
    if year not in YEARS:
        raise DatasetError(f"{root} is of {year}, which has no folder of its own: give --output")
    return year


def told_year(root: Path) -> int | None:
    """Year of a VOCdevkit folder as in `find_year`, but any year; None if nothing tells it."""
    annotation = min((root / "Annotations").glob("*.xml"), default=None)
    tag = "" if annotation is None else annotation.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"VOC(\d{4})", root.absolute().name) or re.search(
        r"<folder>\s*VOC(\d{4})\s*</folder>", tag
    )
    return None if found is None else int(found[1])


def images_folder(root: Path) -> Path:
    return root / "JPEGImages"


def read_splits(root: Path) -> dict[str, list[str]]:
    """Names of the images of each of `SPLITS` of the segmentation task, without extension.

    Raises:
        DatasetError: a folder or list is missing, or see `read_names`.
    """
    require_folders(root, _FOLDERS, "a year of a VOCdevkit")
    lists = {split: root / _IMAGE_SETS / f"{split}.txt" for split in SPLITS}
    return {split: read_names(path, images_folder(root)) for split, path in lists.items()}


def read_names(path: Path, images: Path) -> list[str]:
    """Names of images in a list, one in a line, without extension.

    Raises:
        DatasetError: the list is missing or empty, or it names an image whose JPEG is not in the
            folder `images`.
    """
    names = read_lines(path)
    if not names:
        raise DatasetError(f"{path} names no images")
    for name in names:
        jpeg = images / f"{name}.jpg"
        if not jpeg.is_file():
            raise DatasetError(f"{path} names an image that is missing: {jpeg}")
    return names


def read_instances(root: Path, name: str) -> CocoImage:
    """Masks and categories of an image's instances, in the order of their numbers, and its void.

    The category of an instance is the class of most of its pixels.

    Raises:
        DatasetError: naming the file that is missing, damaged or of another size than the image,
            or the instance without a class.
    """
    size = read_image_size(images_folder(root) / f"{name}.jpg")
    objects = _read_mask(root / "SegmentationObject" / f"{name}.png", size)
    class_path = root / "SegmentationClass" / f"{name}.png"
    classes = _read_mask(class_path, size)
    instances = []
    for number in np.setdiff1d(objects, (BACKGROUND, VOID)):
        mask = objects == number
        votes = np.bincount(classes[mask], minlength=VOID + 1)
        votes[[BACKGROUND, VOID]] = 0
        category = int(votes.argmax())
        if not votes.any():
            raise DatasetError(f"{class_path}: instance {number} has no pixel with a class")
        if category > len(CATEGORIES):
            raise DatasetError(f"{class_path}: instance {number} has the unknown class {category}")
        instances.append((mask, category))
    return CocoImage(f"{name}.jpg", *size, instances, void=objects == VOID)


def _read_mask(path: Path, size: Size) -> np.ndarray:
    mask = read_image(path, modes=("P", "L"))
    require_size(f"{path} is", mask, "its image in JPEGImages is", size)
    return mask
