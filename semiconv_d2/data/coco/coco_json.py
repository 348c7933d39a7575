"""COCO instance annotations with one run-length encoded mask for each instance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..files import read_json

_MARK = {"written_by": "semiconv_d2"}  # in the info of what this package writes


class CocoImage(NamedTuple):
    """An image and its instances. Masks may share pixels."""

    file_name: str
    """Relative to the folder of images."""
    height: int
    width: int
    instances: Sequence[tuple[np.ndarray, int]]
    """A mask, (height, width) bool, and a category id for each instance."""
    void: np.ndarray | None = None
    """(height, width) bool: pixels that belong to nothing and count neither for nor against a
    detection."""


def build_coco(images: Iterable[CocoImage], categories: Sequence[str]) -> dict:
    """Annotations in COCO's format; all ids count from 1.

    Segmentations are compressed run-length encodings, boxes are (left, top, width, height) in
    pixels. Boxes and areas are those of the encoded masks. Void pixels, where there are any, are
    encoded in the same way under the key "void" of the image's entry, which COCO's tools ignore.

    Args:
        images: read once, one after the other.
        categories: names; category id i is the i-th of them.

    Raises:
        DatasetError: a mask is empty or not of its image's size, or a category id is not one of
            the categories'; the message names the image and the number of the instance in it,
            counted from 1. Or the void pixels are not of their image's size.
    """
    image_entries: list[dict] = []
    annotations: list[dict] = []
    for image_id, image in enumerate(images, start=1):
        entry = {
            "id": image_id,
            "file_name": image.file_name,
            "height": image.height,
            "width": image.width,
        }
        image_entries.append(entry | _encode_void(image))
        for number, (mask, category_id) in enumerate(image.instances, start=1):
            _check_instance(image, number, mask, category_id, len(categories))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id}
                | _encode(mask)
                | {"iscrowd": 0}
            )
    return {
        "info": dict(_MARK),
        "licenses": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, start=1)],
        "images": image_entries,
        "annotations": annotations,
    }


def _check_instance(
    image: CocoImage, number: int, mask: np.ndarray, category_id: int, categories: int
) -> None:
    where = f"{image.file_name}, instance {number}"
    _check_size(f"{where}: the mask is", mask, image)
    if not mask.any():
        raise DatasetError(f"{where}: the mask is empty")
    if not 1 <= category_id <= categories:
        raise DatasetError(f"{where}: category id {category_id} is not in 1..{categories}")


def _check_size(what: str, mask: np.ndarray, image: CocoImage) -> None:
    if mask.shape != (image.height, image.width):
        raise DatasetError(
            f"{what} {mask.shape} pixels (height, width), the image is "
            f"{(image.height, image.width)}"
        )


def _encode(mask: np.ndarray) -> dict:
    import pycocotools.mask as mask_util

    rle = _run_lengths(mask)
    return {
        "segmentation": rle,
        "bbox": mask_util.toBbox(rle).tolist(),
        "area": int(mask_util.area(rle)),
    }


def _encode_void(image: CocoImage) -> dict:
    if image.void is None:
        return {}
    _check_size(f"{image.file_name}: the void pixels are", image.void, image)
    return {"void": _run_lengths(image.void)} if image.void.any() else {}


def _run_lengths(mask: np.ndarray) -> dict:
    """Encode a mask that is not empty as pycocotools does, looking at its own columns alone."""
    import pycocotools.mask as mask_util

    columns = np.flatnonzero(mask.any(axis=0))
    begin, end = columns[0], columns[-1] + 2  # with the column in which the last run may end
    pixels = mask[:, begin:end].ravel(order="F")
    flips = begin * len(mask) + np.flatnonzero(np.diff(pixels, prepend=False))
    counts = np.diff(flips, prepend=0, append=mask.size)
    rle = mask_util.frPyObjects({"size": mask.shape, "counts": counts}, *mask.shape)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def mark(content: Mapping) -> dict:
    """A copy that says in its info who wrote it, so that it may be replaced."""
    info = content.get("info") or {}
    info = info if isinstance(info, Mapping) else {"description": info}
    return {**content, "info": {**info, **_MARK}}


def check_replaceable(path: Path) -> None:
    """Check that no JSON of somebody else's would be overwritten.

    Raises:
        DatasetError: there is a file of that name which this package did not write.
    """
    if not path.exists():
        return
    try:
        content = read_json(path)
    except DatasetError:
        content = None
    info = content.get("info") if isinstance(content, dict) else None
    if not isinstance(info, dict) or not _MARK.items() <= info.items():
        raise DatasetError(
            f"{path} would be overwritten, which this package did not write: rename or remove it"
        )


def write_json(content: dict, path: Path) -> None:
    """Write a JSON file whole or not at all: a file of that name is replaced at the very end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
