"""A mended copy of a dataset in COCO's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..files import write_json
from .coco_json import LISTS, check_replaceable, mark
from .defects import Defect, Repair
from .segmentations import FLAT, clip_polygon, polygon_area, read_polygon


def fix(content: Mapping, defects: Sequence[Defect]) -> tuple[dict, list[str]]:
    """A copy without the defects that can be mended; what cannot be is dropped.

    Args:
        content: see `checking.read_coco`; it stays as it is.
        defects: those found in it.

    Returns:
        content: the mended copy; entries that nothing is wrong with are shared with the original.
        changes: a line for each, for people.

    Raises:
        DatasetError: nothing would be left.
    """
    repairs: dict[str, dict[int, list[Defect]]] = {}
    changes = []
    for defect in defects:
        if defect.repair is not Repair.NONE:
            repairs.setdefault(defect.part, {}).setdefault(defect.index, []).append(defect)
            changes.append(f"{defect} → {defect.mending}")
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
    changes += [f"{count:,} annotations of a dropped {part}" for part, count in lost.items()]
    for part, entries in mended.items():
        if not entries:
            raise DatasetError(f"nothing can be mended: no {part} would be left")
    return {**content, **mended}, changes


def fixed_path(json_file: Path) -> Path:
    """Where the mended copy of a JSON goes."""
    return json_file.with_name(f"{json_file.stem}_fixed.json")


def write_fixed(json_file: Path, content: Mapping) -> Path:
    """Write a mended copy beside the original and return its path.

    Raises:
        DatasetError: a file of that name is somebody else's.
        OSError: it cannot be written.
    """
    path = fixed_path(json_file)
    check_replaceable(path)
    write_json(mark(content), path)
    return path


def _mend(entry: dict, defects: Sequence[Defect]) -> dict | None:
    """A mended copy of an entry, None where it is dropped; the entry itself without defects."""
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
    return _mend_polygons(entry, drop, clip) if drop or clip else entry


def _mend_polygons(entry: dict, drop: set[int], clip: Mapping[int, tuple[int, int]]) -> dict | None:
    """An annotation with some polygons dropped and others clipped, and its box and area measured
    anew; None where nothing is left.

    Args:
        drop: indices of polygons.
        clip: height and width of the image by indices of polygons.
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
    corners = np.concatenate(outlines)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return {
        **entry,
        "segmentation": [points.ravel().tolist() for points in outlines],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": sum(map(polygon_area, outlines)),
    }
