"""YOLO's annotations: a text file with an outline in each line for each image, and a `data.yaml`.

Polygons are instances; boxes have no mask and are left out. The files are read here, because
datumaro (as of 1.13) skips label files with polygons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..coco.json_values import as_integer
from ..files import describe_folder, one_line, read_lines, read_text, try_each
from ..images import Size, is_image
from ..names import exists, is_hidden, visible_files
from .own import SPLITS, OwnData
from .shapes import Shape, polygon_mask, shapes_source
from .summary import count

_SLACK = 0.05  # of relative coordinates beyond the border, which are cut off there
_PIXELS = 2  # larger coordinates are surely not relative


class YoloLabels(NamedTuple):
    """The content of the label file of an image."""

    polygons: Sequence[Shape]
    boxes: int = 0
    """Number of boxes, which have no mask."""
    outside: int = 0
    """Number of polygons that reach a little out of the image."""
    problems: Sequence[str] = ()
    """What is wrong with other lines."""


def yolo_data(root: Path) -> OwnData:
    """A dataset for segmentation in the layout of Ultralytics, with a `data.yaml`.

    There, `train`, `val` and `test` name folders or lists of images. If these are not found as
    written, they are looked for in the root, and a remark says so. The label file of an image is in
    the folder `labels` instead of `images`; an image without a label file has no instances.

    Raises:
        DatasetError: the data.yaml is missing or broken, or there is nothing to train on.
    """
    path = root / "data.yaml" if root.is_dir() else root
    config = _read_yaml(path)
    names = _read_names(path, config.get("names"))
    remarks: list[str] = []
    problems: list[str] = []
    if not config.get("train"):
        raise DatasetError(f"{path} names no images for training (train)")
    images = {
        split: _find_images(path, config, split, remarks, problems)
        for split in SPLITS
        if config.get(split)
    }
    for split in [split for split in images if split != "train"]:
        if images[split] == images["train"]:
            del images[split]
            remarks.append(f"{path} names the same images for {split} as for train")
    files = {image: _label_path(image) for split in images.values() for image in split}
    problems += _find_stray_labels(files)
    labelled = [image for image, label in files.items() if label.is_file()]
    for split in list(images):
        if not set(images[split]) & set(labelled):
            _leave_out(split, images.pop(split), files, remarks)
    files = {image: files[image] for paths in images.values() for image in paths}
    labelled = [image for image in labelled if image in files]
    if len(labelled) < len(files):
        unlabelled = count(len(files) - len(labelled), "image")
        remarks.append(f"{unlabelled} without a label file read as images without instances")
    read, unread = try_each(lambda image: read_yolo_labels(files[image], names), labelled)
    labels = dict.fromkeys(set(files) - set(labelled), YoloLabels(())) | dict(read)
    boxes = sum(label.boxes for label in labels.values())
    if boxes:
        remarks.append(f"left out: {count(boxes, 'box', 'boxes')} without a mask")
    outside = sum(label.outside for label in labels.values())
    if outside:
        remarks.append(f"{count(outside, 'polygon')} beyond the border of the image, cut off there")
    ids = {number: place for place, number in enumerate(names, start=1)}
    splits = {
        split: [
            shapes_source(image, labels[image].polygons, ids, problems=labels[image].problems)
            for image in paths
            if image in labels
        ]
        for split, paths in images.items()
    }
    return OwnData(list(names.values()), splits, remarks, [*problems, *unread])


def _leave_out(
    split: str, images: Sequence[Path], files: Mapping[Path, Path], remarks: list[str]
) -> None:
    """Add a remark on a split without labels; for the training split it is an error."""
    if not images:
        return
    lacking = f"no image for {split} has a label file; the label file of {images[0]} would be "
    lacking += str(files[images[0]])
    if split == "train":
        raise DatasetError(lacking)
    remarks.append(f"{lacking}: {split} is left out")


def read_yolo_labels(path: Path, classes: Mapping[int, str]) -> YoloLabels:
    """Read and check a label file: in each line a class and the points of a polygon, or a box.

    Args:
        classes: names of the classes by their numbers.

    Raises:
        DatasetError: the file cannot be read.
    """
    lines = [
        (f"{path}, line {number}", line.split())
        for number, line in enumerate(read_text(path).split("\n"), start=1)
        if line.strip()
    ]
    read, problems = try_each(lambda line: _read_line(*line, classes), lines)
    polygons = [found for _, found in read if found is not None]
    outside = sum(bool((points < 0).any() or (points > 1).any()) for _, points in polygons)
    shapes = [Shape(kind, None, partial(_paint, points)) for kind, points in polygons]
    return YoloLabels(shapes, len(read) - len(polygons), outside, problems)


def _read_line(
    where: str, fields: Sequence[str], classes: Mapping[int, str]
) -> tuple[int, np.ndarray] | None:
    """Class and points (P, 2) of a polygon, as parts of the image's width and height; None for a
    box.

    Args:
        where: what a message begins with.
    """
    kind = _read_class(fields[0])
    if kind not in classes:
        known = ", ".join(map(str, list(classes)[:20])) + ", ..." * (len(classes) > 20)
        raise DatasetError(f"{where} has the class {fields[0]}; data.yaml names {known}")
    try:
        values = list(map(float, fields[1:]))
    except ValueError as error:
        raise DatasetError(f"{where} has a coordinate that is not a number: {error}") from error
    outside = [v for v in values if not -_SLACK <= v <= 1 + _SLACK]  # NaN too
    if outside:
        look = "; they look like pixels" if abs(outside[0]) > _PIXELS else ""
        raise DatasetError(
            f"{where} has the coordinate {outside[0]:g}; coordinates have to be parts of the "
            f"image's width and height, in [0, 1]{look}"
        )
    if len(values) == 4:
        return None
    if len(values) < 6 or len(values) % 2:
        raise DatasetError(
            f"{where} has {count(len(values), 'number')} after the class: a box has 4, and a "
            f"polygon has an even number of at least 6"
        )
    return int(kind), np.reshape(values, (-1, 2))


def _read_class(text: str) -> float:
    """The number in a text, with a decimal point if numpy.savetxt wrote it; NaN if it has none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _paint(points: np.ndarray, size: Size) -> np.ndarray:
    """Mask of a polygon whose points are parts of the image's width and height."""
    return polygon_mask(points * size[::-1], size)


def _read_yaml(path: Path) -> dict:
    try:
        import yaml
    except ImportError as error:
        raise DatasetError(f"reading {path} needs PyYAML: pip install pyyaml") from error
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing; it has to name the classes and the folders of images; found: "
            f"{describe_folder(path.parent)}"
        )
    try:
        config = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DatasetError(f"cannot read {path} as YAML: {one_line(error)}") from error
    if not isinstance(config, dict):
        raise DatasetError(f"{path} has no settings such as train: and names:")
    return config


def _read_names(path: Path, names: object) -> dict[int, str]:
    """Names of the classes by their numbers, in the order of the numbers."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    numbers = [as_integer(key) for key in names] if isinstance(names, dict) else []
    if not isinstance(names, dict) or not numbers or None in numbers:
        raise DatasetError(f"{path} does not name the classes: names: has to list them")
    named = dict(zip(numbers, names.values(), strict=True))
    return {key: str(named[key]) for key in sorted(n for n in numbers if n is not None)}


def _find_images(
    path: Path, config: Mapping, split: str, remarks: list[str], problems: list[str]
) -> list[Path]:
    """Images of a split: those of its folders, and those in its lists of images.

    Args:
        remarks: gets one for each path that was found elsewhere, and for each missing path that is
            not for training.
        problems: gets one for each image of a list that is missing.
    """
    named = config[split] if isinstance(config[split], list) else [config[split]]
    images: dict[Path, None] = {}
    for name in map(str, named):
        found, moved = _find_named(path.parent, str(config.get("path") or "."), name, split)
        files: list[Path] = []
        lacking = (
            f"{path} names {name} for {split}, which is missing: mend the path in it, or remove "
            f"the line; found beside it: {describe_folder(path.parent)}"
        )
        if found is not None:
            if moved:
                remarks.append(f"{path} names {name} for {split}, read from {found}")
            if found.is_dir():
                files = [file for file in visible_files(found) if is_image(file)]
            else:
                files = _find_listed(path.parent, found, remarks, problems)
            lacking = f"{found} has no images, but {path} names it for {split}"
        if not files and split == "train":
            raise DatasetError(lacking)
        if not files:
            remarks.append(lacking)
        images.update(dict.fromkeys(files))
    return list(images)


def _find_listed(root: Path, path: Path, remarks: list[str], problems: list[str]) -> list[Path]:
    """The images in a list of images; they may have moved together with the list."""
    files, elsewhere = [], 0
    for line in read_lines(path):
        found, moved = _find_named(root, str(path.parent), line)
        if found is None or not found.is_file():
            problems.append(f"{path} names an image that is missing: {line}")
            continue
        files.append(found)
        elsewhere += moved
    if elsewhere:
        remarks.append(f"{count(elsewhere, 'image')} of {path} read from elsewhere in {root}")
    return files


def _find_named(root: Path, base: str, name: str, split: str = "") -> tuple[Path | None, bool]:
    """What a path in a data.yaml means, None if it is missing, and whether it has moved.

    Datasets move, but their files keep the old paths. So if a path does not exist as written, its
    last parts are looked for in the root: all of them, at least two, or one that is named after the
    split.
    """
    written = Path(root, base, PureWindowsPath(name).as_posix())
    if exists(written):
        return _absolute(written), False
    parts = [part for part in PureWindowsPath(name).parts if part not in ("..", ".")]
    tails = [parts[begin:] for begin in range(len(parts))]
    for tail in tails:
        enough = tail == parts or len(tail) > 1 or Path(tail[0]).stem == split
        if enough and exists(root.joinpath(*tail)):
            return _absolute(root.joinpath(*tail)), True
    return None, False


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


def _find_stray_labels(files: Mapping[Path, Path]) -> list[str]:
    """Messages about label files without an image of their name. The image need not be in a split:
    it may be left out on purpose."""
    folders: dict[Path, set[Path]] = {}
    for image, label in files.items():
        if image.parent != label.parent:
            folders.setdefault(label.parent, set()).add(image.parent)
    problems = []
    for folder, images in folders.items():
        stems = {path.stem for parent in images for path in parent.iterdir() if is_image(path)}
        problems += [
            f"{path} belongs to no image: name it after its image, or remove it"
            for path in sorted(folder.glob("*.txt"))
            if path.stem not in stems and path.name != "classes.txt" and not is_hidden(path)
        ]
    return problems
