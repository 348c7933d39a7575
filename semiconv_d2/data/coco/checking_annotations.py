"""Checks of the annotations of a dataset in COCO's format; `checking_masks` checks their masks and
boxes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import NamedTuple, TypeGuard

from ..images import Size
from .checking_masks import MaskBatch
from .defects import Defect, Findings, Repair
from .json_values import as_integer, is_integer, shorten, tell_value
from .segmentations import RELATIVE

_BATCH = 1000  # annotations; larger batches take memory and are not faster

Id = int | str


class KnownImage(NamedTuple):
    """An image that annotations may be of."""

    where: str
    """For people, such as "image 12 (000012.jpg)"."""
    size: Size | None
    """Height and width, None if not known."""
    number: int
    """Its id; if that is text, the number that it gets instead."""


def check_annotations(
    entries: list[dict],
    images: Mapping[Id, KnownImage],
    categories: Mapping[Id, int],
    thorough: bool,
) -> list[Defect]:
    """All defects of annotations, in the order of the annotations.

    Args:
        entries: the annotations.
        images: by their ids.
        categories: their numbers by their ids; if ids are text, they get numbers instead.
        thorough: also look for defects that take long to find and are no errors: duplicate
            instances, and polygons that cross themselves, see `can_find_crossings`.
    """

    def where(index: int) -> str:
        number, image_id = entries[index].get("id"), entries[index].get("image_id")
        name = f"annotation {number}" if is_integer(number) else f"annotations[{index}]"
        return f"{name} of {images[image_id].where}" if _is_known(image_id, images) else name

    found = Findings("annotations", where)
    _check_ids(entries, found)
    numbers = {number: image.number for number, image in images.items()}
    crossings = thorough and can_find_crossings()
    relative = _look_relative(entries)
    seen: dict[tuple, list[int]] = {}
    for start in range(0, len(entries), _BATCH):
        batch = MaskBatch(entries, found, relative)
        for index in range(start, min(start + _BATCH, len(entries))):
            entry = entries[index]
            image = _find_meant(entry, index, "image", numbers, found)
            category = _find_meant(entry, index, "category", categories, found)
            if image is None or category is None:
                continue
            _check_flags(entry, index, found)
            if batch.add(index, images[image].size) and thorough:
                _check_repeated(entries, index, batch.segmentations[-1], seen, found)
        batch.check(crossings)
    return found.in_order()


def can_find_crossings() -> bool:
    """Whether Shapely is installed, from version 2 on."""
    try:
        return int(version("shapely").split(".")[0]) >= 2
    except PackageNotFoundError:
        return False


def _look_relative(entries: list[dict]) -> bool:
    """Whether most polygons have coordinates between 0 and 1, by a look at the first of each
    annotation."""
    firsts = [e["segmentation"][:1] for e in entries if isinstance(e.get("segmentation"), list)]
    small = sum(
        bool(first) and isinstance(first[0], list) and all(map(_is_small, first[0]))
        for first in firsts
    )
    return 2 * small > len(firsts)


def _is_small(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= RELATIVE


def _is_known(value: object, known: Mapping) -> TypeGuard[Id]:
    """Whether a value is a known id; true, false and values without a hash are not."""
    return isinstance(value, int | float | str) and not isinstance(value, bool) and value in known


def _check_ids(entries: list[dict], found: Findings) -> None:
    first: dict[int, int] = {}
    taken = {entry["id"] for entry in entries if is_integer(entry.get("id"))}
    highest = max(taken, default=0)
    free = (n for n in count(highest + 1 if highest < 2**62 else 1) if n not in taken)
    for index, entry in enumerate(entries):
        number = entry.get("id")
        if not is_integer(number):
            kind, what = "annotation-id", tell_value(entry, "id", ", not a whole number")
        elif first.setdefault(number, index) != index:
            kind = "duplicate-annotation-id"
            what = f"annotations[{first[number]}] has the same id"
        elif number < 1:
            kind = "annotation-id-zero"
            what = f"its id is {number}; COCO's evaluation takes an id below 1 for 'no match'"
        else:
            continue
        found.add(index, kind, what, Repair.SET, {"id": next(free)})


def _find_meant(
    entry: Mapping, index: int, part: str, numbers: Mapping[Id, int], found: Findings
) -> Id | None:
    """The id of the image or category of an annotation, as the image or category writes it; None if
    there is none.

    Args:
        part: "image" or "category".
        numbers: the numbers of all images or categories by their ids, see `check_annotations`.
    """
    key = f"{part}_id"
    value = entry.get(key)
    if _is_known(value, numbers):
        if isinstance(value, str):
            found.add(index, "text-ids", f"its {key} is text", Repair.SET, {key: numbers[value]})
        return value
    what = f"no {part} has the id {shorten(value)}" if key in entry else f"it has no {key}"
    number = as_integer(value)
    alike = () if number is None else (number, str(number))  # written differently
    meant = next((each for each in alike if each in numbers), None)
    repair = (Repair.DROP,) if meant is None else (Repair.SET, {key: numbers[meant]})
    found.add(index, f"unknown-{part}", what, *repair)
    return meant


def _check_flags(entry: Mapping, index: int, found: Findings) -> None:
    if "iscrowd" not in entry:
        what = "it has no iscrowd, which COCO's evaluation needs"
        found.add(index, "iscrowd-missing", what, Repair.SET, {"iscrowd": 0})
    elif entry["iscrowd"] not in (0, 1):
        crowd = int(entry["iscrowd"] in ("1", "true", "True"))
        what = f"its iscrowd is {shorten(entry['iscrowd'])}, neither 0 nor 1"
        found.add(index, "iscrowd", what, Repair.SET, {"iscrowd": crowd})
    if entry.get("ignore", 0) != 0:
        what = "it has ignore, which Detectron2 refuses; crowd regions (iscrowd 1) are ignored too"
        value = {"ignore": 0, "iscrowd": 1} if entry["ignore"] else {"ignore": 0}
        found.add(index, "ignore", what, Repair.SET, value)


def _check_repeated(
    entries: list[dict],
    index: int,
    mask: list | Mapping,
    seen: dict[tuple, list[int]],
    found: Findings,
) -> None:
    """
    Args:
        mask: the segmentation in its right form.
        seen: indices of earlier annotations, by a key that tells most of them apart; this function
            adds to it.
    """
    entry = entries[index]
    if isinstance(mask, Mapping):
        look = (len(mask["counts"]), *mask["counts"][:64:4])
    else:
        look = (len(mask), repr(mask[0][:6] if isinstance(mask[0], list) else mask[:6]))
    same = seen.setdefault((entry["image_id"], entry["category_id"], *look), [])
    for other in same:
        if entries[other]["segmentation"] == entry["segmentation"]:
            what = f"{found.where(other)} has the same mask and category"
            found.add(index, "duplicate-instance", what, Repair.DROP)
            return
    same.append(index)
