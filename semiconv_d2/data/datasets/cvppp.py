"""CVPPP A1, the plants of the Leaf Segmentation Challenge: one top view of a rosette in each image.

It is read from the challenge's own folder, with `plant001_rgb.png` and `plant001_label.png` for
each plant. Every value of a label image but 0 is a leaf. Leaves cover each other, but a pixel has
one leaf: the uppermost.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from ...errors import DatasetError
from ..coco.coco_json import CocoImage
from ..files import describe_folder
from ..formats.mask_files import read_labels, split_labels
from ..images import read_image_size, require_size
from .prepared import Summary, clear_prepared, datasets_root, link_images, write_prepared
from .splits import train_and_test

CATEGORIES = ("leaf",)
FOLDER = "cvppp_a1"
SPLITS = ("train", "test")

_IMAGE, _LABELS = "_rgb.png", "_label.png"


def prepare_cvppp_a1(root: Path, output: Path | None = None) -> Summary:
    """Write the COCO JSON of the leaves; the images themselves are linked to.

    Args:
        root: the folder A1 of the challenge's training data.
        output: folder to write; by default the one that Detectron2's registered names read.

    Raises:
        DatasetError: a file is missing or damaged, labels do not fit their image, or the plants
            cannot be split.
    """
    plants = find_plants(root)
    splits = train_and_test(root, plants, "plant", lambda plant: root / f"{plant}{_IMAGE}")
    output = output or datasets_root() / FOLDER
    clear_prepared(output, SPLITS)
    link_images(output, root, (f"{plant}{_IMAGE}" for plant in chain(*splits.values())))
    return write_prepared(output, CATEGORIES, splits, lambda plant: read_leaves(root, plant))


def find_plants(root: Path) -> list[str]:
    """Names of the plants, sorted, such as "plant001".

    Raises:
        DatasetError: there are none, or a plant lacks its image or its labels.
    """
    images, labels = (
        {path.name.removesuffix(ending) for path in root.glob(f"*{ending}")}
        for ending in (_IMAGE, _LABELS)
    )
    if not images:
        raise DatasetError(
            f"{root} is not a folder of the Leaf Segmentation Challenge: expected files such as "
            f"plant001{_IMAGE} and plant001{_LABELS}; found: {describe_folder(root)}"
        )
    for plant in sorted(images ^ labels):
        lacks = _LABELS if plant in images else _IMAGE
        raise DatasetError(f"the plant {plant} has no {root / (plant + lacks)}")
    return sorted(images)


def read_leaves(root: Path, plant: str) -> CocoImage:
    """The masks of a plant's leaves, in the order of their values."""
    name = f"{plant}{_IMAGE}"
    size = read_image_size(root / name)
    path = root / f"{plant}{_LABELS}"
    labels = read_labels(path)
    require_size(f"{path} is", labels, "its image is", size)
    return CocoImage(name, *size, [(mask, 1) for mask in split_labels(labels)])
