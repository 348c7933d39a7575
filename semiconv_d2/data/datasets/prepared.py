"""Prepared datasets: a folder with a COCO JSON for each split and one folder of images.

::

    <DETECTRON2_DATASETS>/<folder>/
        train.json  val.json or test.json
        images/
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...errors import DatasetError
from ...writing import write_json
from ..coco.coco_json import CocoImage, build_coco
from ..images import write_image
from ..names import path_inside

logger = logging.getLogger(__name__)

Key = TypeVar("Key")


def datasets_root() -> Path:
    """The folder of all datasets: DETECTRON2_DATASETS as Detectron2 reads it, or `datasets`."""
    return Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()


def json_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.json"


def images_path(folder: Path) -> Path:
    return folder / "images"


@dataclass(frozen=True)
class Summary:
    """What was written where: numbers of images and of instances in each split."""

    folder: Path
    images: Mapping[str, int]
    instances: Mapping[str, int]
    note: str = ""
    """What else there is to say, such as what was left out."""

    def __str__(self) -> str:
        splits = ", ".join(
            f"{split} {self.images[split]} with {self.instances[split]}" for split in self.images
        )
        return (
            f"wrote {sum(self.images.values())} images with {sum(self.instances.values())} "
            f"instances ({splits}) to {self.folder}" + (f"; {self.note}" if self.note else "")
        )


def clear_prepared(folder: Path, splits: Iterable[str]) -> Path:
    """Make room for a preparation and return where its images go.

    JSON files of an earlier preparation are removed, so that they never describe images that are
    being replaced. A link to images elsewhere is removed, so that nothing is written through it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_json(folder, splits)
    images = images_path(folder)
    if images.is_symlink():
        images.unlink()
    return images


def link_images(folder: Path, source: Path, file_names: Iterable[str], part: str = "") -> None:
    """Make the folder of images a link or, if links are not possible, copy the images in use.

    The link is relative if source and target are in one folder of datasets, so that this folder can
    be moved.

    Args:
        folder: the prepared folder, after `clear_prepared`.
        source: where the images are.
        file_names: those in use.
        part: name of a folder in `images` that becomes the link, if images come from several
            folders.
    """
    link = images_path(folder) / part
    link.parent.mkdir(exist_ok=True)
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        target = source.resolve()
        if target.is_relative_to(folder.resolve().parent):
            target = Path(os.path.relpath(target, link.parent.resolve()))
        try:
            link.symlink_to(target, target_is_directory=True)
            return
        except OSError as error:
            logger.warning("copying the images, because they cannot be linked to: %s", error)
    copy_images(link, source, file_names)


def copy_images(folder: Path, source: Path, file_names: Iterable[str]) -> None:
    """Copy images, which may lie in folders below `source`, to the same places below `folder`."""
    for name in file_names:
        path = path_inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, path)


def write_prepared(
    folder: Path,
    categories: Sequence[str],
    splits: Mapping[str, Sequence[Key]],
    read: Callable[[Key], CocoImage],
) -> Summary:
    """Write the JSON files of all splits, or none of them.

    Args:
        folder: the prepared folder, after `clear_prepared`.
        categories: names; category id i is the i-th of them.
        splits: by name of the split, the arguments for `read`, one for each image.
        read: returns the image and its instances.

    Raises:
        DatasetError: a split has no images, or an instance is not valid (see `build_coco`).
    """
    from tqdm import tqdm

    for split, keys in splits.items():
        if not keys:
            raise DatasetError(f"the split '{split}' has no images")
    contents = {}
    for split, keys in splits.items():
        with tqdm(keys, desc=split, unit="image") as progress:
            contents[split] = build_coco(map(read, progress), categories)
    try:
        for split, content in contents.items():
            write_json(content, json_path(folder, split))
    except BaseException:
        _remove_json(folder, splits)
        raise
    return Summary(
        folder,
        {split: len(content["images"]) for split, content in contents.items()},
        {split: len(content["annotations"]) for split, content in contents.items()},
    )


def prepare_drawn(
    folder: Path,
    categories: Sequence[str],
    images_in: Mapping[str, int],
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> Summary:
    """Draw images of instances of the first category and write them with their COCO JSON.

    An image depends only on the seed, its split and its number in the split. So the first images
    stay the same if you ask for more.

    Args:
        folder: the prepared folder.
        categories: names.
        images_in: the number of images in each split.
        draw: returns an image, (H, W) uint8, and the masks of its instances, (N, H, W) bool.

    Raises:
        DatasetError: the seed is negative, a split would be empty, or what `draw` raises.
    """
    if seed < 0:
        raise DatasetError(f"the seed must not be negative: {seed}")
    images = clear_prepared(folder, images_in)
    images.mkdir(exist_ok=True)

    def read(key: tuple[int, str, int]) -> CocoImage:
        index, split, number = key
        image, masks = draw(np.random.default_rng((seed, index, number)))
        file_name = f"{split}_{number:05d}.png"
        write_image(images / file_name, image)
        height, width = image.shape
        return CocoImage(file_name, height, width, [(mask, 1) for mask in masks])

    splits = {
        split: [(index, split, number) for number in range(count)]
        for index, (split, count) in enumerate(images_in.items())
    }
    return write_prepared(folder, categories, splits, read)


def check_range(name: str, values: tuple[float, float]) -> None:
    """Raises `DatasetError` if a setting is not a range (smallest, largest) with 1 <= smallest."""
    low, high = values
    if not 1 <= low <= high:
        raise DatasetError(f"{name} must be a range (1 <= smallest <= largest): {(low, high)}")


def _remove_json(folder: Path, splits: Iterable[str]) -> None:
    for split in splits:
        json_path(folder, split).unlink(missing_ok=True)
