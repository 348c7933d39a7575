"""DSB2018, the nuclei of the 2018 Data Science Bowl, in one of two layouts.

The challenge's own has a folder for each sample, with one image in `images` and one mask file for
each nucleus in `masks`. Corrected annotations come as one folder `images`, and beside it one folder
`labels` with a label image of the same name for each: every value but 0 is a nucleus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from ...errors import DatasetError
from ..coco.coco_json import CocoImage
from ..files import describe_folder
from ..formats.mask_files import (
    find_images,
    find_labels,
    image_files,
    read_labels,
    read_mask,
    split_labels,
)
from ..images import read_image_size, require_size
from .prepared import Summary, clear_prepared, datasets_root, link_images, write_prepared
from .splits import train_and_test

CATEGORIES = ("nucleus",)
FOLDER = "dsb2018"
SPLITS = ("train", "test")

_IMAGES, _MASKS, _LABELS = "images", "masks", "labels"


def prepare_dsb2018(root: Path, output: Path | None = None) -> Summary:
    """Write the COCO JSON of the nuclei; the images themselves are linked to.

    Args:
        root: the unpacked stage1_train of the challenge, or the folder of `images` and `labels`.
        output: folder to write; by default the one that Detectron2's registered names read.

    Raises:
        DatasetError: a folder or file is missing or damaged, a mask does not fit its image, or the
            samples cannot be split.
    """
    images = find_images(root / _IMAGES) if (root / _LABELS).is_dir() else find_samples(root)
    masks = find_nuclei(root, images)
    splits = train_and_test(root, list(images), "sample", lambda sample: root / sample)
    output = output or datasets_root() / FOLDER
    clear_prepared(output, SPLITS)
    names = (images[sample].relative_to(root).as_posix() for sample in chain(*splits.values()))
    link_images(output, root, names)
    return write_prepared(
        output, CATEGORIES, splits, lambda sample: read_nuclei(root, images[sample], masks[sample])
    )


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
            f"folders with {_IMAGES} and {_MASKS} in them, or the two folders {_IMAGES} and "
            f"{_LABELS}; found: {describe_folder(root)}"
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


def find_nuclei(root: Path, images: Mapping[str, Path]) -> dict[str, list[Path]]:
    """Files of each sample's nuclei, sorted: one label image, or one mask for each nucleus.

    Args:
        images: the image of each sample, by the sample's name.

    Raises:
        DatasetError: an image has no labels, or labels have no image.
    """
    if not (root / _LABELS).is_dir():
        return {sample: image_files(path.parent.parent / _MASKS) for sample, path in images.items()}
    labels = find_labels(root / _LABELS, images)
    for sample, path in images.items():
        if sample not in labels:
            raise DatasetError(f"{path} has no labels: expected {root / _LABELS / path.name}")
    return {sample: [path] for sample, path in labels.items()}


def read_nuclei(root: Path, image: Path, files: Sequence[Path]) -> CocoImage:
    """The masks of a sample's nuclei, in the order of their files or of their values."""
    size = read_image_size(image)
    instances = []
    for path in files:
        labelled = path.parent.name == _LABELS
        pixels = read_labels(path) if labelled else read_mask(path)
        require_size(f"{path} is", pixels, "its image is", size)
        instances += [(mask, 1) for mask in (split_labels(pixels) if labelled else [pixels])]
    return CocoImage(image.relative_to(root).as_posix(), *size, instances)
