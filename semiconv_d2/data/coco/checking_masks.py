"""Checks of the masks and boxes of a dataset in COCO's format.

Many are checked at a time, so that a million annotations take seconds. Coordinates are (x, y)
in pixels from the top left corner of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..images import Size
from .defects import ERROR, Findings, Repair
from .json_values import is_number, read_box, shorten, tell_value
from .segmentations import (
    LONGEST,
    RELATIVE,
    RUNS_DO_NOT_ADD_UP,
    SegmentationError,
    are_exchanged,
    are_flat,
    are_relative,
    area_of_nested,
    bound_outline,
    check_encoding,
    count_pixels,
    decode_counts,
    find_holes,
    find_nested,
    measure_outlines,
    measure_runs,
    merge_boxes,
    plain_polygons,
    read_polygon,
    unwrap,
)

OUTSIDE = 2
"""Pixels that an outline or box may reach out of the image."""
FAR = 3
"""Greatest distance in pixels of the sides of a box from the sides of its mask."""

_BOX_MESSAGES = {
    "bbox": "its bbox is {given}, not [left, top, width, height]",
    "bbox-negative": "its bbox {given} has a negative width or height",
    "bbox-corners": "its bbox {given} looks like [left, top, right, bottom], but its mask has the "
    "box {mask}",
    "bbox-empty": "its bbox {given} is empty; Detectron2 leaves the instance out",
    "bbox-outside": "its bbox {given} lies outside of the image; its mask has the box {mask}",
    "bbox-partly-outside": "its bbox {given} reaches out of the image",
    "bbox-far-from-mask": "its bbox is {given}, but its mask has the box {mask}",
}


def has_box(entry: Mapping) -> bool:
    """Whether an annotation has a box [left, top, width, height] with an area."""
    box = read_box(entry.get("bbox"))
    return box is not None and min(box[2:]) > 0


@dataclass
class MaskBatch:
    """Annotations to check together: N whose segmentation can be read, with P polygons in all."""

    entries: list[dict]
    """All annotations, also those of other batches."""
    found: Findings
    """Collects the defects."""
    relative: bool = False
    """Whether most coordinates of the dataset look relative to the size of their image."""
    indices: list[int] = field(default_factory=list)
    """Indices of the annotations, N."""
    annotations: list[Mapping] = field(default_factory=list)
    """The annotations, after mending the defects that `add` has found, N."""
    segmentations: list[list | Mapping] = field(default_factory=list)
    """Polygons or run-length encodings in their right form, N."""
    sizes: list[Size | None] = field(default_factory=list)
    """Sizes of their images, N."""
    outlines: list[np.ndarray] = field(default_factory=list)
    """The polygons, P of (·, 2)."""
    owners: list[int] = field(default_factory=list)
    """For each polygon, which of the N it belongs to, P, ascending."""
    numbers: list[int] = field(default_factory=list)
    """For each polygon, its index in the segmentation, P."""
    broken: list[tuple[int, int, str, str]] = field(default_factory=list)
    """Polygons that are not valid: which of the N they belong to, their index in the segmentation,
    and kind and description of the defect."""

    def add(self, index: int, size: Size | None) -> bool:
        """Add an annotation, or report why it cannot be added.

        Args:
            size: of its image, None if not known.
        """
        entry = self.entries[index]
        mask, how = unwrap(entry.get("segmentation"), size)
        if how:
            value = {"segmentation": mask}
            self.found.add(index, "segmentation-wrapped", how, Repair.SET, value)
        if mask is None:
            kind, what = "segmentation-missing", "it has no segmentation"
        elif mask in ([], {}, ""):
            kind, what = "segmentation-empty", "its segmentation is empty"
        elif isinstance(mask, Mapping):
            return self._add_encoded(mask, index, size)
        elif isinstance(mask, list):
            self._add_polygons(mask, index, size)
            return True
        else:
            kind = "segmentation-type"
            what = f"its segmentation is {shorten(mask)}, neither polygons nor a run-length"
            what += " encoding"
        self.found.add(index, kind, what, Repair.DROP)
        return False

    def _add_encoded(self, mask: Mapping, index: int, size: Size | None) -> bool:
        try:
            check_encoding(mask, size)
        except SegmentationError as error:
            self.found.add(index, error.kind, str(error), Repair.DROP)
            return False
        self._append(index, self.entries[index], mask, tuple(mask["size"]))
        return True

    def _add_polygons(self, mask: list, index: int, size: Size | None) -> None:
        entry: Mapping = self.entries[index]
        outlines, broken = _read_polygons(mask)
        plain = plain_polygons(mask) if broken else None
        again = ({}, broken) if plain is None else _read_polygons(plain)
        if plain is not None and len(again[1]) < len(broken):
            kind, what = "polygon-coordinates", "its segmentation has pairs or text"
            if isinstance(mask[0], int | float):
                kind, what = "polygon-flat", "its segmentation is a single polygon"
            what += " instead of lists of numbers x, y, x, y, …"
            self.found.add(index, kind, what, Repair.SET, {"segmentation": plain})
            mask, (outlines, broken) = plain, again
        if size is not None and not broken and are_relative(outlines.values(), size, self.relative):
            outlines = {n: points * size[::-1] for n, points in outlines.items()}
            value = _in_pixels(entry, outlines.values(), size)
            what = "its coordinates lie between 0 and 1: they look relative to width and height"
            self.found.add(index, "polygon-relative", what, Repair.SET, value)
            entry, mask = {**entry, **value}, value["segmentation"]
        box = read_box(entry.get("bbox"))
        if box is not None and not broken and are_exchanged(outlines.values(), box, FAR):
            outlines = {n: points[:, ::-1] for n, points in outlines.items()}
            mask = [points.ravel().tolist() for points in outlines.values()]
            what = "its coordinates look like y, x, …: exchanged, they fit its bbox"
            self.found.add(index, "polygon-exchanged", what, Repair.SET, {"segmentation": mask})
        owner = self._append(index, entry, mask, size)
        self.outlines += outlines.values()
        self.numbers += outlines
        self.owners += [owner] * len(outlines)
        self.broken += [(owner, number, e.kind, str(e)) for number, e in broken.items()]

    def _append(self, index: int, entry: Mapping, mask: list | Mapping, size: Size | None) -> int:
        self.indices.append(index)
        self.annotations.append(entry)
        self.segmentations.append(mask)
        self.sizes.append(size)
        return len(self.indices) - 1

    def check(self, crossings: bool) -> None:
        """Report all defects.

        Args:
            crossings: look for polygons that cross themselves, which needs Shapely.
        """
        # Left, top, right and bottom of all masks, NaN where nothing is left of one; their areas.
        self.extents: np.ndarray = np.full((len(self.indices), 4), np.nan)
        self.areas: np.ndarray = np.zeros(len(self.indices))
        self.nested: set[int] = set()  # of the N, those with polygons within one another
        sound = self._check_outlines()
        self._check_holes(sound)
        self._check_encoded()
        self._check_thin()
        self._check_areas()
        if crossings:
            self._check_crossings(sound)
        self._check_boxes()

    def _check_outlines(self) -> np.ndarray:
        """Report defects of polygons, and measure the polygons that are fine.

        Returns: which of the P are fine.
        """
        sound = np.array([], dtype=int)
        broken, left = list(self.broken), set()
        if self.outlines:
            owners = np.array(self.owners)
            low, high, areas, lengths = measure_outlines(self.outlines)
            sides = _sides(self.sizes)[owners]
            flat = are_flat(self.outlines, areas)
            outside = ((high <= 0) | (low >= sides)).any(axis=1) & ~flat
            long = (lengths > LONGEST) & ~flat & ~outside & np.isfinite(sides).all(axis=1)
            told = {k: self._tell_too_long(k) for k in np.flatnonzero(long).tolist()}
            endless = [k for k, what in told.items() if what]
            broken += [(self.owners[k], self.numbers[k], "polygon-long", told[k]) for k in endless]
            long[endless] = False
            for chosen, kind, what in (
                (flat, "polygon-no-area", "has all its corners on one line"),
                (outside, "polygon-outside", "lies outside of the image"),
            ):
                places = np.flatnonzero(chosen)
                broken += [(self.owners[k], self.numbers[k], kind, what) for k in places]
            sound = np.flatnonzero(~flat & ~outside & ~np.isin(np.arange(len(owners)), endless))
            left = set(owners[sound].tolist())
            total = len(self.indices)
            self.extents = merge_boxes(owners[sound], low[sound], high[sound], total)
            self.areas = np.bincount(owners[sound], weights=areas[sound], minlength=total)
            reach = np.maximum(-low, high - sides).max(axis=1)
            for k in sound[(reach[sound] > OUTSIDE) | long[sound]]:
                what = f"its polygon {self.numbers[k]} reaches {reach[k]:.0f} px out of the image"
                kind = "polygon-partly-outside"
                if long[k]:
                    kind, what = "polygon-long", f"{what}, with an outline of {lengths[k]:.3g} px"
                value = self.numbers[k], self.sizes[owners[k]]
                index = self.indices[owners[k]]
                self.found.add(index, kind, what, Repair.CLIP_POLYGON, value)
        for owner, number, kind, what in broken:
            index, what = self.indices[owner], f"its polygon {number} {what}"
            if owner in left:
                self.found.add(index, kind, what, Repair.DROP_POLYGON, number)
            else:
                self.found.add(index, kind, what, Repair.DROP, severity=ERROR)
        return sound

    def _tell_too_long(self, number: int) -> str:
        """Why a polygon of the P cannot be drawn even if it is cut off at the border."""
        size = self.sizes[self.owners[number]]
        try:
            if size is not None:
                bound_outline(self.outlines[number], size)
        except SegmentationError as error:
            return str(error)
        return ""

    def _check_holes(self, sound: np.ndarray) -> None:
        """Report polygons that lie within another one of their instance."""
        for owner, members in find_nested(self.outlines, self.owners, sound):
            outlines = [self.outlines[k] for k in members]
            depths = find_holes(outlines)
            if not any(depths):
                continue
            self.nested.add(owner)
            area, index = self.annotations[owner].get("area"), self.indices[owner]
            number = self.numbers[members[int(np.argmax(depths))]]
            what = f"its polygon {number} lies within another one: it may be a hole, but COCO's "
            what += "tools fill it"
            filled, with_holes = area_of_nested(outlines, depths)
            if is_number(area) and abs(area - with_holes) < abs(area - filled) / 2:
                what = f"its polygon {number} is a hole: its area {area:g} leaves it out, but "
                what += f"COCO's tools fill it ({filled:g})"
                size = self.sizes[owner]
                repair = (Repair.NONE,) if size is None else (Repair.CUT_HOLES, size)
                self.found.add(index, "hole-filled", what, *repair)
                self.areas[owner] = with_holes
            else:
                self.found.add(index, "polygon-within", what)

    def _check_encoded(self) -> None:
        """Report run-length encodings that are not valid, and measure the others."""
        masks = {k: m for k, m in enumerate(self.segmentations) if isinstance(m, Mapping)}
        if not masks:
            return
        encoded = list(masks)
        runs, numbers = decode_counts([mask["counts"] for mask in masks.values()])
        measures = measure_runs(runs, numbers, np.array([self.sizes[k] for k in encoded]))
        empty = measures.valid & (measures.areas == 0)
        for chosen, kind, what in (
            (~measures.valid, "rle-counts", RUNS_DO_NOT_ADD_UP),
            (empty, "mask-empty", "no pixel is in its mask"),
        ):
            for k in np.flatnonzero(chosen):
                self.found.add(self.indices[encoded[k]], kind, what, Repair.DROP)
        self.extents[encoded] = measures.boxes
        self.areas[encoded] = measures.areas

    def _count_drawn(self, owner: int) -> int | None:
        """Pixels of polygons when they are drawn; None for an encoding, or if no size is known."""
        mask, size = self.segmentations[owner], self.sizes[owner]
        return None if isinstance(mask, Mapping) or size is None else count_pixels(mask, size)

    def _check_thin(self) -> None:
        """Report polygons that are drawn as nothing; only thin ones can be."""
        sides = self.extents[:, 2:] - self.extents[:, :2]
        for owner in np.flatnonzero(self.areas <= sides.sum(axis=1) + 1).tolist():
            if self._count_drawn(owner) == 0:
                what = "its polygons are so thin that no pixel is in its mask"
                self.found.add(self.indices[owner], "mask-too-thin", what, Repair.DROP)
                self.extents[owner] = np.nan

    def _check_areas(self) -> None:
        sides = (self.extents[:, 2:] - self.extents[:, :2]).sum(axis=1)
        for owner in np.flatnonzero(~np.isnan(sides)).tolist():
            index, own, far = self.indices[owner], float(self.areas[owner]), FAR * sides[owner]
            entry, kind = self.annotations[owner], "area"
            area = entry.get("area")
            if not is_number(area) or area < 0:
                what = tell_value(entry, "area") + "; COCO's evaluation needs it"
            elif abs(area - own) > far and not entry.get("iscrowd"):  # COCO's differ
                drawn = self._count_drawn(owner)  # exact if polygons cross themselves
                own = own if drawn is None else float(drawn)
                if abs(area - own) <= far:
                    continue
                kind = "area-far-from-mask"
                what = f"its area is {area:g}, its mask has {own:g} pixels"
                if owner in self.nested:  # the area may be the only sign of a hole
                    self.found.add(index, kind, what)
                    continue
            else:
                continue
            self.found.add(index, kind, what, Repair.SET, {"area": own})

    def _check_crossings(self, sound: np.ndarray) -> None:
        """Report polygons that cross themselves; touching themselves in a point is fine."""
        import shapely

        if not len(sound):
            return
        outlines = [self.outlines[k] for k in sound]
        rings = np.repeat(np.arange(len(outlines)), [len(points) for points in outlines])
        polygons = shapely.polygons(shapely.linearrings(np.concatenate(outlines), indices=rings))
        for polygon in np.flatnonzero(~shapely.is_valid(polygons)):
            reason = shapely.is_valid_reason(polygons[polygon])
            if reason.startswith("Self-intersection["):
                x, y = map(float, reason[len("Self-intersection[") : -1].split()[:2])
                k = sound[polygon]
                what = f"its polygon {self.numbers[k]} crosses itself at ({x:.1f}, {y:.1f})"
                self.found.add(self.indices[self.owners[k]], "polygon-crosses-itself", what)

    def _check_boxes(self) -> None:
        """Report defects of the boxes of masks of which anything is left."""
        left = np.flatnonzero(~np.isnan(self.extents[:, 0]))
        given = [self.annotations[owner].get("bbox") for owner in left]
        read = [read_box(box) for box in given]
        masks, sides = self.extents[left], _sides(self.sizes)[left]
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
        # Only the first of these is reported. A polygon's defect is not reported for its box again.
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
                x0, y0, x1, y1 = visible[k].tolist()
                box = [x0, y0, x1 - x0, y1 - y0]
                shown = shorten([round(v, 1) for v in box])
                what = _BOX_MESSAGES[kind].format(given=shorten(given[k]), mask=shown)
                self.found.add(self.indices[left[k]], kind, what, Repair.SET, {"bbox": box})
            told |= chosen


def _read_polygons(mask: list) -> tuple[dict[int, np.ndarray], dict[int, SegmentationError]]:
    """Corners of polygons, see `read_polygon`, and errors of those not valid, by their numbers."""
    outlines, broken = {}, {}
    for number, polygon in enumerate(mask):
        try:
            outlines[number] = read_polygon(polygon)
        except SegmentationError as error:
            broken[number] = error
    return outlines, broken


def _in_pixels(entry: Mapping, outlines: Iterable[np.ndarray], size: Size) -> dict:
    """Values of an annotation whose coordinates were relative to an image.

    Args:
        outlines: its polygons in pixels.
    """
    height, width = size
    values: dict = {"segmentation": [points.ravel().tolist() for points in outlines]}
    box, area = read_box(entry.get("bbox")), entry.get("area")
    if box is not None and max(box) <= RELATIVE:
        values["bbox"] = (np.array(box) * [width, height, width, height]).tolist()
    if is_number(area) and 0 <= area <= RELATIVE:
        values["area"] = area * height * width
    return values


def _sides(sizes: Sequence[Size | None]) -> np.ndarray:
    """Width and height of images, (N, 2) float64, infinite if not known."""
    unknown = (np.inf, np.inf)
    return np.array([size or unknown for size in sizes], dtype=np.float64).reshape(-1, 2)[:, ::-1]
