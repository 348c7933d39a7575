"""CVAT's annotations: an XML file of the format "CVAT for images 1.1" for all images.

Polygons, masks and ellipses are instances; shapes with the same label and group are one instance.
Other shapes have no mask and are left out. The file is read here, because datumaro (as of 1.13)
mixes up images in a project of several tasks: if images have the same number in their tasks, it
gives the shapes of all of them to one image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder, refuse_all, try_each
from ..images import Size
from ..names import is_file, is_hidden, leads_out
from .own import OwnData, Source, subsets_data
from .shapes import (
    Shape,
    crop_mask,
    ellipse_mask,
    polygon_mask,
    read_points,
    require_points,
    shapes_source,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LEFT_OUT = ("box", "cuboid", "points", "polyline", "skeleton")


def cvat_data(root: Path, images: Path | None = None) -> OwnData:
    """An export "CVAT for images 1.1" of a task or a project.

    The subsets of a project are its splits if they are named train, val (or validation) and test.

    Args:
        root: the XML file, or the folder that has it.
        images: folder of the images; by default the folder `images` beside the XML, or the folder
            of the XML.

    Raises:
        DatasetError: there is no such file, or none of its images can be read.
    """
    path = _find_xml(root)
    tree = _read_xml(path)
    if tree.find("track") is not None:
        raise DatasetError(
            f'{path} has tracks of a video: export the task as "CVAT for images 1.1" instead'
        )
    labels = [label.find("name") for label in tree.iter("label")]
    names = list(dict.fromkeys(name.text or "" for name in labels if name is not None))
    entries = tree.findall("image")
    if not entries:
        raise DatasetError(f'{path} has no images: export the task as "CVAT for images 1.1"')
    folders = [images] if images is not None else [path.parent / "images", path.parent]
    ids = {name: number for number, name in enumerate(names, start=1)}
    read, problems = try_each(partial(_read_image, path=path, folders=folders, ids=ids), entries)
    if not read:
        refuse_all(problems)
    return subsets_data(names, [found for _, found in read], "shape", problems)


def _find_xml(root: Path) -> Path:
    if not root.is_dir():
        return root
    paths = [path for path in sorted(root.glob("*.xml")) if not is_hidden(path)]
    if len(paths) != 1:
        raise DatasetError(
            f"{root} has {len(paths)} XML files, expected one, such as annotations.xml of an "
            f"export; found: {describe_folder(root)}"
        )
    return paths[0]


def _read_xml(path: Path) -> Element:
    from xml.etree import ElementTree

    try:
        tree = ElementTree.parse(path).getroot()
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise DatasetError(f"cannot read {path} as XML: {error}") from error
    if tree.tag != "annotations":
        raise DatasetError(f"{path} is not of CVAT: it has <{tree.tag}>, not <annotations>")
    return tree


def _read_image(
    entry: Element, path: Path, folders: Sequence[Path], ids: Mapping[str, int]
) -> tuple[str | None, Source, Counter[str]]:
    """The subset of an image, the image, and the numbers of shapes without a mask by their kind."""
    name = entry.get("name", "").replace("\\", "/")  # Windows writes backslashes
    subset = entry.get("subset")
    where = f"{path}, image {name}"
    if not name or leads_out(name) or leads_out(subset or ""):
        raise DatasetError(f"{where} has a name that leads out of the folder of images")
    below = [Path(name), *([Path(subset, name)] if subset else [])]
    candidates = [folder / part for folder in folders for part in below]
    image = next((candidate for candidate in candidates if is_file(candidate)), None)
    if image is None:
        raise DatasetError(
            f"{where} is missing, it was looked for at {' and '.join(map(str, candidates))}: "
            f"export with the images, or give their folder by --images"
        )
    height, width = (_whole(where, entry, side) for side in ("height", "width"))
    elements = [
        (f"{where}, shape {number}", element)
        for number, element in enumerate(entry, start=1)
        if element.tag not in (*_LEFT_OUT, "tag")  # a tag is of the whole image
    ]
    read, problems = try_each(lambda each: _read_shape(*each, ids), elements)
    left_out = Counter(element.tag for element in entry if element.tag in _LEFT_OUT)
    shapes = [shape for _, shape in read]
    source = shapes_source(image, shapes, ids, where, (height, width), problems)
    return subset, source, left_out


def _read_shape(where: str, element: Element, known: Container[str]) -> Shape:
    label = element.get("label")
    if label not in known:
        raise DatasetError(f"{where} has the label {label!r}, which is not among the labels")
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points", "").split(";") if pair.strip()]
        points = read_points(where, pairs)
        require_points(where, "polygon", points, 3, "CVAT")
        paint = partial(polygon_mask, points)
    elif element.tag == "mask":
        left, top, height, width = (
            _whole(where, element, key) for key in ("left", "top", "height", "width")
        )
        paint = partial(_paint_runs, element.get("rle", ""), (height, width), left, top)
    elif element.tag == "ellipse":
        cx, cy, rx, ry = (element.get(key) for key in ("cx", "cy", "rx", "ry"))
        turned = [element.get("rotation", "0"), 0]
        centre, radii, (degrees, _) = read_points(where, [[cx, cy], [rx, ry], turned])
        paint = partial(ellipse_mask, tuple(centre), tuple(radii), degrees)
    else:
        raise DatasetError(
            f"{where} is of the unknown type {element.tag}; known are polygon, mask and ellipse, "
            f"and {', '.join(_LEFT_OUT)}, which are left out"
        )
    group = element.get("group_id", "0")
    return Shape(label, None if group == "0" else group, paint, where)


def _paint_runs(text: str, sides: Size, left: int, top: int, size: Size) -> np.ndarray:
    """Mask of a shape in its image, (H, W) bool.

    Args:
        text: lengths of runs along the rows of a box; the first run is outside of the shape.
        sides: height and width of the box.
        left, top: where the box begins.
    """
    try:
        runs = np.array(text.split(","), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"its run-length encoding has no whole numbers: {error}") from error
    height, width = sides
    fits = 0 <= height <= size[0] and 0 <= width <= size[1]
    if not fits or (runs < 0).any() or sum(runs.tolist()) != height * width:
        raise DatasetError(
            f"it is a mask of {height} x {width} pixels (height x width) with runs of "
            f"{sum(runs.tolist())} pixels in an image of {size[0]} x {size[1]}"
        )
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return crop_mask(crop, left, top, size)


def _whole(where: str, element: Element, key: str) -> int:
    try:
        return int(element.get(key, ""))
    except ValueError as error:
        raise DatasetError(
            f"{where} has {key}={element.get(key)!r} where a whole number is needed"
        ) from error
