"""Folders of images with label images or with mask files, as own data; see `mask_files` for the
names of the files."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder, try_each
from ..images import Size, require_size
from ..names import is_hidden
from .mask_files import (
    find_images,
    find_labels,
    find_masks,
    image_files,
    read_labels,
    read_mask,
    refuse_binary,
    split_labels,
)
from .own import OwnData, ReadInstances, Source

CATEGORY = "object"


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
        void: another label that is no instance, for pixels that nobody can assign; the JSON has
            them as void.
        suffix: ending of the names of label images, after the name of the image. With a suffix,
            both may be in the same folder.

    Raises:
        DatasetError: a folder or file is missing or has no counterpart.
    """
    together = images.resolve() == labels.resolve()
    if together and not suffix:
        raise DatasetError(
            f"images and labels are the same folder {images}: give --label-suffix, the ending of "
            f"the names of the label images"
        )
    found = find_images(images, without_suffix=suffix if together else "")
    problems: list[str] = []
    files = find_labels(labels, found, suffix, problems)
    expected = f"{labels}/<name of the image>{suffix} as .png or .tif, all {background} if"
    problems += _tell_missing(found, files, f"{expected} there is no instance")

    def source(key: str) -> Source:
        def read(size: Size) -> ReadInstances:
            pixels = read_labels(files[key])
            _check_size(files[key], pixels, found[key], size)
            mend = ", or give --void if it marks no instance"
            refuse_binary(files[key], pixels, background, void, mend)
            return ReadInstances([(mask, 1) for mask in split_labels(pixels, background, void)])

        def read_void() -> np.ndarray:
            return read_labels(files[key]) == void

        return Source(found[key], read, None if void is None else read_void)

    return OwnData([category], {"train": [source(key) for key in files]}, problems=problems)


def masks_data(
    images: Path, masks: Path, category: str = CATEGORY, category_folders: bool = False
) -> OwnData:
    """Images with a file for the mask of each instance.

    If both are the same folder, it may also have a folder for each image, with one image in
    `images` and its masks in `masks`.

    Args:
        category: name of the one category.
        category_folders: whether the folder of masks has a folder for each category instead, named
            after the category. Categories are sorted by name.

    Raises:
        DatasetError: a folder or file is missing or has no counterpart.
    """
    if images.resolve() == masks.resolve() and (samples := _find_samples(images)):
        return _samples_data(samples, category)
    found = find_images(images)
    folders = {category: masks}
    if category_folders:
        named = [path for path in sorted(masks.glob("*")) if path.is_dir() and not is_hidden(path)]
        folders = {path.name: path for path in named}
        if not folders:
            raise DatasetError(
                f"{masks} has no folder for each category; found: {describe_folder(masks)}"
            )
    files: dict[str, list[tuple[Path, int]]] = {}
    problems: list[str] = []
    for number, folder in enumerate(folders.values(), start=1):
        for key, paths in find_masks(folder, found, problems).items():
            files.setdefault(key, []).extend((path, number) for path in paths)
    name = f"{masks}/<name of the image>"
    expected = f"{name}_1.png and so on, or an empty folder {name} if there is no instance"
    problems += _tell_missing(found, files, expected)
    sources = [_masks_source(found[key], files[key]) for key in files]
    return OwnData(list(folders), {"train": sources}, problems=problems)


def _masks_source(image: Path, files: Sequence[tuple[Path, int]]) -> Source:
    """An image with a mask file and category id for each instance."""

    def read_one(path: Path, size: Size) -> np.ndarray:
        mask = read_mask(path)
        _check_size(path, mask, image, size)
        if not mask.any():
            raise DatasetError(f"{path} is an empty mask, all its pixels are 0: remove it")
        return mask

    def read(size: Size) -> ReadInstances:
        found, problems = try_each(lambda file: read_one(file[0], size), files)
        return ReadInstances([(mask, category) for (_, category), mask in found], problems)

    return Source(image, read)


def _find_samples(root: Path) -> list[Path]:
    """Folders of the Data Science Bowl 2018: one for each image, with `images` and `masks`."""
    folders = (path for path in sorted(root.glob("*")) if not is_hidden(path))
    return [path for path in folders if (path / "images").is_dir() and (path / "masks").is_dir()]


def _samples_data(samples: Sequence[Path], category: str) -> OwnData:
    def source(sample: Path) -> Source:
        images, masks = (image_files(sample / name) for name in ("images", "masks"))
        if len(images) != 1:
            raise DatasetError(f"{sample}/images has {len(images)} images, expected one")
        return _masks_source(images[0], [(path, 1) for path in masks])

    read, problems = try_each(source, samples)
    return OwnData([category], {"train": [found for _, found in read]}, problems=problems)


def _tell_missing(
    images: Mapping[str, Path], files: Container[str], expected: str
) -> Iterator[str]:
    """Messages about images that have no file of instances."""
    missing = [path for key, path in images.items() if key not in files]
    yield from (f"image without labels or masks: {path}; expected {expected}" for path in missing)


def _check_size(path: Path, pixels: np.ndarray, image: Path, size: Size) -> None:
    require_size(f"{path} is", pixels, f"its image {image} is", size, image)
