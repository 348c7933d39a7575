"""Instance masks of PASCAL VOC: one year of a VOCdevkit, such as VOCdevkit/VOC2012.

`SegmentationObject` numbers the instances of an image and `SegmentationClass` holds the class of
every pixel; both are palette images in which 0 is background and 255 void, the border around
objects, which belongs to nothing.
"""

from __future__ import annotations

import logging
import re
import shutil
from itertools import chain
from pathlib import Path

import numpy as np

from semiconv_d2.data.coco_json import CocoImage
from semiconv_d2.data.files import (
    DatasetError,
    read_image,
    read_image_size,
    read_lines,
    require_folders,
)
from semiconv_d2.data.prepared import Summary, clear_prepared, datasets_root, write_prepared

logger = logging.getLogger(__name__)

CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
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
        year: 2007 or 2012, needed only where `output` is left out and the folder's name and its
            annotations do not tell.

    Raises:
        DatasetError: a folder or file is missing or damaged, a mask does not fit its image, an
            instance has no class, or the year is unknown.
    """
    require_folders(root, _FOLDERS, "a year of a VOCdevkit")
    if output is None:
        output = datasets_root() / folder_name(find_year(root) if year is None else year)
    splits = {split: read_image_set(root, split) for split in SPLITS}
    images = clear_prepared(output, SPLITS)
    _provide_images(root / "JPEGImages", list(chain(*splits.values())), images)
    return write_prepared(output, CATEGORIES, splits, lambda name: read_instances(root, name))


def find_year(root: Path) -> int:
    """Year of a VOCdevkit folder, by its name or else by what its annotations say.

    Raises:
        DatasetError: neither tells, or the year is not one of `YEARS`.
    """
    annotation = min((root / "Annotations").glob("*.xml"), default=None)
    tag = "" if annotation is None else annotation.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"VOC(\d{4})", root.absolute().name) or re.search(
        r"<folder>\s*VOC(\d{4})\s*</folder>", tag
    )
    if found is None:
        raise DatasetError(
            f"neither the name of {root} nor the <folder> of an annotation in it tells the year: "
            f"give --year or --output"
        )
    year = int(found[1])
    if year not in YEARS:
        raise DatasetError(f"{root} is of {year}, which has no folder of its own: give --output")
    return year


def read_image_set(root: Path, split: str) -> list[str]:
    """Names of the images of a split of the segmentation task, without extension.

    Raises:
        DatasetError: the list is missing, or it names an image that is not there.
    """
    path = root / _IMAGE_SETS / f"{split}.txt"
    names = read_lines(path)
    for name in names:
        if not _jpeg(root, name).is_file():
            raise DatasetError(f"{path} names an image that is missing: {_jpeg(root, name)}")
    return names


def read_instances(root: Path, name: str) -> CocoImage:
    """Masks and categories of an image's instances, in the order of their numbers.

    The category of an instance is the class of most of its pixels.

    Raises:
        DatasetError: naming the file that is missing, damaged or of another size than the image,
            or the instance without a class.
    """
    height, width = read_image_size(_jpeg(root, name))
    objects = _read_mask(root / "SegmentationObject" / f"{name}.png", (height, width))
    class_path = root / "SegmentationClass" / f"{name}.png"
    classes = _read_mask(class_path, (height, width))
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
    return CocoImage(f"{name}.jpg", height, width, instances)


def _jpeg(root: Path, name: str) -> Path:
    return root / "JPEGImages" / f"{name}.jpg"


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    mask = read_image(path, modes=("P", "L"))
    if mask.shape != size:
        raise DatasetError(
            f"{path} is {mask.shape} pixels (height, width), its image in JPEGImages is {size}"
        )
    return mask


def _provide_images(source: Path, names: list[str], images: Path) -> None:
    """Make `images` a link to the folder of JPEGs or, where that cannot be, copy those in use."""
    if not images.exists():
        try:
            images.symlink_to(_link_target(source, images), target_is_directory=True)
            return
        except OSError as error:
            logger.warning("copying the images, since they cannot be linked to: %s", error)
    images.mkdir(exist_ok=True)
    for name in names:
        shutil.copyfile(source / f"{name}.jpg", images / f"{name}.jpg")


def _link_target(source: Path, images: Path) -> Path:
    """How a link `images` has to name the folder `source`.

    Relative where both lie below one folder of datasets, which may then be moved as a whole.
    """
    source, home = source.resolve(), images.parent.resolve().parent
    return Path("..", source.relative_to(home)) if source.is_relative_to(home) else source
