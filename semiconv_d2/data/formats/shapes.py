"""Shapes of annotation tools, painted to masks.

Coordinates are (x, y) in pixels from the top left corner of the image; the centre of the pixel in
row i and column j lies at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..coco.segmentations import FARTHEST, draw_polygons
from ..images import Size, tell_turning
from .own import ReadInstances, Source
from .summary import count


class Shape(NamedTuple):
    """A part of an instance, or all of it."""

    category: object
    """A name or a number, as in the form."""
    group: object
    """Shapes of the same category and group are one instance; a shape with None is one alone."""
    paint: Callable[[Size], np.ndarray]
    """Takes height and width of the image, returns the mask (height, width) bool."""
    where: str = ""
    """Its file and place in it, for people."""


def paint_shapes(
    shapes: Iterable[Shape], size: Size
) -> tuple[list[tuple[np.ndarray, object]], list[str]]:
    """Masks (H, W) bool and categories of instances, and messages about shapes that cannot be
    painted. An instance of several shapes comes at the place of the first one."""
    masks: dict[tuple, np.ndarray] = {}
    problems = []
    for number, shape in enumerate(shapes):
        alone = shape.group is None
        key = (shape.category, alone, number if alone else shape.group)
        try:
            mask = shape.paint(size)
        except DatasetError as error:
            problems.append(f"{shape.where}: {error}" if shape.where else str(error))
            continue
        masks[key] = masks[key] | mask if key in masks else mask
    return [(mask, key[0]) for key, mask in masks.items()], problems


def shapes_source(
    image: Path,
    shapes: Iterable[Shape],
    ids: Mapping,
    where: str = "",
    named: tuple[object, object] = (None, None),
    problems: Sequence[str] = (),
) -> Source:
    """An image whose instances are shapes.

    Args:
        ids: category ids by the categories of the shapes.
        where, named: of the annotations, see `check_named_size`.
        problems: messages about other shapes.
    """

    def read(size: Size) -> ReadInstances:
        check_named_size(where, named, image, size)
        painted, unpainted = paint_shapes(shapes, size)
        instances = [(mask, ids[category]) for mask, category in painted]
        return ReadInstances(instances, [*problems, *unpainted])

    return Source(image, read)


def check_named_size(where: str, named: tuple[object, object], image: Path, size: Size) -> None:
    """Check that annotations are for an image of this size.

    Args:
        where: beginning of the message.
        named: height and width that the annotations name; None for a side that they do not name.
        size: of the image file.

    Raises:
        DatasetError: they are for an image of another size.
    """
    for one, other, what in zip(named, size, ("high", "wide"), strict=True):
        if one is not None and one != other:
            raise DatasetError(
                f"{where} is for an image {one} pixels {what}, but {image} is {other}: the image "
                f"has been replaced or resized since{tell_turning(image)}"
            )


def read_points(where: str, points: object) -> np.ndarray:
    """Reads and checks the points of an outline, (P, 2) float64.

    Args:
        where: beginning of messages.
        points: should be pairs of numbers.

    Raises:
        DatasetError: they are something else, not finite, or too far away to be pixels.
    """
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where} has points that are not pairs of numbers: {error}") from error
    if not array.size:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise DatasetError(f"{where} has points that are not pairs of finite numbers")
    farthest = np.abs(array).max()
    if farthest > FARTHEST:
        raise DatasetError(f"{where} has a coordinate of {farthest:.6g}, which no image has")
    return array


def require_points(where: str, kind: str, points: np.ndarray, needed: int, tool: str) -> None:
    """Check that a shape has enough points.

    Args:
        where: beginning of the message.
        kind: of the shape.
        tool: the tool in which to mend the shape.

    Raises:
        DatasetError: it has fewer than needed.
    """
    if len(points) < needed:
        raise DatasetError(
            f"{where} is a {kind} of {count(len(points), 'point')}, but at least {needed} are "
            f"needed: mend or delete it in {tool}"
        )


def polygon_mask(points: np.ndarray, size: Size) -> np.ndarray:
    """Pixels inside a polygon, as COCO's tools draw it; (H, W) bool.

    Args:
        points: (P, 2) float, at least three. What lies outside of the image is cut off.

    Raises:
        SegmentationError: the outline is too long.
    """
    import pycocotools.mask as mask_util

    encoded = draw_polygons([np.asarray(points, dtype=np.float64)], size)
    return np.zeros(size, dtype=bool) if encoded is None else mask_util.decode(encoded) > 0


def ellipse_mask(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float, size: Size
) -> np.ndarray:
    """Pixels whose centres lie in an ellipse, (H, W) bool.

    Args:
        centre: (x, y) in pixels.
        radii: in pixels, along x and y before it is turned.
        degrees: by which it is turned, from x towards y.
    """
    if min(radii) <= 0:
        return np.zeros(size, dtype=bool)
    y, x = np.ogrid[: size[0], : size[1]]
    dx, dy = x + 0.5 - centre[0], y + 0.5 - centre[1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def crop_mask(crop: np.ndarray, left: int, top: int, size: Size) -> np.ndarray:
    """A mask (H, W) bool with a crop of it (h, w) bool at its place, cut off at the borders.

    Args:
        left: column of the crop's first column, may be negative.
        top: row of its first row, may be negative.
    """
    rows, columns = np.nonzero(crop)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    mask = np.zeros(size, dtype=bool)
    mask[rows[inside], columns[inside]] = True
    return mask
