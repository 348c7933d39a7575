"""Prepared datasets: a folder with a COCO JSON for each split and one folder of images.

::

    <DETECTRON2_DATASETS>/<folder>/
        train.json  val.json or test.json
        images/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from semiconv_d2.data.coco_json import CocoImage, build_coco, write_json
from semiconv_d2.data.files import DatasetError

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

    def __str__(self) -> str:
        splits = ", ".join(
            f"{split} {self.images[split]} with {self.instances[split]}" for split in self.images
        )
        return (
            f"wrote {sum(self.images.values())} images with {sum(self.instances.values())} "
            f"instances ({splits}) to {self.folder}"
        )


def clear_prepared(folder: Path, splits: Iterable[str]) -> Path:
    """Make room for a preparation and return where its images go.

    The JSON files of an earlier one are removed, so that they never describe images which are
    being replaced; so is a link to images elsewhere, so that nothing is written through it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_json(folder, splits)
    images = images_path(folder)
    if images.is_symlink():
        images.unlink()
    return images


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
        splits: for each split's name what `read` takes, one for each image.
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


def _remove_json(folder: Path, splits: Iterable[str]) -> None:
    for split in splits:
        json_path(folder, split).unlink(missing_ok=True)
