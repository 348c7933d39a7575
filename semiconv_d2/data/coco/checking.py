"""What is wrong with a dataset in COCO's format, found before training rather than by it.

All kinds of defects, and which of them are errors, are in `defects.KINDS`.
"""

from __future__ import annotations

import shlex
import warnings
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from ...errors import DatasetError
from ..files import read_json
from ..formats.mask_files import DEEP_MODES, read_orientation
from .checking_annotations import KnownImage, check_annotations
from .defects import KINDS, Defect, Findings, Repair, errors_of
from .json_values import as_integer, is_integer, shorten
from .segmentations import MOST_PIXELS

LISTS = ("categories", "images", "annotations")
"""What a JSON in COCO's format must have."""

_QUICK_HEADERS = 200  # files whose headers a quick check reads
_SHOWN = 5  # errors in one message

Size = tuple[int, int]


def read_coco(json_file: Path) -> dict:
    """A JSON in COCO's format, checked to have lists of objects where it must.

    Raises:
        DatasetError: the file is missing or is no such JSON.
    """
    content = read_json(json_file)
    with json_file.open("rb") as file:
        if file.read(len(BOM_UTF8)) == BOM_UTF8:
            raise DatasetError(
                f"{json_file} begins with a byte order mark (BOM), which Detectron2 and COCO's "
                f"tools cannot read: save it as UTF-8 without BOM"
            )
    if not isinstance(content, dict):
        raise DatasetError(
            f"{json_file} is a {type(content).__name__} at its top: COCO's format has an object "
            f"there with the lists images, annotations and categories"
        )
    for part in LISTS:
        _require_list(json_file, content, part)
    return content


def _require_list(json_file: Path, content: Mapping, part: str) -> None:
    if part not in content:
        raise DatasetError(
            f"{json_file} has no list '{part}', which COCO's format needs; it has: "
            f"{', '.join(list(content)[:8]) or 'nothing'}"
        )
    entries = content[part]
    if not isinstance(entries, list):
        raise DatasetError(f"{json_file}: '{part}' is a {type(entries).__name__}, not a list")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DatasetError(
                f"{json_file}: {part}[{index}] is a {type(entry).__name__}, not an object"
            )


def find_defects(
    content: Mapping, image_root: Path | None, read_images: bool = False, quick: bool = False
) -> list[Defect]:
    """All that is wrong, in the order of categories, images and annotations.

    Args:
        content: see `read_coco`.
        image_root: the folder that file names start from; None to look at the JSON alone.
        read_images: decode every image, which finds damaged ones and takes as long as it takes;
            without it their headers are read.
        quick: leave out what takes long: the headers of all but 200 images, instances that come
            twice, and polygons that cross themselves. The latter are left out without Shapely, too.

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
    categories, found = _check_categories(content["categories"])
    defects += found
    images, found = _check_images(content["images"], image_root, read_images, quick)
    defects += found
    return defects + check_annotations(content["annotations"], images, categories, not quick)


def check_before_training(json_file: Path, image_root: Path) -> dict:
    """The check that is quick enough to come before every training.

    Images are not decoded: that they are there is looked up for all, their sizes for 200 of them.

    Returns: what the JSON has, see `read_coco`.

    Raises:
        DatasetError: there are errors; the message has the first ones and how to go on.
    """
    content = read_coco(json_file)
    errors = errors_of(find_defects(content, image_root, quick=True))
    if errors:
        raise DatasetError(tell_errors(json_file, errors, str(image_root)))
    return content


def tell_errors(json_file: Path, errors: Sequence[Defect], images: str = "IMAGES") -> str:
    """The first errors of a JSON in one line, and how to go on.

    Args:
        images: its folder of images, for the command that tells all of them.
    """
    counts = Counter(error.kind for error in errors)
    first = {error.kind: error for error in reversed(errors)}
    told = [f"{first[kind]} ({kind}: {count:,})" for kind, count in list(counts.items())[:_SHOWN]]
    rest = len(counts) - len(told)
    return (
        f"{json_file} has {len(errors):,} error{'s' * (len(errors) > 1)}: {'; '.join(told)}"
        + (f"; and {rest} more kinds" if rest > 0 else "")
        + ". All of them, and with --fix a mended copy: python tools/check_dataset.py "
        + shlex.join([str(json_file), images])
    )


def _check_categories(entries: list[dict]) -> tuple[dict[Any, int], list[Defect]]:
    """Whole numbers for the ids of the categories, see `_number`, and what is wrong with these."""
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
            what = f"categories[{first[number]}] has its id too"
            if name == entries[first[number]].get("name"):
                found.add(index, "duplicate-category-id", what, Repair.MERGE)
            else:
                what += ", but another name: nobody can tell whose the annotations are"
                found.add(index, "duplicate-category-id", what)
        elif not isinstance(name, str) or not name:
            value = {"name": str(name) if is_integer(name) else f"category {number}"}
            found.add(index, "category-name", _no_text("name", entry), Repair.SET, value)
        elif named.setdefault(name, index) != index:
            what = f"{found.where(named[name])} has its name {shorten(name)} too"
            found.add(index, "duplicate-category-name", what)
    return numbers, found.in_order()


def _check_images(
    entries: list[dict], image_root: Path | None, read_images: bool, quick: bool
) -> tuple[dict[Any, KnownImage], list[Defect]]:
    """The images by their ids, and what is wrong with these."""
    from tqdm import tqdm

    def where(index: int) -> str:
        file_name = entries[index].get("file_name")
        shown = f" ({file_name})" if isinstance(file_name, str) and file_name else ""
        return _name("image", "images", index, ids) + shown

    ids = _find_ids(entries)
    numbers = _number(ids)
    found = Findings("images", where)
    _check_ids("image-id", entries, ids, numbers, found)
    dropped = _check_repeated(entries, ids, found)
    names = {name for e in entries if isinstance(name := e.get("file_name"), str)}
    bases = Counter(_base_name(name).lower() for name in names)
    new_ids = [numbers.get(number) for number in ids]
    step = max(1, len(entries) // _QUICK_HEADERS) if quick else 1
    named: dict[str, int] = {}
    images: dict[Any, KnownImage] = {}
    indices = range(len(entries))
    for index in tqdm(indices, desc="read images", unit="image", disable=not read_images):
        if ids[index] is None:
            continue
        size = _size_of(entries[index])
        if index not in dropped:
            _check_name(entries, index, named, new_ids, found)
            path = file = None
            if image_root is not None:
                path = _find_file(entries, index, image_root, bases, found)
            if path is not None and (index % step == 0 or size is None):
                file = _check_header(path, index, read_images, found)
            size = _check_size(entries[index], index, size, file, found)
        images.setdefault(ids[index], KnownImage(where(index), size, numbers[ids[index]]))
    return images, found.in_order()


def _find_ids(entries: list[dict]) -> list[Any]:
    """Id of each entry: text where all are text, else a whole number, or None where it is none."""
    raw = [entry.get("id") for entry in entries]
    if all(isinstance(value, str) for value in raw):
        return raw
    return [as_integer(value) for value in raw]


def _number(ids: list[Any]) -> dict[Any, int]:
    """A whole number for each id but None: that which it is or, as text, says; from 1 on where not
    all texts say one of their own."""
    known = [value for value in dict.fromkeys(ids) if value is not None]
    numbers = [as_integer(value) for value in known]
    if None in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(known) + 1))
    return dict(zip(known, numbers, strict=True))


def _check_ids(
    kind: str, entries: list[dict], ids: list[Any], numbers: Mapping[Any, int], found: Findings
) -> None:
    if ids and isinstance(ids[0], str):
        what = "its id is text, as all are; COCO's format has whole numbers"
        for index, text in enumerate(ids):
            found.add(index, "text-ids", what, Repair.SET, {"id": numbers[text]})
        return
    for index, (entry, number) in enumerate(zip(entries, ids, strict=True)):
        if is_integer(entry.get("id")):
            continue
        what = (
            f"its id is {shorten(entry['id'])}, no whole number"
            if "id" in entry
            else "it has no id"
        )
        if number is None:
            found.add(index, kind, what, Repair.DROP)
        else:
            found.add(index, kind, what, Repair.SET, {"id": number})


def _check_repeated(entries: list[dict], ids: list[Any], found: Findings) -> set[int]:
    """Indices of images whose id another one has. Where both are the same image the first one may
    stay; otherwise nobody can tell whose annotations theirs are."""
    counts = Counter(ids)
    groups: dict[Any, list[int]] = {}
    for index, number in enumerate(ids):
        if number is not None and counts[number] > 1:
            groups.setdefault(number, []).append(index)
    dropped = set()
    for first, *others in groups.values():
        same = len({repr(_identity(entries[index])) for index in (first, *others)}) == 1
        for index in others if same else (first, *others):
            other = others[0] if index == first else first
            what = f"images[{other}] has its id too" + (" and is the same image" if same else "")
            found.add(index, "duplicate-image-id", what, Repair.DROP)
            dropped.add(index)
    return dropped


def _identity(entry: Mapping) -> tuple:
    return entry.get("file_name"), entry.get("height"), entry.get("width")


def _check_name(
    entries: list[dict],
    index: int,
    named: dict[str, int],
    numbers: Sequence[int | None],
    found: Findings,
) -> None:
    """
    Args:
        named: index of the first image with each file name, which is added to.
        numbers: the id that each image has or is to get.
    """
    name = entries[index].get("file_name")
    if not isinstance(name, str) or not name:
        return
    if _leads_out(name):
        found.add(index, "file-name-outside", "its file_name leads out of the folder of images")
    first = named.setdefault(name, index)
    if first == index:
        return
    what = (
        f"its file is that of {found.where(first)} as well: the instances of the one are "
        f"background in the other"
    )
    if _size_of(entries[first]) == _size_of(entries[index]):
        found.add(index, "same-file-twice", what, Repair.MERGE, (numbers[index], numbers[first]))
    else:
        found.add(index, "same-file-twice", what)


def _find_file(
    entries: list[dict], index: int, image_root: Path, bases: Mapping[str, int], found: Findings
) -> Path | None:
    """Path of an image that is there.

    Args:
        bases: how many file names have this last part, in lower case.
    """
    name = entries[index].get("file_name")
    if not isinstance(name, str) or not name:
        found.add(index, "file-name", _no_text("file_name", entries[index]), Repair.DROP)
        return None
    path = image_root / name
    if _is_file(path):
        return path
    slashes = name.replace("\\", "/")
    base = _base_name(name)
    meant = [slashes, *_other_cases(slashes)]
    if bases[base.lower()] == 1:  # else nobody can tell which of them it is
        meant += [base, *_other_cases(base)]
    for other in meant:
        if other and _is_file(image_root / other):
            what = f"there is no {path}, but there is {other}"
            found.add(index, "file-missing", what, Repair.SET, {"file_name": other})
            return image_root / other
    found.add(index, "file-missing", f"there is no {path}", Repair.DROP)
    return None


def _base_name(name: str) -> str:
    """The last part of a file name that may have slashes or backslashes."""
    return PurePosixPath(name.replace("\\", "/")).name


def _other_cases(name: str) -> list[str]:
    """A file name with its extension in lower and in upper case."""
    stem, dot, extension = name.rpartition(".")
    return [stem + dot + extension.lower(), stem + dot + extension.upper()] if dot else []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, or one with a null character
        return False


def _leads_out(name: str) -> bool:
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    return path.is_absolute() or windows.is_absolute() or ".." in windows.parts


class _Header(NamedTuple):
    """What an image file says of itself."""

    size: Size
    """Height and width as Detectron2 gets it: turned as EXIF's orientation says."""
    orientation: int
    """EXIF's, 1 where it says nothing."""
    mode: str
    """Pillow's name of the kind of its pixels."""


def _check_header(path: Path, index: int, decode: bool, found: Findings) -> _Header | None:
    """What an image file says, None where it cannot be read."""
    try:
        header = _read_header(path, decode)
    except DatasetError as error:
        found.add(index, "file-unreadable", str(error), Repair.DROP)
        return None
    if header.orientation > 1:
        what = (
            f"Detectron2 turns it, since its EXIF orientation is {header.orientation}: see that "
            f"its masks are meant for the turned image"
        )
        found.add(index, "image-turned", what)
    if header.mode in DEEP_MODES:
        what = (
            f"its pixels are of mode {header.mode}; Detectron2 makes 8 bits of them and cuts off "
            f"what is over 255"
        )
        found.add(index, "image-depth", what)
    return header


def _read_header(path: Path, decode: bool) -> _Header:
    """
    Args:
        decode: read the pixels, too, so that damage is found.

    Raises:
        DatasetError: the file cannot be read.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            (width, height), mode = image.size, image.mode
            # A PNG may have EXIF after its pixels: then Pillow decodes it to find that.
            late = image.format == "PNG" and "exif" not in image.info
            orientation = 1 if late else read_orientation(image)
            if decode:
                image.load()
                orientation = read_orientation(image) if late else orientation
    except Exception as error:  # Pillow's readers of damaged files raise whatever they come across
        raise DatasetError(f"it cannot be read ({type(error).__name__}: {error})") from error
    return _Header((width, height) if orientation >= 5 else (height, width), orientation, mode)


def _size_of(entry: Mapping) -> Size | None:
    """Height and width as the JSON has it, None where they are none that an image can have."""
    height, width = as_integer(entry.get("height")), as_integer(entry.get("width"))
    if height is None or width is None or min(height, width) <= 0 or height * width > MOST_PIXELS:
        return None
    return height, width


def _check_size(
    entry: Mapping, index: int, size: Size | None, header: _Header | None, found: Findings
) -> Size | None:
    """Height and width, from the file where the JSON has none."""
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
            f"the JSON says {size[0]} × {size[1]}"
        )
        found.add(index, "size-mismatch", what, Repair.DROP)
    return size


def _no_text(key: str, entry: Mapping) -> str:
    return f"its {key} is {shorten(entry[key])}" if key in entry else f"it has no {key}"


def _name(singular: str, part: str, index: int, ids: list[Any]) -> str:
    return f"{part}[{index}]" if ids[index] is None else f"{singular} {ids[index]}"
