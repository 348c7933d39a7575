"""Own images with instance masks in any form, written as a prepared dataset.

A form is read into an `OwnData`: which images there are, and how the instances of each are read.
`prepare_own` does the rest, the same for all forms. Everything is read once before anything is
written, so that whatever is wrong with the data leaves no trace.

Coordinates of outlines are (x, y) in pixels from the top left corner of the image; the centre of
the pixel in row i and column j lies at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..coco.coco_json import CocoImage, check_replaceable
from ..coco.segmentations import FARTHEST
from ..datasets.prepared import (
    Summary,
    clear_prepared,
    copy_images,
    images_path,
    json_path,
    link_images,
    write_prepared,
)
from ..files import describe_folder, write_image
from .mask_files import (
    DEEP_MODES,
    find_images,
    find_labels,
    find_masks,
    open_image,
    read_labels,
    read_mask,
    read_orientation,
    refuse_binary,
    split_labels,
    try_all,
)

SPLITS = ("train", "val", "test")
CATEGORY = "object"
VAL_FRACTION = 0.2
STRETCH = (0.1, 99.9)
"""Percentiles of an image's grey values that become 0 and 255, where it has more than 8 bits."""

_LISTED = 10  # files named in a message

Size = tuple[int, int]
Instance = tuple[np.ndarray, int]


class Source(NamedTuple):
    """An image and how its instances are read."""

    image: Path
    read: Callable[[Size], Sequence[Instance]]
    """Takes height and width of the image as it is shown. Returns a mask, (height, width) bool,
    and a category id for each instance; empty masks are left out and counted."""
    void: Callable[[], np.ndarray] | None = None
    """Returns the pixels that belong to nothing, (height, width) bool, where there may be any."""


class OwnData(NamedTuple):
    """What was found in somebody's folders."""

    categories: Sequence[str]
    """Names; category id i is the i-th of them, counted from 1."""
    splits: Mapping[str, Sequence[Source]]
    """For some of `SPLITS` the images; "train" alone where the data have no split."""
    remarks: Sequence[str] = ()
    """What the person has to know about the reading, such as what was left out."""


class Shape(NamedTuple):
    """A part of an instance, or all of it."""

    category: int
    """Category id, counted from 1."""
    group: object
    """Shapes of the same category and group are one instance; None belongs to no other."""
    paint: Callable[[Size], np.ndarray]
    """Takes height and width of the image, returns the mask (height, width) bool."""


@dataclass(frozen=True)
class OwnSummary(Summary):
    """What was written, what to know about it, and how to train with it."""

    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        images = shlex.quote(str(images_path(self.folder)))
        keys = []
        held_out = next((split for split in ("val", "test") if split in self.images), None)
        for key, split in (("TRAIN", "train"), ("TEST", held_out)):
            if split is not None:
                path = shlex.quote(str(json_path(self.folder, split)))
                keys.append(f"OWN_DATA.{key}_JSON {path} OWN_DATA.{key}_IMAGES {images}")
        commands = [
            " ".join([f"python tools/train_net.py --config-file configs/{config}.yaml", *keys])
            for config in ("own_mask_rcnn", "own_semiconv")
        ]
        return "\n".join([super().__str__(), *self.remarks, "train with it:", *commands])


def labels_data(
    images: Path,
    labels: Path,
    category: str = CATEGORY,
    background: int = 0,
    void: int | None = None,
    suffix: str = "",
) -> OwnData:
    """Images with one image of labels each; see `mask_files` for their names.

    Args:
        category: name of the one category.
        background: label of pixels without an instance.
        void: another such label, of pixels that nobody can tell; the JSON has them as void.
        suffix: what the names of label images have after those of the images. With one, both may
            lie in the same folder.

    Raises:
        DatasetError: a folder or file is missing or has no counterpart.
    """
    together = images.resolve() == labels.resolve()
    if together and not suffix:
        raise DatasetError(
            f"images and labels are the same folder {images}: give --label-suffix, which the names "
            f"of the label images end with"
        )
    found = find_images(images, without_suffix=suffix if together else "")
    files = find_labels(labels, found, suffix)
    _refuse_missing(
        [found[key] for key in found if key not in files],
        f"{labels}/<name of the image>{suffix} as .png or .tif, all {background} where there is "
        f"no instance",
    )

    def source(key: str) -> Source:
        def read(size: Size) -> list[Instance]:
            pixels = read_labels(files[key])
            _check_size(files[key], pixels, found[key], size)
            mend = ", or give --void if it marks no instance"
            refuse_binary(files[key], pixels, background, void, mend)
            return [(mask, 1) for mask in split_labels(pixels, background, void)]

        def read_void() -> np.ndarray:
            return read_labels(files[key]) == void

        return Source(found[key], read, None if void is None else read_void)

    return OwnData([category], {"train": [source(key) for key in found]})


def masks_data(
    images: Path, masks: Path, category: str = CATEGORY, category_folders: bool = False
) -> OwnData:
    """Images with a file for the mask of each instance; see `mask_files` for their names.

    Args:
        category: name of the one category.
        category_folders: the folder of masks has a folder for each category instead, named after
            it; these are sorted by name.

    Raises:
        DatasetError: a folder or file is missing or has no counterpart.
    """
    found = find_images(images)
    folders = {category: masks}
    if category_folders:
        folders = {path.name: path for path in sorted(masks.glob("[!.]*")) if path.is_dir()}
        if not folders:
            raise DatasetError(
                f"{masks} has no folder for each category; found: {describe_folder(masks)}"
            )
    files: dict[str, list[tuple[Path, int]]] = {}
    for number, folder in enumerate(folders.values(), start=1):
        for key, paths in find_masks(folder, found).items():
            files.setdefault(key, []).extend((path, number) for path in paths)
    _refuse_missing(
        [found[key] for key in found if key not in files],
        f"{masks}/<name of the image>_1.png and so on, or an empty folder "
        f"{masks}/<name of the image> where there is no instance",
    )

    def source(key: str) -> Source:
        def read_one(path: Path, size: Size) -> np.ndarray:
            mask = read_mask(path)
            _check_size(path, mask, found[key], size)
            if not mask.any():
                raise DatasetError(f"{path} is an empty mask, all its pixels are 0: remove it")
            return mask

        def read(size: Size) -> list[Instance]:
            return [(read_one(path, size), number) for path, number in files[key]]

        return Source(found[key], read)

    return OwnData(list(folders), {"train": [source(key) for key in found]})


def prepare_own(
    data: OwnData, output: Path, val_fraction: float | None = None, seed: int = 0
) -> OwnSummary:
    """Write the COCO JSON of own data; images are linked to, or copied where they must change.

    Args:
        data: as a form was read.
        output: folder to write: a new one, an empty one, or that of an earlier preparation.
        val_fraction: share of the images, in [0, 1), that val.json gets, at least one of them; 0
            for none. By default the split of the data, or 0.2 where they have none.
        seed: another one chooses other images.

    Raises:
        DatasetError: an image or its masks are missing, damaged or do not fit each other, nothing
            has a mask, or the output is in use for something else.
    """
    from tqdm import tqdm

    sources = [source for split in data.splits.values() for source in split]
    _check_output(output, sources)
    _refuse_doubles(sources)
    splits, remarks = _split(data.splits, val_fraction, seed)
    with tqdm(sources, desc="check", unit="image") as progress:
        looked = dict(zip(sources, try_all(_look, progress), strict=True))
    if not any(looked[source].instances for source in splits["train"]):
        raise DatasetError(
            "; ".join(
                ["no image for training has an instance with a mask", *remarks, *data.remarks]
            )
        )

    home = Path(os.path.commonpath([source.image.absolute().parent for source in sources]))
    deep = {source for source in sources if looked[source].deep}
    names = _name(sources, home, deep)
    images = clear_prepared(output, SPLITS)
    shallow = [str(name) for source, name in names.items() if source not in deep]
    if deep:
        copy_images(images, home, shallow)
    else:
        link_images(output, home, shallow)

    def read(source: Source) -> CocoImage:
        size, name = looked[source].size, names[source]
        if source in deep:
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            write_image(images / name, read_8bit(source.image))
        instances = [(mask, category) for mask, category in source.read(size) if mask.any()]
        void = None if source.void is None else source.void()
        return CocoImage(name.as_posix(), *size, instances, void)

    summary = write_prepared(output, data.categories, splits, read)
    if len(data.categories) > 1:
        remarks = [f"categories: {', '.join(data.categories)}", *remarks]
    remarks = [*remarks, *data.remarks, *_remarks(looked.values())]
    return OwnSummary(summary.folder, summary.images, summary.instances, remarks=remarks)


def read_8bit(path: Path) -> np.ndarray:
    """A grey image of more than 8 bits as (H, W) uint8, turned as its EXIF orientation says.

    The 0.1 percentile of its finite values becomes 0 and the 99.9 percentile 255; what lies beyond
    is cut off.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    from PIL import ImageOps

    pixels = open_image(path, lambda image: np.asarray(ImageOps.exif_transpose(image)))
    pixels = pixels.astype(np.float64)
    finite = np.isfinite(pixels)
    low, high = np.percentile(pixels[finite], STRETCH) if finite.any() else (0, 0)
    if low == high and finite.any():  # all but a few pixels are the same
        low, high = pixels[finite].min(), pixels[finite].max()
    scaled = (np.where(finite, pixels, low) - low) / (high - low if high > low else 1)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def read_points(where: str, points: object) -> np.ndarray:
    """Points of an outline, (P, 2) float64, checked to be such.

    Args:
        where: what messages begin with.
        points: pairs of numbers, (x, y) in pixels.

    Raises:
        DatasetError: they are something else, not finite, or too far away to be pixels.
    """
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where} has points that are no pairs of numbers: {error}") from error
    if not array.size:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise DatasetError(f"{where} has points that are no pairs of finite numbers")
    if np.abs(array).max() > FARTHEST:
        raise DatasetError(
            f"{where} has a coordinate of {np.abs(array).max():.6g}, which no image has"
        )
    return array


def polygon_mask(points: np.ndarray, size: Size) -> np.ndarray:
    """Pixels inside a polygon, as COCO's tools draw it; (H, W) bool.

    Args:
        points: (P, 2) float, (x, y) in pixels, at least three. What lies outside of the image is
            cut off.
        size: height and width of the image.
    """
    import pycocotools.mask as mask_util

    outline = np.asarray(points, dtype=np.float64).reshape(1, -1).tolist()
    return mask_util.decode(mask_util.merge(mask_util.frPyObjects(outline, *size))) > 0


def ellipse_mask(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float, size: Size
) -> np.ndarray:
    """Pixels whose centres lie in an ellipse, (H, W) bool.

    Args:
        centre: (x, y) in pixels.
        radii: in pixels, along x and y before it is turned.
        degrees: by which it is turned, from x towards y.
        size: height and width of the image.
    """
    y, x = np.ogrid[: size[0], : size[1]]
    dx, dy = x + 0.5 - centre[0], y + 0.5 - centre[1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    if min(radii) <= 0:
        return np.zeros(size, dtype=bool)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def crop_mask(crop: np.ndarray, left: int, top: int, size: Size) -> np.ndarray:
    """A mask (H, W) bool with a crop of it (h, w) bool at its place, cut off at the borders.

    Args:
        left: column of the crop's first column, may be negative.
        top: row of its first row, may be negative.
        size: height and width of the image.
    """
    rows, columns = np.nonzero(crop)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    mask = np.zeros(size, dtype=bool)
    mask[rows[inside], columns[inside]] = True
    return mask


def paint_shapes(shapes: Iterable[Shape], size: Size) -> list[Instance]:
    """Masks and categories of instances, those of several shapes at the place of the first one.

    Args:
        size: height and width of the image.
    """
    masks: dict[object, np.ndarray] = {}
    for number, shape in enumerate(shapes):
        key = (shape.category, "alone", number)
        if shape.group is not None:
            key = (shape.category, "group", shape.group)
        mask = shape.paint(size)
        masks[key] = masks[key] | mask if key in masks else mask
    return [(mask, key[0]) for key, mask in masks.items()]


def check_named_size(where: str, named: tuple[object, object], image: Path, size: Size) -> None:
    """Check that annotations are for an image of this size.

    Args:
        where: what the message begins with.
        named: height and width that the annotations name, None for one that they do not.
        size: height and width of the image file.

    Raises:
        DatasetError: they are for another one.
    """
    for one, other, what in zip(named, size, ("high", "wide"), strict=True):
        if one is not None and one != other:
            raise DatasetError(
                f"{where} is for an image {one} pixels {what}, {image} is {other}: the image has "
                f"been replaced or resized since{_turning(image)}"
            )


def by_split(sources: Sequence[tuple[str | None, Source]]) -> dict[str, list[Source]]:
    """Sources by the split that their subsets' names begin with, in upper or lower case; all of
    them for training where there is a name of another kind or no split besides that for training.
    """
    splits: dict[str | None, list[Source]] = {}
    for subset, source in sources:
        name = (subset or "").lower()
        split = next((split for split in SPLITS if name.startswith(split)), None)
        splits.setdefault(split, []).append(source)
    if None in splits or "train" not in splits:
        return {"train": [source for _, source in sources]}
    return {split: splits[split] for split in SPLITS if split in splits}


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun, such as "1 box" or "2 boxes"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def say_left_out(left_out: Counter[str], what: str) -> list[str]:
    """A remark on annotations without a mask, or none.

    Args:
        left_out: their numbers by their kind.
        what: one of them is, such as "shape".
    """
    if not left_out:
        return []
    kinds = ", ".join(f"{number} of type {kind}" for kind, number in sorted(left_out.items()))
    return [f"left out: {count(left_out.total(), what)} without a mask ({kinds})"]


class _Looked(NamedTuple):
    """What an image and its instances turned out to be."""

    size: Size
    deep: bool
    """Has more than 8 bits."""
    turned: bool
    """By its EXIF orientation."""
    instances: int
    """That cover a pixel."""
    empty: int
    """Instances that cover none."""


def _look(source: Source) -> _Looked:
    size, deep, turned = _read_size(source.image)
    instances = source.read(size)
    full = sum(bool(mask.any()) for mask, _ in instances)
    return _Looked(size, deep, turned, full, len(instances) - full)


def _read_size(path: Path) -> tuple[Size, bool, bool]:
    """Height and width of an image as it is shown, whether it has more than 8 bits, and whether it
    is turned by its EXIF orientation."""
    from PIL import Image, ImageOps

    def look(image: Image.Image) -> tuple[Size, bool, bool]:
        deep, turned = image.mode in DEEP_MODES, read_orientation(image) > 1
        shown = ImageOps.exif_transpose(image)  # reads all pixels, as Detectron2 turns them
        return (shown.height, shown.width), deep, turned

    return open_image(path, look)


def _remarks(looked: Iterable[_Looked]) -> list[str]:
    looked = list(looked)
    remarks = []
    empty = sum(image.empty for image in looked)
    if empty:
        remarks.append(f"left out: {count(empty, 'instance')} covering no pixel")
    turned = sum(image.turned for image in looked)
    if turned:
        remarks.append(
            f"{count(turned, 'image')} turned by EXIF orientation: see that the masks are meant "
            f"for the turned images"
        )
    deep = sum(image.deep for image in looked)
    if deep:
        remarks.append(
            f"{count(deep, 'image')} of more than 8 bits written as 8-bit PNG, each stretched "
            f"between its {STRETCH[0]} and {STRETCH[1]} percentile"
        )
    if len(looked) > 2 and all(image.instances <= 1 for image in looked):
        remarks.append(
            "no image has more than one instance: if there are more to be seen, each needs a label "
            "or mask of its own"
        )
    return remarks


def _split(
    splits: Mapping[str, Sequence[Source]], val_fraction: float | None, seed: int
) -> tuple[Mapping[str, Sequence[Source]], list[str]]:
    """Splits to write, and a remark on where they come from."""
    own = set(splits) != {"train"}
    if "train" not in splits:
        raise DatasetError(f"the data have no images for training, only {', '.join(splits)}")
    if own and val_fraction is not None:
        raise DatasetError(
            f"the data have the splits {', '.join(splits)} of their own: leave out --val-fraction"
        )
    if own:
        return splits, []
    fraction = VAL_FRACTION if val_fraction is None else val_fraction
    if not 0 <= fraction < 1:
        raise DatasetError(f"the share of images for val.json must be in [0, 1): {fraction}")
    if seed < 0:
        raise DatasetError(f"the seed must not be negative: {seed}")
    sources = splits["train"]
    number = min(max(1, round(fraction * len(sources))), len(sources) - 1) if fraction else 0
    if not number:
        return splits, ["all images are in train.json, none is held out to evaluate on"]
    held_out = set(np.random.default_rng(seed).permutation(len(sources))[:number].tolist())
    chosen = {
        "train": [source for i, source in enumerate(sources) if i not in held_out],
        "val": [source for i, source in enumerate(sources) if i in held_out],
    }
    return chosen, [
        f"val.json holds out {count(number, 'image')}, chosen at random with seed {seed}; "
        f"--val-fraction 0 would put all into train.json"
    ]


def _check_output(output: Path, sources: Sequence[Source]) -> None:
    """Nothing of anybody else's may be overwritten."""
    if not output.exists():
        entries = set()
    elif output.is_dir():
        entries = {path.name for path in output.iterdir()}
    else:
        raise DatasetError(f"{output} is a file: give another --output")
    names = {json_path(output, split).name for split in SPLITS}
    images = images_path(output)
    own_folder = images.is_dir() and not images.is_symlink() and not entries & names
    if entries - names - {images.name} or own_folder:
        raise DatasetError(
            f"{output} is no earlier output of this tool: give another --output, or empty it; "
            f"found: {describe_folder(output)}"
        )
    for name in sorted(entries & names):
        check_replaceable(output / name)
    for source in sources:
        for path, folder in (
            (source.image.absolute(), output.absolute()),
            (source.image.resolve(), output.resolve()),
        ):
            if path.is_relative_to(folder):
                raise DatasetError(
                    f"the image {source.image} lies in the output folder {output}, whose images "
                    f"are replaced: give another --output"
                )


def _refuse_doubles(sources: Sequence[Source]) -> None:
    for image, times in Counter(source.image.absolute() for source in sources).items():
        if times > 1:
            raise DatasetError(
                f"the image {image} comes more than once: in two splits or annotation files"
            )


def _name(sources: Sequence[Source], home: Path, deep: Container[Source]) -> dict[Source, Path]:
    """File names in the prepared folder; those of images that are converted end with .png."""
    names: dict[Source, Path] = {}
    images: dict[Path, Path] = {}
    for source in sources:
        name = source.image.absolute().relative_to(home)
        name = name.with_suffix(".png") if source in deep else name
        if name in images:
            raise DatasetError(
                f"{images[name]} and {source.image} would both become {name}: rename one"
            )
        names[source], images[name] = name, source.image
    return names


def _refuse_missing(images: Sequence[Path], expected: str) -> None:
    if images:
        names = ", ".join(path.name for path in images[:_LISTED])
        more = f" and {len(images) - _LISTED} more" if len(images) > _LISTED else ""
        raise DatasetError(
            f"{count(len(images), 'image')} without instances: {names}{more}; expected {expected}"
        )


def _check_size(path: Path, pixels: np.ndarray, image: Path, size: Size) -> None:
    if pixels.shape != size:
        raise DatasetError(
            f"{path} is {pixels.shape} pixels (height, width), its image {image} is {size}"
            f"{_turning(image)}"
        )


def _turning(image: Path) -> str:
    """Of an image that its EXIF orientation turns, that it does, and how to mend that; else ""."""
    orientation = open_image(image, read_orientation)
    if orientation == 1:
        return ""
    return (
        f", as its EXIF orientation {orientation} turns it: if the annotations are for the image "
        f"as it is stored, save it without that orientation"
    )
