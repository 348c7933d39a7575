"""BBBC010, the C. elegans live/dead assay of the Broad Bioimage Benchmark Collection.

It is read from the folders of its two zips of masks. The image is the binary foreground of a well:
only their shapes tell two worms apart. Or it is the microscope's image, from the zip of images:
bright field, 16 bits. Three things about the download:

- The foreground lies exactly one row lower than the masks of single worms. The masks are aligned
  with the microscope's images, so the foreground is moved up one row here.
- Worms cross, so there is one mask for each and never one label map.
- In A09, B11, C02 and C05 one piece of foreground has no mask.
"""

from __future__ import annotations

import logging
import re
from itertools import chain
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..coco.coco_json import CocoImage
from ..files import require_folders
from ..images import Size, read_image, read_image_size, require_size, write_image
from .prepared import Summary, clear_prepared, datasets_root, link_images, write_prepared
from .splits import split_by_lists

logger = logging.getLogger(__name__)

CATEGORIES = ("worm",)
FOLDER = "bbbc010"
SPLITS = ("train", "test")
TRAIN_WELLS = 50

BRIGHT_FIELD_FOLDER = "bbbc010_bright_field"

_FOREGROUND = "BBBC010_v1_foreground"
_EACH_WORM = "BBBC010_v1_foreground_eachworm"
_MICROSCOPE = "BBBC010_v1_images"


def prepare_bbbc010(root: Path, output: Path | None = None) -> Summary:
    """Write the aligned foregrounds as grey PNG files and the COCO JSON of the worms.

    Args:
        root: the folder with the two folders of the download.
        output: folder to write; by default the one that Detectron2's registered names read.

    Raises:
        DatasetError: a folder or file is missing or damaged, a well has no worms, a mask does not
            fit its image, or the wells cannot be split.
    """
    worms = find_worms(root)
    splits = split_wells(root, list(worms))
    output = output or datasets_root() / FOLDER
    images = clear_prepared(output, SPLITS)
    images.mkdir(exist_ok=True)

    def read(well: str) -> CocoImage:
        foreground = read_foreground(root, well)
        write_image(images / f"{well}.png", foreground)
        height, width = foreground.shape
        masks = (read_worm(path, (height, width)) for path in worms[well])
        return CocoImage(f"{well}.png", height, width, [(mask, 1) for mask in masks])

    return write_prepared(output, CATEGORIES, splits, read)


def prepare_bright_field(root: Path, output: Path | None = None) -> Summary:
    """Write the COCO JSON of the worms in the bright-field images, which are linked to.

    Wells without such an image are left out, and named in a warning.

    Args:
        root: the folder with the two folders of masks and that of the images.
        output: folder to write; by default the one that Detectron2's registered names read.

    Raises:
        DatasetError: as `prepare_bbbc010`, or a well has several bright-field images.
    """
    worms = find_worms(root)
    images = find_bright_field(root)
    splits = {
        split: [well for well in wells if well in images]
        for split, wells in split_wells(root, list(worms)).items()
    }
    missing = [well for well in worms if well not in images]
    if missing:
        logger.warning("wells without a bright-field image are left out: %s", ", ".join(missing))
    output = output or datasets_root() / BRIGHT_FIELD_FOLDER
    clear_prepared(output, SPLITS)
    names = (images[well].name for well in chain(*splits.values()))
    link_images(output, root / _MICROSCOPE, names)

    def read(well: str) -> CocoImage:
        size = read_image_size(images[well])
        masks = (read_worm(path, size, "bright-field image") for path in worms[well])
        return CocoImage(images[well].name, *size, [(mask, 1) for mask in masks])

    return write_prepared(output, CATEGORIES, splits, read)


def find_bright_field(root: Path) -> dict[str, Path]:
    """The bright-field image of each well, channel w2.

    Raises:
        DatasetError: the folder is missing, or a well has several images.
    """
    require_folders(root, (_MICROSCOPE,), "the unpacked download of BBBC010")
    images: dict[str, Path] = {}
    for path in sorted((root / _MICROSCOPE).iterdir()):
        named = re.search(r"_([A-Z]\d\d)_w2_.*\.tiff?$", path.name, re.IGNORECASE)
        if named is None:
            continue
        if named[1] in images:
            raise DatasetError(
                f"the well {named[1]} has two bright-field images: {images[named[1]]} and {path}"
            )
        images[named[1]] = path
    return images


def find_worms(root: Path) -> dict[str, list[Path]]:
    """Files of worm masks in the order of their numbers, for each well in sorted order.

    Raises:
        DatasetError: a folder is missing, or a well lacks its foreground or its worms.
    """
    require_folders(root, (_FOREGROUND, _EACH_WORM), "the unpacked download of BBBC010")
    worms: dict[str, list[Path]] = {
        path.name[:3]: []
        for path in sorted((root / _FOREGROUND).iterdir())
        if re.fullmatch(r"[A-Z]\d\d_binary\.png", path.name)
    }
    for path in sorted((root / _EACH_WORM).iterdir()):
        if re.fullmatch(r"[A-Z]\d\d_\d\d_ground_truth\.png", path.name):
            well = path.name[:3]
            if well not in worms:
                raise DatasetError(f"the well of {path} has no {_foreground_path(root, well)}")
            worms[well].append(path)
    for well, paths in worms.items():
        if not paths:
            raise DatasetError(f"well {well} has no {root / _EACH_WORM / well}_NN_ground_truth.png")
    return worms


def split_wells(root: Path, wells: list[str]) -> dict[str, list[str]]:
    """Wells of each of `SPLITS`.

    These are the wells listed in train_wells.txt and test_wells.txt, if these files are in the
    root; otherwise the first 50 are for training and the rest for testing. Both ways give the same
    splits for the original 100 wells.

    Args:
        wells: all wells, sorted.

    Raises:
        DatasetError: one of the lists is missing, a listed well is not there or is listed twice,
            or there are no wells left for testing.
    """
    lists = {split: root / f"{split}_wells.txt" for split in SPLITS}
    splits = split_by_lists(lists, wells, "well", lambda well: _foreground_path(root, well))
    if splits is not None:
        return splits
    if len(wells) <= TRAIN_WELLS:
        raise DatasetError(
            f"{root / _FOREGROUND} has {len(wells)} of the 100 wells: the first {TRAIN_WELLS} are "
            f"for training and none is left for testing"
        )
    return dict(zip(SPLITS, (wells[:TRAIN_WELLS], wells[TRAIN_WELLS:]), strict=True))


def read_foreground(root: Path, well: str) -> np.ndarray:
    """Foreground of a well moved up one row, (H, W) uint8 in {0, 255}; the last row is 0."""
    pixels = read_image(_foreground_path(root, well), modes=("RGBA", "RGB", "L"))
    grey = pixels[..., :3].max(axis=2) if pixels.ndim == 3 else pixels
    image = np.zeros(grey.shape, dtype=np.uint8)
    image[:-1][grey[1:] > 0] = 255
    return image


def read_worm(path: Path, size: Size, image: str = "foreground") -> np.ndarray:
    """Mask of one worm, (H, W) bool.

    Args:
        image: what has this size, for the message.
    """
    mask = read_image(path, modes=("L", "1")) > 0
    require_size(f"{path} is", mask, f"its {image} is", size)
    return mask


def _foreground_path(root: Path, well: str) -> Path:
    return root / _FOREGROUND / f"{well}_binary.png"
