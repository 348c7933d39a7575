"""Folders of images with label images or with mask files, as own data; see `mask_files` for the
names of the files."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder
from ..images import Size, require_size
from .mask_files import (
    find_images,
    find_labels,
    find_masks,
    read_labels,
    read_mask,
    refuse_binary,
    split_labels,
)
from .own import Instance, OwnData, Source, count

CATEGORY = "object"

_LISTED = 10  # files named in a message


def labels_data(
    images: Path,
    labels: Path,
    category: str = CATEGORY,
    background: int = 0,
    void: int | None = None,
    suffix: str = "",
) -> OwnData:
    """Images with one image of labels each.

    Args:
        category: name of the one category.
        background: label of pixels without an instance.
        void: another such label, of pixels that nobody can tell; the JSON has them as void.
        suffix: what the names of label images have after those of the images. With one, both may
            lie in the same folder.

    Raises:
        DatasetError: a folder or file is missing or has no counterpart.
    """
    together = images.resolve() == labels.resolve()
    if together and not suffix:
        raise DatasetError(
            f"images and labels are the same folder {images}: give --label-suffix, which the names "
            f"of the label images end with"
        )
    found = find_images(images, without_suffix=suffix if together else "")
    files = find_labels(labels, found, suffix)
    expected = f"{labels}/<name of the image>{suffix} as .png or .tif, all {background} where"
    _refuse_missing(found, files, f"{expected} there is no instance")

    def source(key: str) -> Source:
        def read(size: Size) -> list[Instance]:
            pixels = read_labels(files[key])
            _check_size(files[key], pixels, found[key], size)
            mend = ", or give --void if it marks no instance"
            refuse_binary(files[key], pixels, background, void, mend)
            return [(mask, 1) for mask in split_labels(pixels, background, void)]

        def read_void() -> np.ndarray:
            return read_labels(files[key]) == void

        return Source(found[key], read, None if void is None else read_void)

    return OwnData([category], {"train": [source(key) for key in found]})


def masks_data(
    images: Path, masks: Path, category: str = CATEGORY, category_folders: bool = False
) -> OwnData:
    """Images with a file for the mask of each instance.

    Args:
        category: name of the one category.
        category_folders: the folder of masks has a folder for each category instead, named after
            it; these are sorted by name.

    Raises:
        DatasetError: a folder or file is missing or has no counterpart.
    """
    found = find_images(images)
    folders = {category: masks}
    if category_folders:
        folders = {path.name: path for path in sorted(masks.glob("[!.]*")) if path.is_dir()}
        if not folders:
            raise DatasetError(
                f"{masks} has no folder for each category; found: {describe_folder(masks)}"
            )
    files: dict[str, list[tuple[Path, int]]] = {}
    for number, folder in enumerate(folders.values(), start=1):
        for key, paths in find_masks(folder, found).items():
            files.setdefault(key, []).extend((path, number) for path in paths)
    name = f"{masks}/<name of the image>"
    expected = f"{name}_1.png and so on, or an empty folder {name} where there is no instance"
    _refuse_missing(found, files, expected)

    def source(key: str) -> Source:
        def read_one(path: Path, size: Size) -> np.ndarray:
            mask = read_mask(path)
            _check_size(path, mask, found[key], size)
            if not mask.any():
                raise DatasetError(f"{path} is an empty mask, all its pixels are 0: remove it")
            return mask

        def read(size: Size) -> list[Instance]:
            return [(read_one(path, size), number) for path, number in files[key]]

        return Source(found[key], read)

    return OwnData(list(folders), {"train": [source(key) for key in found]})


def _refuse_missing(images: Mapping[str, Path], files: Container[str], expected: str) -> None:
    missing = [path.name for key, path in images.items() if key not in files]
    if missing:
        rest = len(missing) - _LISTED
        names = ", ".join(missing[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
        raise DatasetError(
            f"{count(len(missing), 'image')} without instances: {names}; expected {expected}"
        )


def _check_size(path: Path, pixels: np.ndarray, image: Path, size: Size) -> None:
    require_size(f"{path} is", pixels, f"its image {image} is", size, image)
