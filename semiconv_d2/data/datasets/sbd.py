"""Semantic Boundaries Dataset, and its union with PASCAL VOC 2012 that models are trained on.

Images and classes are those of VOC. The instances are outlined more coarsely, but in many more
images. An instance file `inst/<name>.mat` is a MATLAB struct `GTinst`: its `Segmentation`
numbers the instances of an image, 0 being background, and its `Categories` has the class of each.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..coco.coco_json import CocoImage
from ..files import one_line, require_folders
from ..images import read_image_size, require_size
from . import voc
from .prepared import Summary, clear_prepared, datasets_root, link_images, write_prepared

CATEGORIES = voc.CATEGORIES
"""Class c of an instance is the c-th of them, counted from 1."""

FOLDER = "sbd"
SPLITS = ("train", "val")

UNION_FOLDER = "sbd_voc_2012"
UNION_SPLITS = ("train",)
UNION_YEAR = 2012

BACKGROUND = 0

_FOLDERS = ("img", "inst")
_FIELDS = ("Segmentation", "Categories")


def prepare_sbd(root: Path, output: Path | None = None) -> Summary:
    """Write the COCO JSON of both splits; the images themselves are linked to.

    Args:
        root: the folder `benchmark_RELEASE/dataset` of the download.
        output: folder to write; by default the one that Detectron2's registered names read.

    Raises:
        DatasetError: a folder or file is missing or damaged, a segmentation does not fit its
            image, an instance has no category, or SciPy is not installed.
    """
    splits = read_splits(root)
    output = output or datasets_root() / FOLDER
    clear_prepared(output, SPLITS)
    names = chain(*splits.values())
    link_images(output, images_folder(root), (f"{name}.jpg" for name in names))
    return write_prepared(output, CATEGORIES, splits, lambda name: read_instances(root, name))


def prepare_union(root: Path, voc_root: Path, output: Path | None = None) -> Summary:
    """Write the COCO JSON of one training split: SBD's train and val, and VOC 2012's train.

    Images of VOC 2012's val are left out, also if they are in SBD. An image of both datasets has
    the annotation of VOC, which is finer.

    Args:
        root: the folder `benchmark_RELEASE/dataset` of the download.
        voc_root: the folder VOCdevkit/VOC2012.
        output: folder to write; by default the one that Detectron2's registered name reads.

    Raises:
        DatasetError: as `prepare_sbd` and `voc.prepare_voc` raise it, or `voc_root` is another
            year's.
    """
    of_sbd = dict.fromkeys(chain(*read_splits(root).values()))  # a set that keeps the order
    of_voc = voc.read_splits(voc_root)
    year = voc.told_year(voc_root)
    if year not in (None, UNION_YEAR):
        raise DatasetError(f"{voc_root} is of {year}: give the folder of VOC {UNION_YEAR}")
    finer, left_out = dict.fromkeys(of_voc["train"]), set(of_voc["val"])
    keys = [("sbd", name) for name in of_sbd if name not in finer and name not in left_out]
    keys += [("voc", name) for name in finer if name not in left_out]
    output = output or datasets_root() / UNION_FOLDER
    clear_prepared(output, UNION_SPLITS)
    folders = {"sbd": images_folder(root), "voc": voc.images_folder(voc_root)}
    for part, folder in folders.items():
        link_images(output, folder, (f"{name}.jpg" for p, name in keys if p == part), part)

    def read(key: tuple[str, str]) -> CocoImage:
        part, name = key
        image = read_instances(root, name) if part == "sbd" else voc.read_instances(voc_root, name)
        return image._replace(file_name=f"{part}/{image.file_name}")

    summary = write_prepared(output, CATEGORIES, dict.fromkeys(UNION_SPLITS, keys), read)
    note = (
        f"images of VOC {UNION_YEAR} val left out: {len((of_sbd | finer).keys() & left_out)}, "
        f"images of both with VOC's annotation: {len(of_sbd.keys() & (finer.keys() - left_out))}"
    )
    return replace(summary, note=note)


def images_folder(root: Path) -> Path:
    return root / "img"


def read_splits(root: Path) -> dict[str, list[str]]:
    """Names of the images of each of `SPLITS`, without extension.

    Raises:
        DatasetError: a folder or list is missing, or see `voc.read_names`.
    """
    require_folders(root, _FOLDERS, "the folder benchmark_RELEASE/dataset of SBD")
    return {split: voc.read_names(root / f"{split}.txt", images_folder(root)) for split in SPLITS}


def read_instances(root: Path, name: str) -> CocoImage:
    """Masks and categories of an image's instances, in the order of their numbers.

    Instances that have a category but no pixels are skipped.

    Raises:
        DatasetError: naming the file that is missing, damaged or of another size than the image,
            or the instance without a category.
    """
    size = read_image_size(images_folder(root) / f"{name}.jpg")
    path = root / "inst" / f"{name}.mat"
    segmentation, categories = read_annotation(path)
    require_size(f"the Segmentation of {path} is", segmentation, "its image in img is", size)
    instances = []
    for number in np.setdiff1d(segmentation, BACKGROUND):
        if not 1 <= number <= len(categories):
            raise DatasetError(
                f"{path}: instance {number} has no category, Categories has {len(categories)}"
            )
        category = int(categories[number - 1])
        if not 1 <= category <= len(CATEGORIES):
            raise DatasetError(
                f"{path}: instance {number} has the category {category}, which is not in "
                f"1..{len(CATEGORIES)}"
            )
        instances.append((segmentation == number, category))
    return CocoImage(f"{name}.jpg", *size, instances)


def read_annotation(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Instance number of every pixel, (H, W) int64, and category of each instance, (N,) int64.

    Raises:
        DatasetError: the file is missing or damaged, it lacks `GTinst` or one of its fields, or
            SciPy is not installed.
    """
    struct = np.asarray(_read_mat(path).get("GTinst"))
    names = struct.dtype.names or ()
    missing = [field for field in _FIELDS if field not in names]
    if missing or struct.size != 1:
        raise DatasetError(
            f"{path} is not an instance file of SBD: expected one struct GTinst with "
            f"{' and '.join(_FIELDS)}" + (f"; missing: {', '.join(missing)}" if missing else "")
        )
    segmentation, categories = (_whole_numbers(path, name, struct[name].item()) for name in _FIELDS)
    return segmentation, categories.reshape(-1)


def _read_mat(path: Path) -> dict:
    """Variables of a MATLAB file by their names; only `GTinst` is read."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError(f"reading {path} needs SciPy: pip install scipy") from error
    try:
        return loadmat(path, appendmat=False, variable_names=["GTinst"])
    except Exception as error:  # SciPy raises nearly anything if a file is damaged
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise DatasetError(f"cannot read {path}: {reason}") from error


def _whole_numbers(path: Path, field: str, values: object) -> np.ndarray:
    """A matrix of whole numbers, of whatever type MATLAB wrote them in, as int64."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        kind = values.dtype.kind
        if kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
            return values.astype(np.int64)
        if kind in ("b", "u", "i"):
            return values.astype(np.int64)
    raise DatasetError(f"{field} of GTinst in {path} is not a matrix of whole numbers")
