"""DSB2018, the nuclei of the 2018 Data Science Bowl.

It is read from the challenge's own layout: a folder for each sample, with one image in `images` and
one mask file for each nucleus in `masks`.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from ...errors import DatasetError
from ..coco.coco_json import CocoImage
from ..files import describe_folder
from ..formats.mask_files import image_files, read_mask
from ..images import read_image_size, require_size
from .prepared import Summary, clear_prepared, datasets_root, link_images, write_prepared
from .splits import train_and_test

CATEGORIES = ("nucleus",)
FOLDER = "dsb2018"
SPLITS = ("train", "test")

_IMAGES, _MASKS = "images", "masks"


def prepare_dsb2018(root: Path, output: Path | None = None) -> Summary:
    """Write the COCO JSON of the nuclei; the images themselves are linked to.

    Args:
        root: the unpacked stage1_train of the challenge.
        output: folder to write; by default the one that Detectron2's registered names read.

    Raises:
        DatasetError: a folder or file is missing or damaged, a mask does not fit its image, or the
            samples cannot be split.
    """
    images = find_samples(root)
    splits = train_and_test(root, list(images), "sample", lambda sample: root / sample)
    output = output or datasets_root() / FOLDER
    clear_prepared(output, SPLITS)
    names = (images[sample].relative_to(root).as_posix() for sample in chain(*splits.values()))
    link_images(output, root, names)
    return write_prepared(output, CATEGORIES, splits, lambda s: read_nuclei(root, images[s]))


def find_samples(root: Path) -> dict[str, Path]:
    """The image of each sample, by the name of the sample's folder, sorted.

    Raises:
        DatasetError: there are no samples, or a sample lacks its masks, or has no or several
            images.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{_IMAGES}") if path.is_dir())
    if not folders:
        raise DatasetError(
            f"{root} is not the unpacked stage1_train of the 2018 Data Science Bowl: expected "
            f"folders with {_IMAGES} and {_MASKS} in them; found: {describe_folder(root)}"
        )
    images = {}
    for folder in folders:
        if not (folder / _MASKS).is_dir():
            raise DatasetError(f"the sample {folder} has no folder {_MASKS}")
        found = image_files(folder / _IMAGES)
        if len(found) != 1:
            raise DatasetError(
                f"{folder / _IMAGES} has {len(found)} images, expected one; found: "
                f"{describe_folder(folder / _IMAGES)}"
            )
        images[folder.name] = found[0]
    return images


def read_nuclei(root: Path, image: Path) -> CocoImage:
    """The masks of a sample's nuclei, in the order of their files."""
    size = read_image_size(image)
    instances = []
    for path in image_files(image.parent.parent / _MASKS):
        mask = read_mask(path)
        require_size(f"{path} is", mask, "its image is", size)
        instances.append((mask, 1))
    return CocoImage(image.relative_to(root).as_posix(), *size, instances)
