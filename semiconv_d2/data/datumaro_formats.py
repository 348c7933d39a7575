"""Exports of annotation tools: YOLO's and CVAT's, and whatever else datumaro reads.

YOLO's and CVAT's files are read here, since datumaro (as of 1.13) loses what is needed of them: it
passes over YOLO's label files with polygons, and of a CVAT project with several tasks it gives the
shapes of all images with the same number in their tasks to one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from semiconv_d2.data.custom import (
    SPLITS,
    Instance,
    OwnData,
    Shape,
    Size,
    Source,
    by_split,
    check_named_size,
    count,
    crop_mask,
    ellipse_mask,
    paint_shapes,
    polygon_mask,
    read_points,
)
from semiconv_d2.data.files import DatasetError, describe_folder, read_lines
from semiconv_d2.data.mask_files import IMAGE_SUFFIXES, try_all

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from datumaro.components.annotation import Annotation
    from datumaro.components.dataset_base import DatasetItem

_TOLERANCE = 1e-6  # of relative coordinates beyond the border, by rounding
_CVAT_LEFT_OUT = ("box", "cuboid", "points", "polyline", "skeleton")
_DATUMARO_MASKS = ("polygon", "mask", "ellipse")
_DATUMARO_WHOLE = ("label", "caption")  # of the whole image


class YoloLabels(NamedTuple):
    """What the label file of an image says."""

    polygons: Sequence[tuple[int, np.ndarray]]
    """Class and points (P, 2) float64, (x, y) as parts of the image's width and height."""
    boxes: int
    """Number of boxes, which say nothing of a mask."""


def yolo_data(root: Path) -> OwnData:
    """A data set for segmentation in the layout of Ultralytics, with a `data.yaml`.

    The folders that `train`, `val` and `test` name there, or the lists of images, are looked for
    in the root where they are not found as written. The label file of an image lies in the folder
    `labels` in place of `images`; an image without one has no instances.

    Raises:
        DatasetError: naming the file, and the line in it, that is not what it has to be.
    """
    path = root / "data.yaml" if root.is_dir() else root
    config = _read_yaml(path)
    names = _read_names(path, config.get("names"))
    images = {
        split: _find_yolo_images(path, config, split) for split in SPLITS if config.get(split)
    }
    if not images.get("train"):
        raise DatasetError(f"{path} names no images for training (train)")
    remarks = []
    for split in [split for split in images if split != "train"]:
        if images[split] == images["train"]:
            del images[split]
            remarks.append(f"{path} names the same images for {split} as for train")
    files = {image: _label_path(image) for split in images.values() for image in split}
    _refuse_stray_labels(files)
    labelled = [image for image, label in files.items() if label.is_file()]
    for split, paths in images.items():
        if not set(paths) & set(labelled):
            raise DatasetError(
                f"no image for {split} has a label file; that of {paths[0]} would be "
                f"{files[paths[0]]}"
            )
    if len(labelled) < len(files):
        unlabelled = count(len(files) - len(labelled), "image")
        remarks.append(f"{unlabelled} without a label file taken as without instances")
    read = try_all(lambda image: read_yolo_labels(files[image], names), labelled)
    labels = dict.fromkeys(files, YoloLabels((), 0)) | dict(zip(labelled, read, strict=True))
    boxes = sum(label.boxes for label in labels.values())
    if boxes:
        remarks.append(f"left out: {count(boxes, 'box', 'boxes')} without a mask")
    numbers = {key: number for number, key in enumerate(names, start=1)}
    splits = {
        split: [_yolo_source(image, labels[image], numbers) for image in paths]
        for split, paths in images.items()
    }
    return OwnData(list(names.values()), splits, remarks)


def read_yolo_labels(path: Path, classes: Mapping[int, str]) -> YoloLabels:
    """Read and check a label file: in each line a class and the points of a polygon, or a box.

    Args:
        classes: names of the classes by their numbers.

    Raises:
        DatasetError: the file cannot be read, or a line is neither; naming the line.
    """
    polygons, boxes = [], 0
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        kind = _read_class(where, fields[0], classes)
        try:
            values = np.array(fields[1:], dtype=np.float64)
        except ValueError as error:
            raise DatasetError(f"{where} has a coordinate that is no number: {error}") from error
        outside = ~((values >= -_TOLERANCE) & (values <= 1 + _TOLERANCE))  # NaN too
        if outside.any():
            raise DatasetError(
                f"{where} has the coordinate {values[outside][0]:g}; they have to be parts of the "
                f"image's width and height, in [0, 1]"
            )
        if len(values) == 4:
            boxes += 1
        elif len(values) >= 6 and len(values) % 2 == 0:
            polygons.append((kind, values.reshape(-1, 2)))
        else:
            raise DatasetError(
                f"{where} has {count(len(values), 'number')} after the class: 4 are a box, and an "
                f"even number of at least 6 the points of a polygon"
            )
    return YoloLabels(polygons, boxes)


def _read_class(where: str, field: str, classes: Mapping[int, str]) -> int:
    kind = int(field) if field.isdecimal() else None
    if kind not in classes:
        raise DatasetError(
            f"{where} has the class {field}; data.yaml names "
            f"{', '.join(map(str, list(classes)[:20]))}{', ...' if len(classes) > 20 else ''}"
        )
    return kind


def _yolo_source(image: Path, labels: YoloLabels, numbers: Mapping[int, int]) -> Source:
    def paint(points: np.ndarray, size: Size) -> np.ndarray:
        return polygon_mask(points * size[::-1], size)

    shapes = [
        Shape(numbers[kind], None, partial(paint, points)) for kind, points in labels.polygons
    ]
    return Source(image, partial(paint_shapes, shapes))


def _read_yaml(path: Path) -> dict:
    try:
        import yaml
    except ImportError as error:
        raise DatasetError(f"reading {path} needs PyYAML: pip install pyyaml") from error
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing, which names the classes and the folders of images; found: "
            f"{describe_folder(path.parent)}"
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"cannot read {path} as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise DatasetError(f"{path} has no settings such as train: and names:")
    return config


def _read_names(path: Path, names: object) -> dict[int, str]:
    """Names of the classes by their numbers, in the order of the numbers."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(type(key) is int for key in names):
        raise DatasetError(f"{path} does not name the classes: names: has to list them")
    return {key: str(names[key]) for key in sorted(names)}


def _find_yolo_images(path: Path, config: Mapping, split: str) -> list[Path]:
    """Images of a split: those of its folders, and those in its lists of images."""
    named = config[split] if isinstance(config[split], list) else [config[split]]
    images: dict[Path, None] = {}
    for name in map(str, named):
        found = _find_named(path.parent, str(config.get("path") or "."), name)
        if found is None:
            raise DatasetError(
                f"{path} names {name} for {split}, which is missing: mend the path in it, or "
                f"remove the line; found beside it: {describe_folder(path.parent)}"
            )
        if found.is_dir():
            files = [file for file in sorted(found.rglob("*")) if _is_image(file)]
        else:
            files = [_find_listed(path.parent, found, line) for line in read_lines(found)]
        if not files:
            raise DatasetError(f"{found} has no images, {path} names it for {split}")
        images.update(dict.fromkeys(files))
    return list(images)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _find_listed(root: Path, path: Path, line: str) -> Path:
    found = _find_named(root, str(path.parent), line)
    if found is None:
        raise DatasetError(f"{path} names an image that is missing: {line}")
    return found


def _find_named(root: Path, base: str, name: str) -> Path | None:
    """What a path in a data.yaml means: as it is written or, since data sets move and their
    files keep the old paths, what its last parts name in the root."""
    written = Path(root, base, PureWindowsPath(name).as_posix())
    if written.exists():
        return _absolute(written)
    parts = [part for part in PureWindowsPath(name).parts if part not in ("..", ".")]
    moved = (root.joinpath(*parts[begin:]) for begin in range(len(parts)))
    return next((_absolute(path) for path in moved if path.exists()), None)


def _absolute(path: Path) -> Path:
    return Path(path.parent.resolve(), path.name)


def _label_path(image: Path) -> Path:
    """Label file of an image: in `labels` in place of the last `images`, or else beside it."""
    folders = list(image.parent.parts)
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folder = Path(*folders[:last], "labels", *folders[last + 1 :])
        if folder.is_dir():
            return folder / f"{image.stem}.txt"
    return image.with_suffix(".txt")


def _refuse_stray_labels(files: Mapping[Path, Path]) -> None:
    """Refuse label files without an image of their name; images may be left out on purpose."""
    folders: dict[Path, set[Path]] = {}
    for image, label in files.items():
        if image.parent != label.parent:
            folders.setdefault(label.parent, set()).add(image.parent)
    for folder, images in folders.items():
        stems = {path.stem for parent in images for path in parent.iterdir() if _is_image(path)}
        for path in sorted(folder.glob("*.txt")):
            if path.stem not in stems and path.name != "classes.txt":  # which tools write
                raise DatasetError(
                    f"{path} belongs to no image: name it after its image, or remove it"
                )


class _CvatImage(NamedTuple):
    """An image in CVAT's XML."""

    subset: str | None
    source: Source
    left_out: Counter[str]
    """Numbers of shapes without a mask, by their kind."""


def cvat_data(root: Path, images: Path | None = None) -> OwnData:
    """An export "CVAT for images 1.1" of a task or a project.

    Polygons, masks and ellipses are instances, joined where they have the same label and group.
    The subsets of a project are its splits where they are named train, val (or validation) and
    test.

    Args:
        root: the XML file, or the folder that has it.
        images: folder of the images; by default the folder `images` beside the XML, or that of
            the XML.

    Raises:
        DatasetError: naming the file, and the image and shape in it, that is not what it has to be.
    """
    path = _find_cvat(root)
    tree = _read_xml(path)
    if tree.find("track") is not None:
        raise DatasetError(
            f'{path} has tracks of a video: export the task as "CVAT for images 1.1" instead'
        )
    names = [
        name.text or "" for label in tree.iter("label") if (name := label.find("name")) is not None
    ]
    names = list(dict.fromkeys(names))
    entries = tree.findall("image")
    if not entries:
        raise DatasetError(f'{path} has no images: export the task as "CVAT for images 1.1"')
    folders = [images] if images is not None else [path.parent / "images", path.parent]
    every = try_all(partial(_read_cvat_image, path=path, folders=folders, names=names), entries)
    left_out = sum((image.left_out for image in every), Counter())
    splits = by_split([(image.subset, image.source) for image in every])
    return OwnData(names, splits, _say_left_out(left_out, "shape"))


def _find_cvat(root: Path) -> Path:
    if not root.is_dir():
        return root
    paths = sorted(root.glob("*.xml"))
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
        raise DatasetError(f"{path} is not of CVAT: it has <{tree.tag}> and not <annotations>")
    return tree


def _read_cvat_image(
    entry: Element, path: Path, folders: Sequence[Path], names: Sequence[str]
) -> _CvatImage:
    name, subset = entry.get("name", ""), entry.get("subset")
    where = f"{path}, image {name}"
    candidates = [
        candidate
        for folder in folders
        for candidate in (folder / name, *([folder / subset / name] if subset else []))
    ]
    image = next((candidate for candidate in candidates if candidate.is_file()), None)
    if image is None:
        raise DatasetError(
            f"{where} is missing, looked for at {' and '.join(map(str, candidates))}: export with "
            f"the images, or give their folder by --images"
        )
    size = tuple(_whole(where, entry, side) for side in ("height", "width"))
    shapes, left_out = [], Counter()
    for number, element in enumerate(entry, start=1):
        if element.tag in _CVAT_LEFT_OUT:
            left_out[element.tag] += 1
        elif element.tag != "tag":  # which is of the whole image
            shapes.append(_read_cvat_shape(f"{where}, shape {number}", element, names, size))

    def read(real: Size) -> list[Instance]:
        check_named_size(where, size, image, real)
        return paint_shapes(shapes, real)

    return _CvatImage(subset, Source(image, read), left_out)


def _read_cvat_shape(where: str, element: Element, names: Sequence[str], size: Size) -> Shape:
    label = element.get("label")
    if label not in names:
        raise DatasetError(f"{where} has the label {label!r}, which is not among the labels")
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points", "").split(";") if pair.strip()]
        points = read_points(where, pairs)
        if len(points) < 3:
            raise DatasetError(
                f"{where} is a polygon of {count(len(points), 'point')}, at least 3 are needed: "
                f"mend or delete it in CVAT"
            )
        paint = partial(polygon_mask, points)
    elif element.tag == "mask":
        left, top = (_whole(where, element, side) for side in ("left", "top"))
        paint = partial(crop_mask, _read_cvat_crop(where, element, size), left, top)
    elif element.tag == "ellipse":
        values = [
            [element.get(key) for key in ("cx", "cy")],
            [element.get(k) for k in ("rx", "ry")],
        ]
        (centre, radii) = read_points(where, values)
        degrees, _ = read_points(where, [[element.get("rotation", "0"), 0]])[0]
        paint = partial(ellipse_mask, tuple(centre), tuple(radii), degrees)
    else:
        raise DatasetError(
            f"{where} is of the unknown type {element.tag}; known are polygon, mask and ellipse, "
            f"and {', '.join(_CVAT_LEFT_OUT)}, which are left out"
        )
    group = element.get("group_id", "0")
    return Shape(names.index(label) + 1, None if group == "0" else group, paint)


def _read_cvat_crop(where: str, element: Element, size: Size) -> np.ndarray:
    """Mask of a shape inside its box, (h, w) bool: lengths of runs along the rows, the first one
    of them outside."""
    height, width = (_whole(where, element, side) for side in ("height", "width"))
    try:
        runs = np.array(element.get("rle", "").split(","), dtype=np.int64)
    except ValueError as error:
        raise DatasetError(f"{where} has a run-length encoding of no numbers: {error}") from error
    if height > size[0] or width > size[1] or (runs < 0).any() or runs.sum() != height * width:
        raise DatasetError(
            f"{where} is a mask of {height} x {width} pixels (height x width) with runs of "
            f"{runs.sum()} pixels in an image of {size[0]} x {size[1]}"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def _whole(where: str, element: Element, key: str) -> int:
    try:
        return int(element.get(key, ""))
    except ValueError as error:
        raise DatasetError(
            f"{where} has {key}={element.get(key)!r} where a whole number is needed"
        ) from error


def datumaro_data(root: Path, form: str) -> OwnData:
    """Whatever else datumaro reads, by the name that it has there, such as "coco".

    Polygons, masks and ellipses are instances, joined where they have the same category and group.
    Subsets are splits where their names begin with train, val and test.

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
    read = try_all(partial(_read_item, names=names), items)
    left_out = sum((kinds for _, kinds in read), Counter())
    splits = by_split(
        [(item.subset, source) for item, (source, _) in zip(items, read, strict=True)]
    )
    return OwnData(names, splits, _say_left_out(left_out, "annotation"))


def _read_item(item: DatasetItem, names: Sequence[str]) -> tuple[Source, Counter[str]]:
    """An image of datumaro, and the numbers of annotations without a mask by their kind."""

    image = getattr(item.media, "path", None)
    if not image:
        raise DatasetError(f"datumaro finds no image file for {item.id} ({item.subset})")
    masked = {one.group for one in item.annotations if one.type.name in _DATUMARO_MASKS}
    shapes, left_out = [], Counter()
    for annotation in item.annotations:
        kind, where = annotation.type.name, f"{image}, annotation {annotation.id}"
        if annotation.attributes.get("is_crowd"):
            left_out["crowd"] += kind in _DATUMARO_MASKS
        elif kind in _DATUMARO_MASKS:
            if annotation.label is None:
                raise DatasetError(f"{where} has no category")
            paint = partial(_paint_annotation, where, annotation)
            shapes.append(Shape(annotation.label + 1, annotation.group or None, paint))
        # In COCO, say, an instance is a group of its box and its polygons.
        elif kind not in _DATUMARO_WHOLE and annotation.group not in masked - {0}:
            left_out[kind] += 1
    return Source(Path(image), partial(paint_shapes, shapes)), +left_out


def _paint_annotation(where: str, annotation: Annotation, size: Size) -> np.ndarray:
    """Mask of an annotation with an area, (H, W) bool.

    Raises:
        DatasetError: it is a mask of another size.
    """
    if annotation.type.name != "mask":
        # Coordinates have two decimals there, kept in single precision.
        points = np.round(np.array(annotation.points, dtype=np.float64), 2)
        points = read_points(where, points.reshape(-1, 2))
    if annotation.type.name == "ellipse":
        (x1, y1), (x2, y2) = points
        return ellipse_mask(((x1 + x2) / 2, (y1 + y2) / 2), ((x2 - x1) / 2, (y2 - y1) / 2), 0, size)
    if annotation.type.name == "polygon":
        return polygon_mask(points, size)
    mask = np.asarray(annotation.image) > 0
    if mask.shape != size:
        raise DatasetError(
            f"{where} is a mask of {mask.shape} pixels (height, width), its image is {size}"
        )
    return mask


def _say_left_out(left_out: Counter[str], what: str) -> list[str]:
    if not left_out:
        return []
    kinds = ", ".join(f"{number} of type {kind}" for kind, number in sorted(left_out.items()))
    return [f"left out: {count(left_out.total(), what)} without a mask ({kinds})"]


def _reason(error: BaseException) -> str:
    """The first cause of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
