"""YOLO's annotations: a text file with an outline in each line for each image, and a `data.yaml`.

Polygons are instances; boxes say nothing of a mask and are left out. The files are read here, since
datumaro (as of 1.13) passes over label files with polygons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder, one_line, read_lines, read_text, try_all
from ..images import Size, is_image
from .own import SPLITS, OwnData, count
from .shapes import Shape, polygon_mask, shapes_source

_TOLERANCE = 1e-6  # of relative coordinates beyond the border, by rounding


class YoloLabels(NamedTuple):
    """What the label file of an image says."""

    polygons: Sequence[Shape]
    boxes: int
    """Number of boxes, which say nothing of a mask."""


def yolo_data(root: Path) -> OwnData:
    """A data set for segmentation in the layout of Ultralytics, with a `data.yaml`.

    The folders that `train`, `val` and `test` name there, or the lists of images, are looked for
    in the root where they are not found as written, which is remarked on. The label file of an
    image lies in the folder `labels` in place of `images`; an image without one has no instances.

    Raises:
        DatasetError: naming the file, and the line in it, that is not what it has to be.
    """
    path = root / "data.yaml" if root.is_dir() else root
    config = _read_yaml(path)
    names = _read_names(path, config.get("names"))
    remarks: list[str] = []
    images = {
        split: _find_images(path, config, split, remarks) for split in SPLITS if config.get(split)
    }
    if not images.get("train"):
        raise DatasetError(f"{path} names no images for training (train)")
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
    ids = {number: place for place, number in enumerate(names, start=1)}
    splits = {
        split: [shapes_source(image, labels[image].polygons, ids) for image in paths]
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
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        kind = int(fields[0]) if fields[0].isdecimal() else None
        if kind not in classes:
            known = ", ".join(map(str, list(classes)[:20])) + ", ..." * (len(classes) > 20)
            raise DatasetError(f"{where} has the class {fields[0]}; data.yaml names {known}")
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
            paint = partial(_paint, values.reshape(-1, 2))
            polygons.append(Shape(kind, None, paint))
        else:
            raise DatasetError(
                f"{where} has {count(len(values), 'number')} after the class: 4 are a box, and an "
                f"even number of at least 6 the points of a polygon"
            )
    return YoloLabels(polygons, boxes)


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
            f"{path} is missing, which names the classes and the folders of images; found: "
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
    if not isinstance(names, dict) or not names or not all(type(key) is int for key in names):
        raise DatasetError(f"{path} does not name the classes: names: has to list them")
    return {key: str(names[key]) for key in sorted(names)}


def _find_images(path: Path, config: Mapping, split: str, remarks: list[str]) -> list[Path]:
    """Images of a split: those of its folders, and those in its lists of images.

    Args:
        remarks: one is added for each path that is not as it is written.
    """
    named = config[split] if isinstance(config[split], list) else [config[split]]
    images: dict[Path, None] = {}
    for name in map(str, named):
        found, moved = _find_named(path.parent, str(config.get("path") or "."), name, split)
        if found is None:
            raise DatasetError(
                f"{path} names {name} for {split}, which is missing: mend the path in it, or "
                f"remove the line; found beside it: {describe_folder(path.parent)}"
            )
        if moved:
            remarks.append(f"{path} names {name} for {split}, read from {found}")
        if found.is_dir():
            files = [file for file in sorted(found.rglob("*")) if is_image(file)]
        else:
            files = _find_listed(path.parent, found, remarks)
        if not files:
            raise DatasetError(f"{found} has no images, {path} names it for {split}")
        images.update(dict.fromkeys(files))
    return list(images)


def _find_listed(root: Path, path: Path, remarks: list[str]) -> list[Path]:
    """The images in a list of them, which may have moved with it."""
    files, elsewhere = [], 0
    for line in read_lines(path):
        found, moved = _find_named(root, str(path.parent), line)
        if found is None:
            raise DatasetError(f"{path} names an image that is missing: {line}")
        files.append(found)
        elsewhere += moved
    if elsewhere:
        remarks.append(f"{count(elsewhere, 'image')} of {path} read from elsewhere in {root}")
    return files


def _find_named(root: Path, base: str, name: str, split: str = "") -> tuple[Path | None, bool]:
    """What a path in a data.yaml means, None where it is missing, and whether it has moved.

    It is as written or, since data sets move and their files keep the old paths, what its last
    parts name in the root: all of them, at least two, or one that is named after the split.
    """
    written = Path(root, base, PureWindowsPath(name).as_posix())
    if written.exists():
        return _absolute(written), False
    parts = [part for part in PureWindowsPath(name).parts if part not in ("..", ".")]
    tails = [parts[begin:] for begin in range(len(parts))]
    for tail in tails:
        enough = tail == parts or len(tail) > 1 or Path(tail[0]).stem == split
        if enough and root.joinpath(*tail).exists():
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


def _refuse_stray_labels(files: Mapping[Path, Path]) -> None:
    """Refuse label files without an image of their name; images may be left out on purpose."""
    folders: dict[Path, set[Path]] = {}
    for image, label in files.items():
        if image.parent != label.parent:
            folders.setdefault(label.parent, set()).add(image.parent)
    for folder, images in folders.items():
        stems = {path.stem for parent in images for path in parent.iterdir() if is_image(path)}
        for path in sorted(folder.glob("*.txt")):
            if path.stem not in stems and path.name != "classes.txt":  # which tools write
                raise DatasetError(
                    f"{path} belongs to no image: name it after its image, or remove it"
                )
