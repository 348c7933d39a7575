"""What is wrong with the annotations of a dataset in COCO's format.

Outlines and boxes are checked many at a time, so that a million annotations take seconds.
Coordinates are (x, y) in pixels from the top left corner of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from .defects import ERROR, Defect, Findings, Repair
from .json_values import as_integer, is_integer, is_number, shorten
from .segmentations import (
    FLAT,
    RUNS_DO_NOT_ADD_UP,
    SegmentationError,
    check_encoding,
    count_pixels,
    decode_counts,
    measure_runs,
    merge_boxes,
    plain_polygons,
    read_polygon,
)

OUTSIDE = 2
"""Pixels that an outline or box may reach out of the image."""
FAR = 3
"""Pixels that the sides of a box may be away from those of its mask."""

_BATCH = 1000  # annotations; more take memory and gain nothing

Size = tuple[int, int]
ImageId = int | str
CategoryId = int | str


class KnownImage(NamedTuple):
    """An image that annotations may be of."""

    where: str
    """For people, such as "image 12 (000012.jpg)"."""
    size: Size | None
    """Height and width, None where nobody knows."""
    number: int
    """The id that it has or, where that is text, is to get."""


def check_annotations(
    entries: list[dict],
    images: Mapping[ImageId, KnownImage],
    categories: Mapping[CategoryId, int],
    thorough: bool,
) -> list[Defect]:
    """All that is wrong with annotations, in their order.

    Args:
        entries: the annotations.
        images: by their ids.
        categories: the ids that they have or, where these are text, are to get, by their ids.
        thorough: look for what takes long and is no error, too: instances that come twice, and
            polygons that cross themselves, see `can_find_crossings`.
    """

    def where(index: int) -> str:
        number, image = entries[index].get("id"), _known(images, entries[index].get("image_id"))
        name = f"annotation {number}" if is_integer(number) else f"annotations[{index}]"
        return f"{name} of {image.where}" if image else name

    found = Findings("annotations", where)
    _check_ids(entries, found)
    crossings = thorough and can_find_crossings()
    seen: dict[tuple, list[int]] = {}
    for start in range(0, len(entries), _BATCH):
        batch = _Batch()
        for index in range(start, min(start + _BATCH, len(entries))):
            entry = entries[index]
            image = _check_image(entry, index, images, found)
            if not _check_category(entry, index, categories, found) or image is None:
                continue
            _check_flags(entry, index, found)
            read = _read_segmentation(entry, index, image.size, batch, found)
            if read and thorough:
                _check_repeated(entries, index, seen, found)
        batch.masks = np.full((len(batch.indices), 4), np.nan)
        batch.areas = np.zeros(len(batch.indices))
        _check_outlines(batch, found)
        _check_encoded(batch, found)
        _check_thin(entries, batch, found)
        _check_areas(entries, batch, found)
        if crossings:
            _check_crossings(batch, found)
        _check_boxes(entries, batch, found)
    return found.in_order()


def can_find_crossings() -> bool:
    """Whether Shapely is installed, from version 2 on."""
    try:
        return int(version("shapely").split(".")[0]) >= 2
    except PackageNotFoundError:
        return False


def has_box(entry: Mapping) -> bool:
    """Whether an annotation has a box [left, top, width, height] with an area."""
    box = _read_box(entry.get("bbox"))
    return box is not None and min(box[2:]) > 0


def _known(known: Mapping, value: object) -> Any:
    """What a mapping has for an id, None where it has nothing."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    return known.get(value)


def _find_meant(known: Mapping, value: object) -> Any:
    """What a mapping has for an id that is merely written differently, as "12" or 12.0 is."""
    number = as_integer(value)
    return None if number is None else known.get(number, known.get(str(number)))


def _check_ids(entries: list[dict], found: Findings) -> None:
    first: dict[int, int] = {}
    taken = {entry["id"] for entry in entries if is_integer(entry.get("id"))}
    free = count(max(taken, default=0) + 1)
    for index, entry in enumerate(entries):
        number = entry.get("id")
        kind = ""
        if not is_integer(number):
            kind = "annotation-id"
            what = (
                f"its id is {shorten(number)}, no whole number" if "id" in entry else "it has no id"
            )
        elif first.setdefault(number, index) != index:
            kind = "duplicate-annotation-id"
            what = f"annotations[{first[number]}] has its id too"
        elif number < 1:
            kind = "annotation-id-zero"
            what = f"its id is {number}; COCO's evaluation takes ids below 1 for no match at all"
        if kind:
            found.add(index, kind, what, Repair.SET, {"id": next(free)})


def _check_image(
    entry: Mapping, index: int, images: Mapping[ImageId, KnownImage], found: Findings
) -> KnownImage | None:
    value = entry.get("image_id")
    image = _known(images, value)
    if image is None:
        meant = _find_meant(images, value)
        what = (
            f"no image has the id {shorten(value)}" if "image_id" in entry else "it has no image_id"
        )
        if meant is None:
            found.add(index, "unknown-image", what, Repair.DROP)
        else:
            found.add(index, "unknown-image", what, Repair.SET, {"image_id": meant.number})
        return meant
    if isinstance(value, str):
        found.add(index, "text-ids", "its image_id is text", Repair.SET, {"image_id": image.number})
    return image


def _check_category(
    entry: Mapping, index: int, categories: Mapping[CategoryId, int], found: Findings
) -> bool:
    """Whether there is such a category, or one can be told."""
    value = entry.get("category_id")
    number = _known(categories, value)
    if number is not None:
        if isinstance(value, str):
            what = "its category_id is text"
            found.add(index, "text-ids", what, Repair.SET, {"category_id": number})
        return True
    number = _find_meant(categories, value)
    what = f"no category has the id {shorten(value)}"
    if "category_id" not in entry:
        what = "it has no category_id"
    if number is None:
        found.add(index, "unknown-category", what, Repair.DROP)
        return False
    found.add(index, "unknown-category", what, Repair.SET, {"category_id": number})
    return True


def _check_flags(entry: Mapping, index: int, found: Findings) -> None:
    if "iscrowd" not in entry:
        what = "it has no iscrowd, which COCO's evaluation needs"
        found.add(index, "iscrowd-missing", what, Repair.SET, {"iscrowd": 0})
    elif entry["iscrowd"] not in (0, 1):
        crowd = int(entry["iscrowd"] in ("1", "true", "True"))
        what = f"its iscrowd is {shorten(entry['iscrowd'])}, neither 0 nor 1"
        found.add(index, "iscrowd", what, Repair.SET, {"iscrowd": crowd})
    if entry.get("ignore", 0) != 0:
        what = "it has ignore, which Detectron2 refuses; a crowd region is ignored as well"
        value = {"ignore": 0, "iscrowd": 1} if entry["ignore"] else {"ignore": 0}
        found.add(index, "ignore", what, Repair.SET, value)


def _check_repeated(
    entries: list[dict], index: int, seen: dict[tuple, list[int]], found: Findings
) -> None:
    """
    Args:
        seen: indices of the annotations before, by what tells most of them apart; added to.
    """
    entry = entries[index]
    mask = entry["segmentation"]
    if isinstance(mask, Mapping):
        look = (len(mask["counts"]), *mask["counts"][:64:4])
    else:
        look = (len(mask), repr(mask[0][:6] if isinstance(mask[0], list) else mask[:6]))
    same = seen.setdefault((entry["image_id"], entry["category_id"], *look), [])
    for other in same:
        if entries[other]["segmentation"] == mask:
            what = f"{found.where(other)} has the same mask and category"
            found.add(index, "duplicate-instance", what, Repair.DROP)
            return
    same.append(index)


@dataclass
class _Batch:
    """Annotations whose segmentation could be read, N of them, with P polygons in all."""

    indices: list[int] = field(default_factory=list)
    """Of the annotations, N."""
    mended: dict[int, list] = field(default_factory=dict)
    """Polygons of some of the N, where they are written in another way than they have to be."""
    sizes: list[Size | None] = field(default_factory=list)
    """Of their images, N."""
    outlines: list[np.ndarray] = field(default_factory=list)
    """The polygons that are polygons, P of (·, 2)."""
    owners: list[int] = field(default_factory=list)
    """To which of the N each of them belongs, P, ascending."""
    numbers: list[int] = field(default_factory=list)
    """Which polygon of its segmentation it is, P."""
    broken: list[tuple[int, int, SegmentationError]] = field(default_factory=list)
    """The other ones: to which of the N they belong, which polygon it is, and what is wrong."""
    sound: list[int] = field(default_factory=list)
    """Which of the P lie in the image and have an area."""
    encoded: list[int] = field(default_factory=list)
    """Which of the N have a run-length encoding."""
    counts: list[str | list[int]] = field(default_factory=list)
    """Those of these."""
    masks: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    """Left, top, right and bottom of all masks, (N, 4), NaN where nothing is left of one."""
    areas: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Of all masks, in pixels, (N,)."""


def _read_segmentation(
    entry: Mapping, index: int, size: Size | None, batch: _Batch, found: Findings
) -> bool:
    """Add an annotation to the batch, or tell why it cannot be."""
    mask = entry.get("segmentation")
    if mask is None:
        what = "it has no segmentation"
        found.add(index, "segmentation-missing", what, Repair.DROP)
        return False
    if mask in ([], {}, ""):
        found.add(index, "segmentation-empty", "its segmentation is empty", Repair.DROP)
        return False
    if isinstance(mask, Mapping):
        return _read_encoded(mask, index, size, batch, found)
    if not isinstance(mask, list):
        what = f"its segmentation is {shorten(mask)}, neither polygons nor a run-length encoding"
        found.add(index, "segmentation-type", what, Repair.DROP)
        return False
    owner = len(batch.indices)
    batch.indices.append(index)
    batch.sizes.append(size)
    read = _try_polygons(mask)
    wrong = _count_errors(read)
    plain = plain_polygons(mask) if wrong else None
    if plain is not None and _count_errors(again := _try_polygons(plain)) < wrong:
        kind, what = "polygon-coordinates", "its segmentation has pairs or text"
        if isinstance(mask[0], int | float):
            kind, what = "polygon-flat", "its segmentation is a polygon"
        what += ", where lists of numbers x, y, x, y, … have to be"
        found.add(index, kind, what, Repair.SET, {"segmentation": plain})
        batch.mended[owner], read = plain, again
    for number, polygon in enumerate(read):
        if isinstance(polygon, SegmentationError):
            batch.broken.append((owner, number, polygon))
        else:
            batch.outlines.append(polygon)
            batch.owners.append(owner)
            batch.numbers.append(number)
    return True


def _try_polygons(mask: list) -> list[np.ndarray | SegmentationError]:
    """Corners of each polygon, see `read_polygon`, or why it is none."""
    read: list[np.ndarray | SegmentationError] = []
    for polygon in mask:
        try:
            read.append(read_polygon(polygon))
        except SegmentationError as error:
            read.append(error)
    return read


def _count_errors(read: list[np.ndarray | SegmentationError]) -> int:
    return sum(isinstance(polygon, SegmentationError) for polygon in read)


def _read_encoded(
    mask: Mapping, index: int, size: Size | None, batch: _Batch, found: Findings
) -> bool:
    own = mask.get("size")
    sides = [as_integer(side) for side in own] if isinstance(own, list) else []
    plain = mask if None in sides else {**mask, "size": sides}
    try:
        check_encoding(plain, size)
    except SegmentationError as error:
        found.add(index, error.kind, str(error), Repair.DROP)
        return False
    if not all(map(is_integer, own)):
        what = f"the size of its mask is {shorten(own)}, no whole numbers"
        found.add(index, "rle-keys", what, Repair.SET, {"segmentation": plain})
    batch.encoded.append(len(batch.indices))
    batch.counts.append(mask["counts"])
    batch.indices.append(index)
    batch.sizes.append((sides[0], sides[1]))
    return True


def _check_encoded(batch: _Batch, found: Findings) -> None:
    """Tell which run-length encodings are none, and measure the others."""
    if not batch.encoded:
        return
    sizes = np.array([batch.sizes[owner] for owner in batch.encoded])
    measures = measure_runs(*decode_counts(batch.counts), sizes)
    empty = measures.valid & (measures.areas == 0)
    for chosen, kind, what in (
        (~measures.valid, "rle-counts", RUNS_DO_NOT_ADD_UP),
        (empty, "mask-empty", "no pixel is in its mask"),
    ):
        for k in np.flatnonzero(chosen):
            found.add(batch.indices[batch.encoded[k]], kind, what, Repair.DROP)
    batch.masks[batch.encoded] = measures.boxes
    batch.areas[batch.encoded] = measures.areas


def _check_outlines(batch: _Batch, found: Findings) -> None:
    """Tell what is wrong with polygons, and measure those that are fine."""
    broken = [(owner, number, error.kind, str(error)) for owner, number, error in batch.broken]
    left: set[int] = set()
    if batch.outlines:
        owners = np.array(batch.owners)
        low, high, areas = _measure(batch.outlines)
        sides = _sides(batch.sizes)[owners]
        flat = _are_flat(batch.outlines, areas)
        outside = ((high <= 0) | (low >= sides)).any(axis=1) & ~flat
        for chosen, kind, what in (
            (flat, "polygon-no-area", "has all its corners on one line"),
            (outside, "polygon-outside", "lies outside of the image"),
        ):
            places = np.flatnonzero(chosen)
            broken += [(batch.owners[k], batch.numbers[k], kind, what) for k in places]
        sound = np.flatnonzero(~flat & ~outside)
        batch.sound = sound.tolist()
        left = set(owners[sound].tolist())
        total = len(batch.indices)
        batch.masks = merge_boxes(owners[sound], low[sound], high[sound], total)
        batch.areas = np.bincount(owners[sound], weights=areas[sound], minlength=total)
        reach = np.maximum(-low, high - sides).max(axis=1)
        for k in sound[reach[sound] > OUTSIDE]:
            what = f"its polygon {batch.numbers[k]} reaches {reach[k]:.0f} px out of the image"
            value = batch.numbers[k], batch.sizes[owners[k]]
            index = batch.indices[owners[k]]
            found.add(index, "polygon-partly-outside", what, Repair.CLIP_POLYGON, value)
    for owner, number, kind, what in broken:
        index, what = batch.indices[owner], f"its polygon {number} {what}"
        if owner in left:
            found.add(index, kind, what, Repair.DROP_POLYGON, number)
        else:
            found.add(index, kind, what, Repair.DROP, severity=ERROR)


def _measure(outlines: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest coordinates (P, 2) and areas (P,) of polygons."""
    lengths = np.array([len(points) for points in outlines])
    starts = np.cumsum(lengths) - lengths
    points = np.concatenate(outlines)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    points = points - np.repeat(low, lengths, axis=0)
    following = np.arange(1, len(points) + 1)
    following[starts + lengths - 1] = starts
    cross = points[:, 0] * points[following, 1] - points[following, 0] * points[:, 1]
    return low, high, np.abs(np.add.reduceat(cross, starts)) / 2


def _are_flat(outlines: Sequence[np.ndarray], areas: np.ndarray) -> np.ndarray:
    """Which polygons have all corners on one line, (P,) bool. One that crosses itself may have the
    area 0, too."""
    flat = areas <= FLAT
    for k in np.flatnonzero(flat):
        spread = outlines[k] - outlines[k].mean(axis=0)
        flat[k] = np.linalg.svd(spread, compute_uv=False)[-1] <= FLAT
    return flat


def _sides(sizes: Sequence[Size | None]) -> np.ndarray:
    """Width and height of images, (N, 2) float64, infinite where nobody knows."""
    unknown = (np.inf, np.inf)
    return np.array([size or unknown for size in sizes], dtype=np.float64).reshape(-1, 2)[:, ::-1]


def _check_thin(entries: list[dict], batch: _Batch, found: Findings) -> None:
    """Tell which polygons are drawn as nothing; only thin ones can be."""
    sides = batch.masks[:, 2:] - batch.masks[:, :2]
    for owner in np.flatnonzero(batch.areas <= sides.sum(axis=1) + 1):
        mask, size = entries[batch.indices[owner]]["segmentation"], batch.sizes[owner]
        if isinstance(mask, Mapping) or size is None:
            continue
        if not count_pixels(batch.mended.get(owner, mask), size):
            what = "its polygons are so thin that no pixel is in its mask"
            found.add(batch.indices[owner], "mask-too-thin", what, Repair.DROP)
            batch.masks[owner] = np.nan


def _check_areas(entries: list[dict], batch: _Batch, found: Findings) -> None:
    sides = (batch.masks[:, 2:] - batch.masks[:, :2]).sum(axis=1)
    measured = zip(batch.indices, batch.areas.tolist(), sides.tolist(), strict=True)
    for owner, (index, own, side) in enumerate(measured):
        if np.isnan(side):
            continue
        entry, kind = entries[index], "area"
        area = entry.get("area")
        if not is_number(area) or area < 0:
            what = f"its area is {shorten(area)}" if "area" in entry else "it has no area"
            what += "; COCO's evaluation needs it"
        elif abs(area - own) > FAR * side and not entry.get("iscrowd"):  # COCO's are others
            mask, size = batch.mended.get(owner, entry["segmentation"]), batch.sizes[owner]
            if isinstance(mask, list) and size is not None:
                own = float(count_pixels(mask, size))  # of those that cross themselves, too
                if abs(area - own) <= FAR * side:
                    continue
            kind, what = "area-far-from-mask", f"its area is {area:g}, its mask has {own:g} pixels"
        else:
            continue
        found.add(index, kind, what, Repair.SET, {"area": own})


def _check_crossings(batch: _Batch, found: Findings) -> None:
    """Tell which polygons cross themselves; those that touch themselves in a point are fine."""
    import shapely

    outlines = [batch.outlines[k] for k in batch.sound]
    if not outlines:
        return
    rings = np.repeat(np.arange(len(outlines)), [len(points) for points in outlines])
    polygons = shapely.polygons(shapely.linearrings(np.concatenate(outlines), indices=rings))
    for polygon in np.flatnonzero(~shapely.is_valid(polygons)):
        reason = shapely.is_valid_reason(polygons[polygon])
        if reason.startswith("Self-intersection["):
            x, y = map(float, reason[len("Self-intersection[") : -1].split()[:2])
            k = batch.sound[polygon]
            what = f"its polygon {batch.numbers[k]} crosses itself at ({x:.1f}, {y:.1f})"
            found.add(batch.indices[batch.owners[k]], "polygon-crosses-itself", what)


def _check_boxes(entries: list[dict], batch: _Batch, found: Findings) -> None:
    """Tell what is wrong with the boxes of masks of which anything is left."""
    left = np.flatnonzero(~np.isnan(batch.masks[:, 0]))
    read = [_read_box(entries[batch.indices[owner]].get("bbox")) for owner in left]
    masks, sides = batch.masks[left], _sides(batch.sizes)[left]
    limits = np.concatenate([sides, sides], axis=1)
    visible = np.clip(masks, 0, limits)
    boxes = np.array([box or (np.nan,) * 4 for box in read]).reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    shortest = boxes[:, 2:].min(axis=1)
    outside = ((corners[:, 2:] <= 0) | (corners[:, :2] >= sides)).any(axis=1)
    away = np.abs(np.clip(corners, 0, limits) - visible).max(axis=1)
    reach = np.maximum(-corners[:, :2], corners[:, 2:] - sides).max(axis=1)
    mask_reach = np.maximum(-masks[:, :2], masks[:, 2:] - sides).max(axis=1)
    are_corners = (np.abs(boxes - masks).max(axis=1) <= OUTSIDE) & (away > FAR)
    # A box has the first of these only; what comes from its polygon is told of that alone.
    kinds = (
        ("bbox", np.array([box is None for box in read], dtype=bool)),
        ("bbox-negative", shortest < 0),
        ("bbox-corners", are_corners),
        ("bbox-empty", shortest == 0),
        ("bbox-outside", outside),
        ("bbox-partly-outside", (reach > OUTSIDE) & (mask_reach <= OUTSIDE)),
        ("bbox-far-from-mask", away > FAR),
    )
    told = np.zeros(len(left), dtype=bool)
    for kind, chosen in kinds:
        for k in np.flatnonzero(chosen & ~told):
            index = batch.indices[left[k]]
            x0, y0, x1, y1 = visible[k].tolist()
            box = [x0, y0, x1 - x0, y1 - y0]
            what = _BOX_MESSAGES[kind].format(
                given=shorten(entries[index].get("bbox")), mask=shorten([round(v, 1) for v in box])
            )
            found.add(index, kind, what, Repair.SET, {"bbox": box})
        told |= chosen


_BOX_MESSAGES = {
    "bbox": "its bbox is {given}, not [left, top, width, height]",
    "bbox-negative": "its bbox {given} has a negative width or height",
    "bbox-corners": "its bbox {given} has corners in it, [left, top, right, bottom]; its mask has "
    "the box {mask}",
    "bbox-empty": "its bbox {given} is empty; Detectron2 leaves the instance out",
    "bbox-outside": "its bbox {given} lies outside of the image; its mask has the box {mask}",
    "bbox-partly-outside": "its bbox {given} reaches out of the image",
    "bbox-far-from-mask": "its bbox is {given}, its mask has the box {mask}",
}


def _read_box(value: object) -> list[float] | None:
    if isinstance(value, list) and len(value) == 4 and all(map(is_number, value)):
        return value
    return None
