"""Annotations of the LabelMe application: a JSON file with shapes for each image.

Polygons, rectangles, circles and masks are instances, joined where they have the same label and
`group_id`. Points and lines enclose nothing and are left out. The older LabelMe of MIT writes XML,
which `datumaro_formats` reads.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder, read_json
from .mask_files import IMAGE_SUFFIXES, try_all
from .own import (
    SPLITS,
    Instance,
    OwnData,
    Shape,
    Size,
    Source,
    check_named_size,
    count,
    crop_mask,
    ellipse_mask,
    paint_shapes,
    polygon_mask,
    read_points,
)

_WITHOUT_AREA = ("point", "points", "line", "linestrip")


class LabelmeShape(NamedTuple):
    """A shape that encloses something."""

    label: str
    group: int | None
    kind: str
    paint: Callable[[Size], np.ndarray]
    """Takes height and width of the image, returns the mask (height, width) bool."""


class LabelmeFile(NamedTuple):
    """What a JSON file says."""

    path: Path
    image: Path
    size: tuple[int | None, int | None]
    """Height and width of the image, None where the file does not say."""
    shapes: Sequence[LabelmeShape]
    without_area: int
    """Number of points and lines."""


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
    names = list(categories) or sorted({shape.label for file in every for shape in file.shapes})
    splits = {split: try_all(partial(_source, categories=names), files[split]) for split in folders}
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
    shapes = [
        _read_shape(f"{path}, shape {number}", shape)
        for number, shape in enumerate(content["shapes"], start=1)
    ]
    found = [shape for shape in shapes if shape is not None]
    size = (content.get("imageHeight"), content.get("imageWidth"))
    return LabelmeFile(path, _find_image(path, name), size, found, len(shapes) - len(found))


def _find_image(path: Path, name: str) -> Path:
    """The image that a file names, or that of its name beside it where the name is of a place on
    another computer."""
    image = path.parent / PureWindowsPath(name).as_posix()  # Windows writes backslashes
    beside = path.parent / image.name
    for candidate in (image, beside):
        if candidate.is_file():
            return Path(candidate.parent.resolve(), candidate.name)
    raise DatasetError(f"the image that {path} names is missing: {image}")


def _read_shape(where: str, shape: object) -> LabelmeShape | None:
    """A shape, or None where it encloses nothing."""
    if not isinstance(shape, dict):
        raise DatasetError(f"{where} is no shape")
    kind = shape.get("shape_type") or "polygon"  # which old versions do not write
    label, group = shape.get("label"), shape.get("group_id")
    label = label.strip() if isinstance(label, str) else label
    if kind in _WITHOUT_AREA:
        return None
    if not isinstance(label, str) or not label:
        raise DatasetError(f"{where} has no label")
    if group is not None and not isinstance(group, int):
        raise DatasetError(f"{where} has the group_id {group!r}, which is no whole number")
    points = read_points(where, shape.get("points"))
    needed = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
    if kind not in needed:
        raise DatasetError(
            f"{where} is of the unknown type {kind!r}; known are {', '.join(needed)}, and "
            f"{', '.join(_WITHOUT_AREA)}, which are left out"
        )
    if len(points) < needed[kind]:
        raise DatasetError(
            f"{where} is a {kind} of {count(len(points), 'point')}, at least {needed[kind]} are "
            f"needed: mend or delete it in LabelMe"
        )
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
    return LabelmeShape(label, group, kind, paint)


def _read_crop(where: str, encoded: object, points: np.ndarray) -> np.ndarray:
    """Mask of a shape inside its box, (h, w) bool."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            crop = np.asarray(image) > 0
    except Exception as error:  # Pillow's readers of damaged files raise whatever comes up
        raise DatasetError(f"{where} has a mask that cannot be read: {error}") from error
    width, height = (points[1] - points[0]).astype(int) + 1
    if crop.shape != (height, width):
        raise DatasetError(
            f"{where} has a mask of {crop.shape} pixels (height, width), its points are the "
            f"corners of {(int(height), int(width))}"
        )
    return crop


def _source(file: LabelmeFile, categories: Sequence[str]) -> Source:
    for shape in file.shapes:
        if shape.label not in categories:
            raise DatasetError(
                f"{file.path} has the label {shape.label!r}, which is not among the categories "
                f"{', '.join(categories)}"
            )
    shapes = [
        Shape(categories.index(shape.label) + 1, shape.group, shape.paint) for shape in file.shapes
    ]

    def read(size: Size) -> list[Instance]:
        check_named_size(str(file.path), file.size, file.image, size)
        return paint_shapes(shapes, size)

    return Source(file.image, read)


def _remarks(files: Sequence[LabelmeFile], folders: Iterable[Path]) -> list[str]:
    remarks = []
    without_area = sum(file.without_area for file in files)
    if without_area:
        remarks.append(f"left out: {count(without_area, 'point or line', 'points and lines')}")
    kinds = Counter(shape.kind for file in files for shape in file.shapes)
    if kinds["rectangle"]:
        remarks.append(f"{count(kinds['rectangle'], 'rectangle')} read as filled masks")
    annotated = {file.image for file in files}
    unused = [
        path
        for folder in folders
        for path in folder.resolve().iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path not in annotated
    ]
    if unused:
        remarks.append(f"left out: {count(len(unused), 'image')} without a JSON file")
    return remarks
