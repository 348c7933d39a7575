"""A mended copy of a dataset in COCO's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ...writing import write_json
from ..geometry import bounding_window
from ..images import Size
from .coco_json import LISTS, check_replaceable, mark
from .defects import Defect, Repair
from .segmentations import (
    FLAT,
    clip_polygon,
    draw_with_holes,
    encode_mask,
    find_holes,
    polygon_area,
    read_polygon,
)

_GONE_ANYWAY = ("duplicate-instance", "unknown-image")  # their pixels do not become background


class Change(NamedTuple):
    """What was done to mend a defect."""

    text: str
    """A line for people."""
    drops: bool = False
    """Whether something was dropped."""
    background: bool = False
    """Whether an instance was dropped from an image that stays: its pixels become background."""

    def __str__(self) -> str:
        return self.text


def fix(content: Mapping, defects: Sequence[Defect]) -> tuple[dict, list[Change]]:
    """A copy in which defects are mended as their `Repair` says: by other values, or by dropping.

    Args:
        content: see `coco_json.read_coco`; it stays as it is.
        defects: those found in it.

    Returns:
        content: the mended copy; entries without defects are shared with the original.
        changes: what was done.

    Raises:
        DatasetError: nothing would be left.
    """
    repairs: dict[str, dict[int, list[Defect]]] = {}
    mendable = [defect for defect in defects if defect.part and defect.repair is not Repair.NONE]
    for defect in mendable:
        repairs.setdefault(defect.part, {}).setdefault(defect.index, []).append(defect)
    mended = {}
    for part in LISTS:
        of_part = repairs.get(part, {})
        copies = (_mend(entry, of_part.get(i, ())) for i, entry in enumerate(content[part]))
        mended[part] = [entry for entry in copies if entry is not None]
    merges = [d for d in defects if d.repair is Repair.MERGE and d.part == "images"]
    merged = dict(d.value for d in merges)
    known = {part: {entry["id"] for entry in mended[part]} for part in ("categories", "images")}
    annotations = []
    lost: Counter[str] = Counter()
    for entry in mended["annotations"]:
        if entry["image_id"] in merged:
            entry = {**entry, "image_id": merged[entry["image_id"]]}
        if entry["image_id"] not in known["images"]:
            lost["image"] += 1
        elif entry["category_id"] not in known["categories"]:
            lost["category"] += 1
        else:
            annotations.append(entry)
    mended["annotations"] = annotations
    changes = [_tell_change(defect, content, known["images"]) for defect in mendable]
    changes += [
        Change(f"{count:,} annotations of a dropped {part}", True, part == "category")
        for part, count in lost.items()
    ]
    for part, entries in mended.items():
        if not entries:
            raise DatasetError(f"nothing can be mended: no {part} would be left")
    return {**content, **mended}, changes


def _tell_change(defect: Defect, content: Mapping, images: Container) -> Change:
    """
    Args:
        images: ids of the images that stay.
    """
    text = f"{defect} → {defect.mending}"
    if defect.repair is not Repair.DROP:
        return Change(text)
    entry = content[defect.part][defect.index]
    background = (
        defect.part == "annotations"
        and defect.kind not in _GONE_ANYWAY
        and not entry.get("iscrowd")
        and _is_in(entry.get("image_id"), images)
    )
    if background:
        text += ", which becomes background"
    return Change(text, True, background)


def _is_in(value: object, known: Container) -> bool:
    return isinstance(value, int | float | str) and value in known


def fixed_path(json_file: Path) -> Path:
    """Where the mended copy of a JSON goes."""
    return json_file.with_name(f"{json_file.stem}_fixed.json")


def write_fixed(json_file: Path, content: Mapping) -> Path:
    """Write a mended copy beside the original and return its path.

    Raises:
        DatasetError: there is a file of that name that this package did not write.
        OSError: it cannot be written.
    """
    path = fixed_path(json_file)
    check_replaceable(path)
    write_json(mark(content), path)
    return path


def _mend(entry: dict, defects: Sequence[Defect]) -> dict | None:
    """A mended copy of an entry; None if it is dropped; the entry itself if it has no defects."""
    if not defects:
        return entry
    if any(defect.repair in (Repair.DROP, Repair.MERGE) for defect in defects):
        return None
    values: dict = {}
    for defect in defects:
        if defect.repair is Repair.SET:
            values |= defect.value
    entry = {**entry, **values}
    drop = {defect.value for defect in defects if defect.repair is Repair.DROP_POLYGON}
    clip = dict(defect.value for defect in defects if defect.repair is Repair.CLIP_POLYGON)
    cut = next((defect.value for defect in defects if defect.repair is Repair.CUT_HOLES), None)
    return _mend_polygons(entry, drop, clip, cut) if drop or clip or cut else entry


def _mend_polygons(
    entry: dict, drop: set[int], clip: Mapping[int, Size], cut: Size | None
) -> dict | None:
    """An annotation with some polygons dropped and others clipped, and a new box and area; None if
    nothing is left.

    Args:
        drop: indices of polygons.
        clip: height and width of the image by indices of polygons.
        cut: height and width of the image, if holes have to be cut out.
    """
    outlines = []
    for number, polygon in enumerate(entry["segmentation"]):
        if number in drop:
            continue
        points = read_polygon(polygon)
        if number in clip:
            points = clip_polygon(points, clip[number])
            if len(points) < 3 or polygon_area(points) <= FLAT:
                continue
        outlines.append(points)
    if not outlines:
        return None
    if cut is not None:
        mask = draw_with_holes(outlines, find_holes(outlines), cut)
        return None if not mask.any() else {**entry, **_encoded(mask)}
    corners = np.concatenate(outlines)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return {
        **entry,
        "segmentation": [points.ravel().tolist() for points in outlines],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": sum(map(polygon_area, outlines)),
    }


def _encoded(mask: np.ndarray) -> dict:
    """Values of an annotation with a run-length encoding of a mask (H, W)."""
    rows, columns = bounding_window(mask)
    box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
    return {
        "segmentation": encode_mask(mask),
        "bbox": [float(value) for value in box],
        "area": int(mask.sum()),
    }
