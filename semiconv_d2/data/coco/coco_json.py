"""JSON files in COCO's format: read, built with a run-length encoding for each instance, and
written."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..files import read_json
from ..images import require_size
from .segmentations import encode_mask

LISTS = ("categories", "images", "annotations")
"""What a JSON in COCO's format must have."""

_MARK = {"written_by": "semiconv_d2"}  # in the info of what this package writes


def read_coco(json_file: Path) -> dict:
    """Reads a JSON in COCO's format, and checks that it has the lists of objects that it needs.

    Raises:
        DatasetError: the file is missing or not such a JSON.
    """
    content = read_json(json_file)
    with json_file.open("rb") as file:
        if file.read(len(BOM_UTF8)) == BOM_UTF8:
            raise DatasetError(
                f"{json_file} begins with a byte order mark (BOM), which Detectron2 and COCO's "
                f"tools cannot read: save it as UTF-8 without BOM"
            )
    if not isinstance(content, dict):
        raise DatasetError(
            f"{json_file} is a {type(content).__name__} at its top: COCO's format has an object "
            f"there with the lists images, annotations and categories"
        )
    for part in LISTS:
        if part not in content:
            raise DatasetError(
                f"{json_file} has no list '{part}', which COCO's format needs; it has: "
                f"{', '.join(list(content)[:8]) or 'nothing'}"
            )
        entries = content[part]
        if not isinstance(entries, list):
            raise DatasetError(f"{json_file}: '{part}' is a {type(entries).__name__}, not a list")
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                kind = type(entry).__name__
                raise DatasetError(f"{json_file}: {part}[{index}] is a {kind}, not an object")
    return content


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
    import pycocotools.mask as mask_util

    image_entries: list[dict] = []
    annotations: list[dict] = []
    for image_id, image in enumerate(images, start=1):
        name, size = image.file_name, (image.height, image.width)
        entry = {"id": image_id, "file_name": name, "height": size[0], "width": size[1]}
        if image.void is not None:
            require_size(f"{name}: the void pixels are", image.void, "the image is", size)
            if image.void.any():
                entry["void"] = encode_mask(image.void)
        image_entries.append(entry)
        for number, (mask, category_id) in enumerate(image.instances, start=1):
            where = f"{name}, instance {number}"
            require_size(f"{where}: the mask is", mask, "the image is", size)
            if not mask.any():
                raise DatasetError(f"{where}: the mask is empty")
            if not 1 <= category_id <= len(categories):
                raise DatasetError(
                    f"{where}: category id {category_id} is not in 1..{len(categories)}"
                )
            rle = encode_mask(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": rle,
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "area": int(mask_util.area(rle)),
                    "iscrowd": 0,
                }
            )
    return {
        "info": dict(_MARK),
        "licenses": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, start=1)],
        "images": image_entries,
        "annotations": annotations,
    }


def mark(content: Mapping) -> dict:
    """A copy whose info says that this package wrote it, so that it may be replaced later."""
    info = content.get("info") or {}
    info = info if isinstance(info, Mapping) else {"description": info}
    return {**content, "info": {**info, **_MARK}}


def check_replaceable(path: Path) -> None:
    """Check that a JSON may be written here without overwriting one of somebody else.

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
            f"{path} would be overwritten, but this package did not write it: rename or remove it"
        )
