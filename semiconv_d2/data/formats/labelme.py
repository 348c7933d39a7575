"""Annotations of the LabelMe application: a JSON file with shapes for each image.

Polygons, rectangles, circles and masks are instances; shapes with the same label and `group_id` are
one instance. Points and lines enclose nothing and are left out. The older LabelMe of MIT writes
XML, which `datumaro_formats` reads.
"""

from __future__ import annotations

import base64
import glob
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..coco.json_values import is_number, shorten
from ..files import describe_folder, one_line, read_json, refuse_all, try_each
from ..images import Size, is_image
from ..names import is_file, is_hidden
from .own import SPLITS, OwnData, Source
from .shapes import (
    Shape,
    crop_mask,
    ellipse_mask,
    polygon_mask,
    read_points,
    require_points,
    shapes_source,
)
from .summary import count

_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_NEEDED = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}  # points


class LabelmeFile(NamedTuple):
    """The content of a JSON file."""

    path: Path
    image: Path
    size: tuple[int | None, int | None]
    """Height and width of the image, None if the file does not say."""
    shapes: Sequence[Shape]
    """Shapes that enclose something."""
    kinds: Counter[str]
    """Numbers of shapes by their types, also of those that enclose nothing."""
    problems: Sequence[str]
    """Messages about wrong shapes."""


def labelme_data(root: Path, categories: Sequence[str] = ()) -> OwnData:
    """The JSON files of a folder, or else of its folders `train`, `val` and `test`.

    Args:
        categories: their names in the order of their ids; by default all labels, sorted.

    Raises:
        DatasetError: there are no such files, or none that can be read.
    """
    folders = {"train": root}
    if not _json_files(root):
        folders = {split: root / split for split in SPLITS if _json_files(root / split)}
    if not folders:
        raise DatasetError(
            f"{root} has no JSON files of LabelMe, neither itself nor in folders "
            f"{', '.join(SPLITS)}; found: {describe_folder(root)}"
        )
    read = {split: try_each(read_labelme, _json_files(folder)) for split, folder in folders.items()}
    files = {split: [file for _, file in found] for split, (found, _) in read.items()}
    every = [file for split in files.values() for file in split]
    problems = [problem for _, unread in read.values() for problem in unread]
    if not every:
        refuse_all(problems)
    labels = {str(shape.category) for file in every for shape in file.shapes}
    names = list(categories) or sorted(labels)
    ids = {name: number for number, name in enumerate(names, start=1)}
    splits = {split: [_source(file, ids) for file in files[split]] for split in folders}
    return OwnData(names, splits, _remarks(every, folders.values()), problems)


def _json_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.json")) if not is_hidden(path)]


def read_labelme(path: Path) -> LabelmeFile:
    """Read and check a JSON file; the image itself is not opened.

    Raises:
        DatasetError: the file is missing, damaged or not of LabelMe, or its image is missing.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DatasetError(f"{path} has no list of shapes, so it is not of LabelMe: remove it")
    image = _find_image(path, content.get("imagePath"))
    kinds: Counter[str] = Counter()
    numbered = list(enumerate(content["shapes"], start=1))
    read, problems = try_each(
        lambda each: _read_shape(f"{path}, shape {each[0]}", each[1], kinds), numbered
    )
    size = (content.get("imageHeight"), content.get("imageWidth"))
    shapes = [shape for _, shape in read if shape is not None]
    return LabelmeFile(path, image, size, shapes, kinds, problems)


def _find_image(path: Path, name: object) -> Path:
    """The image that a JSON file names. If it is not there, an image of the same name beside the
    JSON, since the path may be of another computer; without a name, the image with the name of the
    JSON."""
    if not isinstance(name, str) or not name:
        images = [p for p in path.parent.glob(f"{glob.escape(path.stem)}.*") if is_image(p)]
        if len(images) != 1:
            raise DatasetError(f"{path} does not name its image (imagePath)")
        name = images[0].name
    image = path.parent / PureWindowsPath(name).as_posix()  # Windows writes backslashes
    for candidate in (image, path.parent / image.name):
        if is_file(candidate):
            return Path(candidate.parent.resolve(), candidate.name)
    raise DatasetError(f"the image that {path} names is missing: {image}")


def _read_shape(where: str, shape: object, kinds: Counter[str]) -> Shape | None:
    """A shape, or None if it encloses nothing; both are counted by their type."""
    if not isinstance(shape, dict):
        raise DatasetError(f"{where} is not a shape")
    kind = shape.get("shape_type") or "polygon"  # old versions do not write the type
    if not isinstance(kind, str) or kind not in (*_NEEDED, *_WITHOUT_AREA):
        raise DatasetError(
            f"{where} is of the unknown type {shorten(kind)}; known are {', '.join(_NEEDED)}, and "
            f"{', '.join(_WITHOUT_AREA)}, which are left out"
        )
    kinds[kind] += 1
    if kind in _WITHOUT_AREA:
        return None
    label, group = shape.get("label"), shape.get("group_id")
    label = str(label).strip() if isinstance(label, str) or is_number(label) else ""
    if not label:
        raise DatasetError(f"{where} has no label")
    if group is not None and not isinstance(group, int | str):
        raise DatasetError(
            f"{where} has the group_id {shorten(group)}, which is not a whole number"
        )
    points = read_points(where, shape.get("points"))
    require_points(where, kind, points, _NEEDED[kind], "LabelMe")
    if kind == "mask":
        paint = partial(_paint_crop, shape.get("mask"), points)
    elif kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        paint = partial(ellipse_mask, tuple(points[0]), (radius, radius), 0)
    elif kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        paint = partial(polygon_mask, np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]))
    else:
        paint = partial(polygon_mask, points)
    return Shape(label, group, paint, where)


def _paint_crop(encoded: object, points: np.ndarray, size: Size) -> np.ndarray:
    """Mask of a shape in its image, (H, W) bool.

    Args:
        encoded: an image of the mask inside its box, as text.
        points: the first and the last pixel of that box.
    """
    from PIL import Image

    left, top = points[0].astype(int).tolist()
    width, height = ((points[1] - points[0]).astype(int) + 1).tolist()
    try:
        data = base64.b64decode(encoded, validate=True)  # type: ignore[arg-type]
        with Image.open(io.BytesIO(data)) as image:
            own = (image.height, image.width)
            crop = np.asarray(image) > 0 if own == (height, width) else None
    except Exception as error:  # Pillow's readers of damaged files raise whatever comes up
        raise DatasetError(f"its mask cannot be read: {one_line(error)}") from error
    if crop is None or crop.ndim != 2:
        shape = own if crop is None else crop.shape
        raise DatasetError(
            f"its mask is {shape} pixels (height, width), but its points are the corners of "
            f"{(height, width)}"
        )
    return crop_mask(crop, left, top, size)


def _source(file: LabelmeFile, ids: Mapping[str, int]) -> Source:
    known = [shape for shape in file.shapes if shape.category in ids]
    unknown = [
        f"{shape.where} has the label {shape.category!r}, which is not among the categories "
        f"{', '.join(ids)}"
        for shape in file.shapes
        if shape.category not in ids
    ]
    problems = [*file.problems, *unknown]
    return shapes_source(file.image, known, ids, str(file.path), file.size, problems)


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
