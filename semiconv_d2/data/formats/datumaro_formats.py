"""Annotations in any format that datumaro reads, such as COCO's or those of MIT's LabelMe.

Polygons, masks and ellipses are instances; those with the same category and group are one instance.
Other annotations have no mask and are left out. datumaro loses needed parts of YOLO's and CVAT's
files: `yolo` and `cvat` read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DatasetError
from ..files import one_line, refuse_all, try_each
from ..images import Size, require_size
from .own import OwnData, Source, subsets_data
from .shapes import Shape, ellipse_mask, polygon_mask, read_points, shapes_source

if TYPE_CHECKING:
    from datumaro.components.annotation import Annotation
    from datumaro.components.dataset_base import DatasetItem

_MASKS = ("polygon", "mask", "ellipse")
_WHOLE = ("label", "caption")  # of the whole image


def datumaro_data(root: Path, form: str) -> OwnData:
    """Data in any format that datumaro reads, by its name there, such as "coco".

    Subsets are splits if their names begin with train, val and test.

    Raises:
        DatasetError: datumaro is not installed or cannot read the data, or an image has no file.
    """
    try:
        import datumaro
    except ImportError as error:
        raise DatasetError(f"reading {form} needs datumaro: pip install datumaro") from error
    try:
        dataset = datumaro.Dataset.import_from(str(root), format=form)
        items = list(dataset)
        labels = dataset.categories().get(datumaro.AnnotationType.label, ())
        names = [label.name for label in labels]
    except Exception as error:  # plugins of datumaro raise whatever comes up
        raise DatasetError(f"datumaro cannot read {root} as {form}: {_reason(error)}") from error
    ids = {label: label + 1 for label in range(len(names))}
    crowds = _count_crowds(items)
    read, problems = try_each(partial(_read_item, ids=ids, crowds=not crowds), items)
    if not read:
        refuse_all(problems)
    data = subsets_data(names, [found for _, found in read], "annotation", problems)
    told = f"{crowds} crowds read as instances, because CVAT writes brush masks as crowds"
    return data._replace(remarks=[*data.remarks, told]) if crowds else data


def _count_crowds(items: Iterable[DatasetItem]) -> int:
    """The number of crowds if they surely are instances: several in an image are of one category,
    or there is nothing else. Otherwise 0."""
    masks = [
        (number, one.label, bool(one.attributes.get("is_crowd")))
        for number, item in enumerate(items)
        for one in item.annotations
        if one.type.name in _MASKS
    ]
    places = Counter((number, label) for number, label, crowd in masks if crowd)
    beside_others = sum(times for times in places.values() if times > 1)
    plain = places.total() == len(masks) or 2 * beside_others >= places.total()
    return places.total() if plain else 0


def _read_item(
    item: DatasetItem, ids: Mapping, crowds: bool
) -> tuple[str | None, Source, Counter[str]]:
    """The subset of an image, the image, and the numbers of annotations without a mask by kind.

    Args:
        crowds: whether crowds are left out.
    """
    image = getattr(item.media, "path", None)
    if not image:
        raise DatasetError(f"datumaro finds no image file for {item.id} ({item.subset})")
    masked = {one.group for one in item.annotations if one.type.name in _MASKS}
    shapes, problems = [], []
    left_out: Counter[str] = Counter()
    for annotation in item.annotations:
        kind, where = annotation.type.name, f"{image}, annotation {annotation.id}"
        if kind in _MASKS and crowds and annotation.attributes.get("is_crowd"):
            left_out["crowd"] += 1
        elif kind in _MASKS and annotation.label is None:
            problems.append(f"{where} has no category")
        elif kind in _MASKS:
            paint = partial(_paint_annotation, annotation)
            shapes.append(Shape(annotation.label, annotation.group or None, paint, where))
        # For example, an instance of COCO is a group of its box and its polygons.
        elif kind not in _WHOLE and annotation.group not in masked - {0}:
            left_out[kind] += not annotation.attributes.get("is_crowd")
    source = shapes_source(Path(image), shapes, ids, problems=problems)
    return item.subset, source, +left_out


def _paint_annotation(annotation: Annotation, size: Size) -> np.ndarray:
    """Mask of an annotation with an area, (H, W) bool.

    Raises:
        DatasetError: it is a mask of another size.
    """
    if annotation.type.name == "mask":
        mask = np.asarray(annotation.image) > 0
        require_size("it is a mask of", mask, "its image is", size)
        return mask
    # Coordinates have two decimals there, kept in single precision.
    points = np.round(np.array(annotation.points, dtype=np.float64), 2)
    points = read_points("it", points.reshape(-1, 2))
    if annotation.type.name == "polygon":
        return polygon_mask(points, size)
    (x1, y1), (x2, y2) = points
    return ellipse_mask(((x1 + x2) / 2, (y1 + y2) / 2), ((x2 - x1) / 2, (y2 - y1) / 2), 0, size)


def _reason(error: BaseException) -> str:
    """The first cause of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {one_line(error)}"
