"""Checks of a dataset in COCO's format, so that defects are found before training.

All kinds of defects, and which of them are errors, are in `defects.KINDS`.
"""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DatasetError
from ..image_headers import Header
from ..images import Size
from ..limits import tell_too_large
from ..names import FolderIndex, base_name, leads_out, stem_of
from ..pixels import Reading
from .checking_annotations import KnownImage, check_annotations
from .checking_files import check_header, find_file
from .checking_whole import check_whole
from .coco_json import LISTS, read_coco
from .defects import KINDS, WARNING, Defect, Findings, Repair, errors_of
from .describing import InputScale
from .json_values import as_integer, is_integer, shorten, tell_value

logger = logging.getLogger(__name__)

_QUICK_HEADERS = 200  # files whose headers a quick check reads
_SHOWN = 5  # errors in one message
_LONGEST = 10**7  # pixels of a side that an image may have


def find_defects(
    content: Mapping,
    image_root: Path | None,
    read_images: bool = False,
    quick: bool = False,
    reading: Reading = Reading(),
    scale: InputScale | None = None,
) -> list[Defect]:
    """All defects: first those of the dataset as a whole, then of categories, images and
    annotations.

    Args:
        content: see `read_coco`.
        image_root: the folder of the images; file names are relative to it. None: check only the
            JSON.
        read_images: decode every image, which finds damaged ones but is slow; otherwise only their
            headers are read.
        quick: leave out what takes long: the headers of all but 200 images, duplicate instances,
            and polygons that cross themselves. To find the latter, Shapely is needed as well.
        reading: how image files are read.
        scale: at which a model sees the images.

    Raises:
        DatasetError: there is no such folder.
    """
    if image_root is not None and not image_root.is_dir():
        raise DatasetError(f"there is no folder of images {image_root}")
    defects = [
        Defect(f"no-{part}", KINDS[f"no-{part}"], "the JSON", f"its list '{part}' is empty")
        for part in LISTS
        if not content[part]
    ]
    categories, of_categories = _check_categories(content["categories"])
    images, of_images = _check_images(
        content["images"], image_root, read_images, quick, scale, reading
    )
    of_annotations = check_annotations(content["annotations"], images, categories, not quick)
    whole = check_whole(content, of_annotations, scale)
    return [*defects, *whole, *of_categories, *of_images, *of_annotations]


def check_before_training(
    json_file: Path,
    image_root: Path,
    scale: InputScale | None = None,
    reading: Reading = Reading(),
) -> dict:
    """A check that is quick enough to come before every training. It logs warnings about the
    dataset as a whole.

    Images are not decoded. All files must be there; the sizes of 200 of them are checked.

    Args:
        scale: at which the model sees the images.

    Returns: the content of the JSON, see `read_coco`.

    Raises:
        DatasetError: there are errors; the message has the first ones, and what to do.
    """
    content = read_coco(json_file)
    defects = find_defects(content, image_root, quick=True, scale=scale, reading=reading)
    errors = errors_of(defects)
    if errors:
        raise DatasetError(tell_errors(json_file, errors, str(image_root)))
    for defect in defects:
        if not defect.part and defect.severity == WARNING:
            logger.warning("%s: %s", json_file, defect)
    return content


def tell_errors(json_file: Path, errors: Sequence[Defect], images: str = "IMAGES") -> str:
    """The first errors of a JSON on one line, and what to do.

    Args:
        images: its folder of images, for the command that lists all errors.
    """
    counts = Counter(error.kind for error in errors)
    first = {error.kind: error for error in reversed(errors)}
    told = [f"{first[kind]} ({kind}: {count:,})" for kind, count in list(counts.items())[:_SHOWN]]
    rest = len(counts) - len(told)
    return (
        f"{json_file} has {len(errors):,} error{'s' * (len(errors) > 1)}: {'; '.join(told)}"
        + (f"; and {rest} more kinds" if rest > 0 else "")
        + ". To list all of them, and with --fix to write a mended copy: semiconv check "
        + shlex.join([str(json_file), images])
    )


def _check_categories(entries: list[dict]) -> tuple[dict[Any, int], list[Defect]]:
    """Whole numbers for the ids of the categories, see `_number`, and defects of the categories."""
    ids = _find_ids(entries)
    numbers = _number(ids)
    found = Findings("categories", lambda index: _name("category", "categories", index, ids))
    _check_ids("category-id", entries, ids, numbers, found)
    first: dict[Any, int] = {}
    named: dict[str, int] = {}
    for index, entry in enumerate(entries):
        number, name = ids[index], entry.get("name")
        if number is None:
            continue
        if first.setdefault(number, index) != index:
            what = f"categories[{first[number]}] has the same id"
            if name == entries[first[number]].get("name"):
                found.add(index, "duplicate-category-id", what, Repair.MERGE)
            else:
                what += ", but another name: it is not clear which one the annotations belong to"
                found.add(index, "duplicate-category-id", what)
        elif not isinstance(name, str) or not name:
            value = {"name": str(name) if is_integer(name) else f"category {number}"}
            found.add(index, "category-name", tell_value(entry, "name"), Repair.SET, value)
        elif named.setdefault(name, index) != index:
            what = f"{found.where(named[name])} has the same name {shorten(name)}"
            found.add(index, "duplicate-category-name", what)
    return numbers, found.in_order()


def _check_images(
    entries: list[dict],
    image_root: Path | None,
    read_images: bool,
    quick: bool,
    scale: InputScale | None,
    reading: Reading,
) -> tuple[dict[Any, KnownImage], list[Defect]]:
    """The images by their ids, and the defects of images; see `find_defects`."""
    from tqdm import tqdm

    names = [entry.get("file_name") for entry in entries]
    names = [name if isinstance(name, str) and name else None for name in names]

    def where(index: int) -> str:
        name = names[index]
        return _name("image", "images", index, ids) + (f" ({name})" if name else "")

    ids = _find_ids(entries)
    numbers = _number(ids)
    found = Findings("images", where)
    _check_ids("image-id", entries, ids, numbers, found)
    dropped = _check_repeated(entries, ids, found)
    bases = Counter(base_name(name).lower() for name in {*names} if name)
    stems = Counter(stem_of(base) for base in bases.elements())
    files = FolderIndex(image_root or Path())
    step = max(1, len(entries) // _QUICK_HEADERS) if quick else 1
    named: dict[str, int] = {}
    images: dict[Any, KnownImage] = {}
    for index in tqdm(range(len(entries)), "read images", unit="image", disable=not read_images):
        if ids[index] is None:
            continue
        entry, name = entries[index], names[index]
        size = _size_of(entry)
        if index not in dropped:
            if name and leads_out(name):
                what = "its file_name leads out of the folder of images"
                found.add(index, "file-name-outside", what)
            if name and named.setdefault(name, index) != index:
                first = named[name]
                what = (
                    f"its file is also that of {where(first)}: the instances of one of them are "
                    f"background in the other"
                )
                same = _size_of(entries[first]) == size
                value = (numbers[ids[index]], numbers[ids[first]])
                repair = (Repair.MERGE, value) if same else ()
                found.add(index, "same-file-twice", what, *repair)
            header = None
            if image_root is not None and not name:
                found.add(index, "file-name", tell_value(entry, "file_name"), Repair.DROP)
            elif image_root is not None:
                path = find_file(image_root, name, bases, stems, files, index, found)
                if index % step and size is not None:
                    path = None  # its header is not read
                if not _is_large(index, size, found) and path is not None:
                    header = check_header(path, index, read_images, reading, found)
            elif size is not None:
                _is_large(index, size, found)
            size = _check_size(entry, index, size, header, found)
            _check_scale(index, size, scale, found)
        images.setdefault(ids[index], KnownImage(where(index), size, numbers[ids[index]]))
    return images, found.in_order()


def _find_ids(entries: list[dict]) -> list[Any]:
    """Id of each entry: text if all are text, else a whole number, or None if it is not one."""
    raw = [entry.get("id") for entry in entries]
    if all(isinstance(value, str) for value in raw):
        return raw
    return [as_integer(value) for value in raw]


def _number(ids: list[Any]) -> dict[Any, int]:
    """A whole number for each id except None: the id itself, or the number in its text. If not all
    texts have a number of their own, the numbers count from 1."""
    known = [value for value in dict.fromkeys(ids) if value is not None]
    numbers = [as_integer(value) for value in known]
    if None in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(known) + 1))
    return dict(zip(known, numbers, strict=True))


def _name(singular: str, part: str, index: int, ids: list[Any]) -> str:
    return f"{part}[{index}]" if ids[index] is None else f"{singular} {ids[index]}"


def _check_ids(
    kind: str, entries: list[dict], ids: list[Any], numbers: Mapping[Any, int], found: Findings
) -> None:
    for index, (entry, number) in enumerate(zip(entries, ids, strict=True)):
        if isinstance(number, str):
            what = "its id is text, like all ids; COCO's format has whole numbers"
            found.add(index, "text-ids", what, Repair.SET, {"id": numbers[number]})
        elif not is_integer(entry.get("id")):
            what = tell_value(entry, "id", ", not a whole number")
            repair = (Repair.DROP,) if number is None else (Repair.SET, {"id": number})
            found.add(index, kind, what, *repair)


def _check_repeated(entries: list[dict], ids: list[Any], found: Findings) -> set[int]:
    """Indices of images to drop, because another image has their id. If they are the same image,
    the first one stays; otherwise it is not clear which one the annotations belong to."""
    groups: dict[Any, list[int]] = {}
    for index, number in enumerate(ids):
        if number is not None:
            groups.setdefault(number, []).append(index)
    dropped = set()
    for first, *others in (group for group in groups.values() if len(group) > 1):
        identities = {
            repr([entries[index].get(key) for key in ("file_name", "height", "width")])
            for index in (first, *others)
        }
        same = len(identities) == 1
        for index in others if same else (first, *others):
            other = others[0] if index == first else first
            what = f"images[{other}] has the same id" + (" and is the same image" if same else "")
            found.add(index, "duplicate-image-id", what, Repair.DROP)
            dropped.add(index)
    return dropped


def _size_of(entry: Mapping) -> Size | None:
    """Height and width in the JSON; None if no image can have them."""
    height, width = as_integer(entry.get("height")), as_integer(entry.get("width"))
    if height is None or width is None or min(height, width) <= 0 or max(height, width) > _LONGEST:
        return None
    return height, width


def _check_size(
    entry: Mapping, index: int, size: Size | None, header: Header | None, found: Findings
) -> Size | None:
    """Height and width, from the file if the JSON has none; None if neither has them."""
    if size is None or not (is_integer(entry["height"]) and is_integer(entry["width"])):
        given = [f"{key} {shorten(entry[key])}" for key in ("height", "width") if key in entry]
        what = f"it has {' and '.join(given) or 'neither height nor width'}"
        size = size or (header.size if header else None)
        if size is None:
            found.add(index, "image-size", what, Repair.DROP)
            return None
        value = dict(zip(("height", "width"), size, strict=True))
        found.add(index, "image-size", what, Repair.SET, value)
    if header is not None and header.size != size:
        turned = " as Detectron2 turns it by its EXIF orientation" if header.orientation > 1 else ""
        what = (
            f"its file is {header.size[0]} × {header.size[1]} pixels (height × width){turned}, "
            f"but the JSON says {size[0]} × {size[1]}"
        )
        found.add(index, "size-mismatch", what, Repair.DROP)
    return size


def _is_large(index: int, size: Size | None, found: Findings) -> bool:
    """Whether an image has too many pixels to be read, by the JSON."""
    too_large = "" if size is None else tell_too_large(*size)
    if too_large:
        found.add(index, "image-large", f"it {too_large}")
    return bool(too_large)


def _check_scale(index: int, size: Size | None, scale: InputScale | None, found: Findings) -> None:
    """Whether an image vanishes in the size that a model sees."""
    if size is not None and scale is not None and min(scale.shown(size)) < 1:
        height, width = scale.shown(size)
        what = (
            f"it has {size[0]} × {size[1]} pixels (height × width), but {height} × {width} at the "
            f"model's input size: cut it into pieces, or raise INPUT.MAX_SIZE_TRAIN and "
            f"INPUT.MAX_SIZE_TEST"
        )
        found.add(index, "image-vanishes", what, Repair.DROP)
