"""Annotations of the LabelMe application: a JSON file with shapes for each image.

Polygons, rectangles, circles and masks are instances, joined where they have the same label and
`group_id`. Points and lines enclose nothing and are left out. The older LabelMe of MIT writes XML,
which `datumaro_formats` reads.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder, read_json, try_all
from ..images import is_image, require_size
from .own import SPLITS, OwnData, Source, count
from .shapes import (
    Shape,
    crop_mask,
    ellipse_mask,
    polygon_mask,
    read_points,
    require_points,
    shapes_source,
)

_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_NEEDED = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}  # points


class LabelmeFile(NamedTuple):
    """What a JSON file says."""

    path: Path
    image: Path
    size: tuple[int | None, int | None]
    """Height and width of the image, None where the file does not say."""
    shapes: Sequence[Shape]
    """Those that enclose something."""
    kinds: Counter[str]
    """Numbers of shapes by their types, also of those that enclose nothing."""


def labelme_data(root: Path, categories: Sequence[str] = ()) -> OwnData:
    """The JSON files of a folder, or else of its folders `train`, `val` and `test`.

    Args:
        categories: their names in the order of their ids; by default all labels, sorted.

    Raises:
        DatasetError: naming the file, and the shape in it, that is not what it has to be.
    """
    folders = {"train": root}
    if not any(root.glob("*.json")):
        folders = {split: root / split for split in SPLITS if any(root.glob(f"{split}/*.json"))}
    if not folders:
        raise DatasetError(
            f"{root} has no JSON files of LabelMe, neither itself nor in folders "
            f"{', '.join(SPLITS)}; found: {describe_folder(root)}"
        )
    paths = {split: sorted(folder.glob("*.json")) for split, folder in folders.items()}
    files = {split: try_all(read_labelme, paths[split]) for split in folders}
    every = [file for split in files.values() for file in split]
    labels = {str(shape.category) for file in every for shape in file.shapes}
    names = list(categories) or sorted(labels)
    ids = {name: number for number, name in enumerate(names, start=1)}
    splits = {split: try_all(partial(_source, ids=ids), files[split]) for split in folders}
    return OwnData(names, splits, _remarks(every, folders.values()))


def read_labelme(path: Path) -> LabelmeFile:
    """Read and check a JSON file; the image itself is not opened.

    Raises:
        DatasetError: the file is missing, damaged or not of LabelMe, or a shape in it is of an
            unknown type or has too few points.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DatasetError(f"{path} has no list of shapes, so it is not of LabelMe: remove it")
    name = content.get("imagePath")
    if not isinstance(name, str) or not name:
        raise DatasetError(f"{path} does not name its image (imagePath)")
    kinds: Counter[str] = Counter()
    read = [
        _read_shape(f"{path}, shape {number}", shape, kinds)
        for number, shape in enumerate(content["shapes"], start=1)
    ]
    size = (content.get("imageHeight"), content.get("imageWidth"))
    shapes = [shape for shape in read if shape is not None]
    return LabelmeFile(path, _find_image(path, name), size, shapes, kinds)


def _find_image(path: Path, name: str) -> Path:
    """The image that a file names, or that of its name beside it where the name is of a place on
    another computer."""
    image = path.parent / PureWindowsPath(name).as_posix()  # Windows writes backslashes
    for candidate in (image, path.parent / image.name):
        if candidate.is_file():
            return Path(candidate.parent.resolve(), candidate.name)
    raise DatasetError(f"the image that {path} names is missing: {image}")


def _read_shape(where: str, shape: object, kinds: Counter[str]) -> Shape | None:
    """A shape, or None where it encloses nothing; it is counted with those of its type."""
    if not isinstance(shape, dict):
        raise DatasetError(f"{where} is no shape")
    kind = shape.get("shape_type") or "polygon"  # which old versions do not write
    label, group = shape.get("label"), shape.get("group_id")
    label = label.strip() if isinstance(label, str) else label
    kinds[kind] += 1
    if kind in _WITHOUT_AREA:
        return None
    if not isinstance(label, str) or not label:
        raise DatasetError(f"{where} has no label")
    if group is not None and not isinstance(group, int):
        raise DatasetError(f"{where} has the group_id {group!r}, which is no whole number")
    points = read_points(where, shape.get("points"))
    if kind not in _NEEDED:
        raise DatasetError(
            f"{where} is of the unknown type {kind!r}; known are {', '.join(_NEEDED)}, and "
            f"{', '.join(_WITHOUT_AREA)}, which are left out"
        )
    require_points(where, kind, points, _NEEDED[kind], "LabelMe")
    if kind == "mask":
        left, top = points[0].astype(int).tolist()
        paint = partial(crop_mask, _read_crop(where, shape.get("mask"), points), left, top)
    elif kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        paint = partial(ellipse_mask, tuple(points[0]), (radius, radius), 0)
    elif kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        paint = partial(polygon_mask, np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]))
    else:
        paint = partial(polygon_mask, points)
    return Shape(label, group, paint)


def _read_crop(where: str, encoded: object, points: np.ndarray) -> np.ndarray:
    """Mask of a shape inside its box, (h, w) bool."""
    from PIL import Image

    try:
        data = base64.b64decode(encoded, validate=True)  # type: ignore[arg-type]
        with Image.open(io.BytesIO(data)) as image:
            crop = np.asarray(image) > 0
    except Exception as error:  # Pillow's readers of damaged files raise whatever comes up
        raise DatasetError(f"{where} has a mask that cannot be read: {error}") from error
    width, height = ((points[1] - points[0]).astype(int) + 1).tolist()
    require_size(f"{where} has a mask of", crop, "its points are the corners of", (height, width))
    return crop


def _source(file: LabelmeFile, ids: Mapping[str, int]) -> Source:
    for shape in file.shapes:
        if shape.category not in ids:
            raise DatasetError(
                f"{file.path} has the label {shape.category!r}, which is not among the categories "
                f"{', '.join(ids)}"
            )
    return shapes_source(file.image, file.shapes, ids, str(file.path), file.size)


def _remarks(files: Sequence[LabelmeFile], folders: Iterable[Path]) -> list[str]:
    remarks = []
    kinds = sum((file.kinds for file in files), Counter())
    without_area = sum(kinds[kind] for kind in _WITHOUT_AREA)
    if without_area:
        remarks.append(f"left out: {count(without_area, 'point or line', 'points and lines')}")
    if kinds["rectangle"]:
        remarks.append(f"{count(kinds['rectangle'], 'rectangle')} read as filled masks")
    images = {path for folder in folders for path in folder.resolve().iterdir() if is_image(path)}
    unused = images - {file.image for file in files}
    if unused:
        remarks.append(f"left out: {count(len(unused), 'image')} without a JSON file")
    return remarks
