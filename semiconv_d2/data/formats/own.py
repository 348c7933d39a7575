"""A user's own images with instance masks in any form, written as a prepared dataset.

A form is read into an `OwnData`: which images there are, and how the instances of each are read.
`prepare_own` does the rest, the same for all forms. Everything is read once before anything is
written, so an error leaves no trace. Wrong images and instances are left out, counted and named.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..coco.checking_whole import PIECES, tell_pieces
from ..coco.coco_json import CocoImage, check_replaceable
from ..datasets.prepared import (
    clear_prepared,
    copy_images,
    images_path,
    json_path,
    link_images,
    write_prepared,
)
from ..files import describe_folder, refuse_all, try_each
from ..geometry import has_pieces
from ..image_headers import Header, read_header
from ..images import Size, write_image
from ..names import path_inside
from ..pixels import Reading, is_special, read_rgb
from .summary import NAMED, LeftOut, OwnSummary, count

SPLITS = ("train", "val", "test")
VAL_FRACTION = 0.2

Instance = tuple[np.ndarray, int]


class ReadInstances(NamedTuple):
    """The instances in the annotations of an image."""

    instances: Sequence[Instance]
    """A mask, (height, width) bool, and a category id each; empty masks are left out and
    counted."""
    problems: Sequence[str] = ()
    """Messages about wrong instances, which are not among these; one for each."""


class Source(NamedTuple):
    """An image and how its instances are read."""

    image: Path
    read: Callable[[Size], ReadInstances]
    """Takes height and width of the image as it is shown. Raises `DatasetError` if the image has to
    be left out."""
    void: Callable[[], np.ndarray] | None = None
    """Returns the pixels that belong to nothing, (height, width) bool; None if there are none."""


class OwnData(NamedTuple):
    """What was found in a user's folders."""

    categories: Sequence[str]
    """Names; category id i is the i-th of them, counted from 1."""
    splits: Mapping[str, Sequence[Source]]
    """The images of some of `SPLITS`; only "train" if the data have no split."""
    remarks: Sequence[str] = ()
    """What the user has to know about the reading, such as what was left out on purpose."""
    problems: Sequence[str] = ()
    """Messages about wrong images, which are not among these; one for each."""


def prepare_own(
    data: OwnData,
    output: Path,
    val_fraction: float | None = None,
    seed: int = 0,
    strict: bool = False,
    reading: Reading = Reading(),
) -> OwnSummary:
    """Write the COCO JSON of own data; images are linked to, or copied if they must change.

    An image is left out if it cannot be read, if its annotations cannot be read, or if all its
    instances are wrong. In other images, single wrong instances are left out.

    Args:
        data: what was read from a form.
        output: folder to write: a new one, an empty one, or that of an earlier preparation.
        val_fraction: share of the images, in [0, 1), that val.json gets, at least one of them; 0
            for none. By default the split of the data, or 0.2 if the data have none.
        seed: random seed; another seed chooses other images.
        strict: raise an error instead of leaving anything out.
        reading: how image files are read. Images that other programs may read in another way are
            written anew: those with more than 8 bits, several pages or other channels.

    Raises:
        DatasetError: nothing has a mask, an image comes twice, or the output is in use for
            something else; or `strict` is set and something is wrong.
    """
    from tqdm import tqdm

    _check_split(data.splits, val_fraction, seed)
    given = [source for split in data.splits.values() for source in split]
    _check_output(output, given)
    sources = [_placed(source) for source in given]
    for image, times in Counter(source.image for source in sources).items():
        if times > 1:
            raise DatasetError(
                f"the image {image} comes more than once: in two splits or annotation files"
            )
    with tqdm(sources, desc="check", unit="image") as progress:
        found, unread = try_each(lambda source: _look(source, reading), progress)
    looked = dict(found)
    hopeless = [s for s, seen in found if seen.problems and not seen.instances]
    spoilt = [problem for source in hopeless for problem in looked.pop(source).problems]
    left_out = LeftOut(
        [*data.problems, *unread, *(f"{s.image}: all its instances are wrong" for s in hopeless)],
        [problem for seen in looked.values() for problem in seen.problems],
    )
    if strict:
        refuse_all([*data.problems, *unread, *spoilt, *left_out.instances])
    splits: Mapping[str, Sequence[Source]] = {
        split: [source for source in map(_placed, chosen) if source in looked]
        for split, chosen in data.splits.items()
    }
    if not any(looked[source].instances for source in splits["train"]):
        what = "no image for training has an instance with a mask"
        told = [*data.remarks, *data.problems, *unread, *spoilt, *left_out.instances]
        raise DatasetError("; ".join([what, *told[:NAMED]]))
    splits, remarks = _split(splits, val_fraction, seed)

    sources = list(looked)
    home = Path(os.path.commonpath([source.image.parent for source in sources]))
    special = {source for source in sources if is_special(looked[source].header, reading)}
    names = _name(sources, home, special)
    images = clear_prepared(output, SPLITS)
    usual = [str(name) for source, name in names.items() if source not in special]
    if special:
        copy_images(images, home, usual)
    else:
        link_images(output, home, usual)

    def read(source: Source) -> CocoImage:
        size, name = looked[source].header.size, names[source]
        if source in special:
            path = path_inside(images, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, read_rgb(source.image, reading))
        instances = [pair for pair in source.read(size).instances if pair[0].any()]
        void = None if source.void is None else source.void()
        return CocoImage(name.as_posix(), size[0], size[1], instances, void)

    summary = write_prepared(output, data.categories, splits, read)
    if len(data.categories) > 1:
        remarks = [f"categories: {', '.join(data.categories)}", *remarks]
    remarks = [*remarks, *data.remarks, *_remarks([looked[source] for source in sources], reading)]
    return OwnSummary(
        summary.folder, summary.images, summary.instances, remarks=remarks, left_out=left_out
    )


def _placed(source: Source) -> Source:
    """The same source with an absolute path of the image, without `..`."""
    return source._replace(image=Path(source.image.parent.resolve(), source.image.name))


def by_split(sources: Sequence[tuple[str | None, Source]]) -> dict[str, list[Source]]:
    """Sources by the split that their subsets' names begin with, in upper or lower case. If a name
    begins with no split, or there is no split for training, all of them are for training."""
    splits: dict[str | None, list[Source]] = {}
    for subset, source in sources:
        name = (subset or "").lower()
        split = next((split for split in SPLITS if name.startswith(split)), None)
        splits.setdefault(split, []).append(source)
    if None in splits or "train" not in splits:
        return {"train": [source for _, source in sources]}
    return {split: splits[split] for split in SPLITS if split in splits}


def subsets_data(
    categories: Sequence[str],
    images: Collection[tuple[str | None, Source, Counter[str]]],
    what: str,
    problems: Sequence[str],
) -> OwnData:
    """Own data of images that are sorted into subsets; some of their annotations have no mask.

    Args:
        images: for each image the name of its subset, see `by_split`, its source, and the numbers
            of annotations that are left out because they have no mask, by kind.
        what: name of one of these annotations, such as "shape".
        problems: messages about other images.
    """
    splits = by_split([(subset, source) for subset, source, _ in images])
    left_out = sum((kinds for *_, kinds in images), Counter())
    kinds = ", ".join(f"{number} of type {kind}" for kind, number in sorted(left_out.items()))
    remark = f"left out: {count(left_out.total(), what)} without a mask ({kinds})"
    return OwnData(categories, splits, [remark] if left_out else [], problems)


class _Looked(NamedTuple):
    """What was found when an image and its instances were read."""

    header: Header
    instances: int
    """Number of instances that cover a pixel."""
    empty: int
    """Number of instances that cover no pixel."""
    pieces: int
    """Number of instances in several separate pieces."""
    problems: Sequence[str]
    """Messages about wrong instances."""


def _look(source: Source, reading: Reading) -> _Looked:
    header = read_header(source.image)
    read_rgb(source.image, reading)  # all of it, so that damage is found
    instances, problems = source.read(header.size)
    full = [mask for mask, _ in instances if mask.any()]
    pieces = sum(map(has_pieces, full))
    return _Looked(header, len(full), len(instances) - len(full), pieces, problems)


def _remarks(looked: Sequence[_Looked], reading: Reading) -> list[str]:
    remarks = []
    empty = sum(image.empty for image in looked)
    if empty:
        remarks.append(f"left out: {count(empty, 'instance')} covering no pixel")
    turned = sum(image.header.orientation > 1 for image in looked)
    if turned:
        remarks.append(
            f"{count(turned, 'image')} turned by EXIF orientation: check that the masks are for "
            f"the turned images"
        )
    special = [image.header for image in looked if is_special(image.header, reading)]
    if special:
        deep = sum(header.bits > 8 for header in special)
        scaled = f", {deep} of them scaled from more bits by {reading.intensity_range}" * bool(deep)
        remarks.append(f"{count(len(special), 'image')} written with 8 bits{scaled}")
    instances = sum(image.instances for image in looked)
    pieces = sum(image.pieces for image in looked)
    if pieces >= PIECES * instances:
        remarks.append(tell_pieces(f"{pieces} of {instances}"))
    if len(looked) > 2 and all(image.instances <= 1 for image in looked):
        remarks.append(
            "no image has more than one instance: if more of them are visible, give each a label "
            "or mask of its own"
        )
    return remarks


def _check_split(
    splits: Mapping[str, Sequence[Source]], val_fraction: float | None, seed: int
) -> None:
    """Raises `DatasetError` if the data cannot be split in the wanted way."""
    if not splits.get("train"):
        raise DatasetError(f"the data have no images for training, only {', '.join(splits)}")
    if len(splits) > 1 and val_fraction is not None:
        raise DatasetError(
            f"the data have the splits {', '.join(splits)} of their own: leave out --val-fraction"
        )
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise DatasetError(f"the share of images for val.json must be in [0, 1): {val_fraction}")
    if seed < 0:
        raise DatasetError(f"the seed must not be negative: {seed}")


def _split(
    splits: Mapping[str, Sequence[Source]], val_fraction: float | None, seed: int
) -> tuple[Mapping[str, Sequence[Source]], list[str]]:
    """Splits to write, and a remark on where they come from."""
    if len(splits) > 1:
        empty = [split for split, chosen in splits.items() if not chosen]
        told = [f"no image is left for {split}, which is left out" for split in empty]
        return {split: chosen for split, chosen in splits.items() if chosen}, told
    fraction = VAL_FRACTION if val_fraction is None else val_fraction
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
        f"val.json holds out {count(number, 'image')}, chosen by the random seed {seed}; "
        f"--val-fraction 0 would put all images into train.json"
    ]


def _check_output(output: Path, sources: Sequence[Source]) -> None:
    """Raises `DatasetError` if files of somebody else would be overwritten."""
    if output.exists() and not output.is_dir():
        raise DatasetError(f"{output} is a file: give another --output")
    entries = {path.name for path in output.iterdir()} if output.exists() else set()
    names = {json_path(output, split).name for split in SPLITS}
    images = images_path(output)
    own_folder = images.is_dir() and not images.is_symlink() and not entries & names
    if entries - names - {images.name} or own_folder:
        raise DatasetError(
            f"{output} is not an earlier output of this tool: give another --output, or empty it; "
            f"found: {describe_folder(output)}"
        )
    for name in sorted(entries & names):
        check_replaceable(output / name)
    folders = (output.absolute(), output.resolve())
    for source in sources:
        paths = (source.image.absolute(), source.image.resolve())
        if any(map(Path.is_relative_to, paths, folders)):
            raise DatasetError(
                f"the image {source.image} lies in the output folder {output}, whose images "
                f"would be replaced: give another --output"
            )


def _name(sources: Sequence[Source], home: Path, special: Container[Source]) -> dict[Source, Path]:
    """File names in the prepared folder; images that are written anew become PNG or TIFF."""
    names: dict[Source, Path] = {}
    images: dict[Path, Path] = {}
    for source in sources:
        name = source.image.relative_to(home)
        if source in special and name.suffix.lower() not in (".png", ".tif", ".tiff"):
            name = name.with_suffix(".png")
        if name in images:
            raise DatasetError(
                f"{images[name]} and {source.image} would both become {name}: rename one"
            )
        names[source], images[name] = name, source.image
    return names
