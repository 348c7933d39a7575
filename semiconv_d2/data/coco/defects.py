"""What can be wrong with a dataset in COCO's format, and how each defect is reported and mended.

An error makes training or evaluation with Detectron2 fail, or teaches the model something wrong.
With a warning, Detectron2 copes or leaves something out, but a person should look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..files import one_line

ERROR, WARNING = "error", "warning"

KINDS = {
    "no-categories": ERROR,
    "no-images": ERROR,
    "no-annotations": ERROR,
    "mostly-left-out": ERROR,
    "mostly-crowds": ERROR,
    "some-crowds": WARNING,
    "mostly-relative": ERROR,
    "mostly-exchanged": ERROR,
    "mostly-percent": ERROR,
    "mostly-misplaced": ERROR,
    "mostly-holes-filled": ERROR,
    "several-pieces": WARNING,
    "small-for-anchors": WARNING,
    "anchors-do-not-fit": WARNING,
    "thin-for-features": WARNING,
    "too-many-instances": WARNING,
    "category-id": ERROR,
    "category-name": ERROR,
    "duplicate-category-id": ERROR,
    "duplicate-category-name": WARNING,
    "text-ids": ERROR,
    "image-id": ERROR,
    "duplicate-image-id": ERROR,
    "file-name": ERROR,
    "file-name-outside": WARNING,
    "same-file-twice": ERROR,
    "file-missing": ERROR,
    "file-unreadable": ERROR,
    "image-unclear": ERROR,
    "image-size": ERROR,
    "size-mismatch": ERROR,
    "image-large": ERROR,
    "image-vanishes": ERROR,
    "image-turned": WARNING,
    "image-depth": WARNING,
    "annotation-id": ERROR,
    "annotation-id-zero": WARNING,
    "duplicate-annotation-id": ERROR,
    "unknown-image": ERROR,
    "unknown-category": ERROR,
    "iscrowd": ERROR,
    "crowd-of-masks": WARNING,
    "iscrowd-missing": WARNING,
    "ignore": ERROR,
    "area": WARNING,
    "area-far-from-mask": WARNING,
    "segmentation-missing": ERROR,
    "segmentation-empty": ERROR,
    "segmentation-type": ERROR,
    "segmentation-wrapped": ERROR,
    "polygon-flat": ERROR,
    "polygon-short": ERROR,
    "polygon-odd": WARNING,
    "polygon-coordinates": ERROR,
    "polygon-relative": WARNING,
    "polygon-exchanged": WARNING,
    "polygon-long": ERROR,
    "polygon-no-area": WARNING,
    "polygon-outside": WARNING,
    "polygon-partly-outside": WARNING,
    "polygon-crosses-itself": WARNING,
    "polygon-within": WARNING,
    "hole-filled": WARNING,
    "rle-keys": ERROR,
    "rle-size": ERROR,
    "rle-counts": ERROR,
    "mask-empty": ERROR,
    "mask-too-thin": WARNING,
    "bbox": ERROR,
    "bbox-negative": ERROR,
    "bbox-empty": WARNING,
    "bbox-outside": ERROR,
    "bbox-corners": ERROR,
    "bbox-partly-outside": WARNING,
    "bbox-far-from-mask": WARNING,
    "duplicate-instance": WARNING,
}
"""Names of all defects and how severe they are. A defect of a polygon is an error if nothing else
is left of its instance."""

_WIDEST = 300  # characters of one line
_SINGULAR = {"categories": "category", "images": "image", "annotations": "annotation"}


class Repair(Enum):
    """What `fixing.fix` does about a defect."""

    NONE = "nothing"
    PARTS = "mend each of them"
    """A defect of the dataset as a whole is mended by mending its entries."""
    DROP = "drop the entry, and the annotations of an image or category"
    MERGE = "drop the entry, and give its annotations to the other one"
    """`Defect.value` has the ids of this image and of the other one; for categories it is None,
    since both have the same id."""
    SET = "set values"
    """`Defect.value` has the new values by their keys."""
    DROP_POLYGON = "drop the polygon"
    """`Defect.value` is its index in the segmentation."""
    CLIP_POLYGON = "cut the polygon off at the border of the image"
    """`Defect.value` is its index in the segmentation, and height and width of the image."""
    CUT_HOLES = "cut the holes out, in a run-length encoding"
    """`Defect.value` has height and width of the image."""


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong in one place."""

    kind: str
    """One of `KINDS`."""
    severity: str
    """`ERROR` or `WARNING`."""
    where: str
    """For people, such as "annotation 345 of image 12 (000012.jpg)"."""
    what: str
    """For people, a clause such as "its bbox is missing"."""
    repair: Repair = Repair.NONE
    value: Any = None
    """What the repair needs to know."""
    part: str = ""
    """The list that the entry is in: "categories", "images" or "annotations"; "" for a defect of
    the JSON as a whole."""
    index: int = 0
    """Index of the entry in its list."""

    def __str__(self) -> str:
        line = one_line(f"{self.where}: {self.what}")
        return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"

    @property
    def mending(self) -> str:
        """What the repair is, for people; "" if there is none."""
        if self.repair is Repair.NONE:
            return ""
        if self.repair is Repair.SET:
            return f"set {', '.join(self.value)}"
        if self.repair is Repair.MERGE:
            return f"drop the {_SINGULAR[self.part]}, give its annotations to the other one"
        if self.repair is Repair.DROP:
            rest = "" if self.part == "annotations" else " and its annotations"
            return f"drop the {_SINGULAR[self.part]}{rest}"
        return self.repair.value


@dataclass
class Findings:
    """Collects the defects of one list of the JSON."""

    part: str
    """"categories", "images" or "annotations"."""
    where: Callable[[int], str]
    """Names the entry of an index for people."""
    defects: list[Defect] = field(default_factory=list)

    def add(
        self,
        index: int,
        kind: str,
        what: str,
        repair: Repair = Repair.NONE,
        value: Any = None,
        severity: str = "",
    ) -> None:
        """
        Args:
            severity: by default that of the kind.
        """
        severity, where = severity or KINDS[kind], self.where(index)
        self.defects.append(Defect(kind, severity, where, what, repair, value, self.part, index))

    def in_order(self) -> list[Defect]:
        """All of them in the order of the entries."""
        return sorted(self.defects, key=lambda defect: defect.index)


def errors_of(defects: Iterable[Defect]) -> list[Defect]:
    return [defect for defect in defects if defect.severity == ERROR]


def format_defects(defects: Sequence[Defect], examples: int | None = 3) -> str:
    """All defects for people: errors before warnings, by kind, with what `fixing.fix` would do.

    Args:
        examples: greatest number of examples of each kind; None for all.
    """
    lines = []
    for severity in (ERROR, WARNING):
        chosen = [defect for defect in defects if defect.severity == severity]
        lines.append(f"{severity}s: {len(chosen):,}")
        by_kind: dict[str, list[Defect]] = {}
        for defect in chosen:
            by_kind.setdefault(defect.kind, []).append(defect)
        for kind, same in by_kind.items():
            mending = " or ".join(dict.fromkeys(d.mending for d in same if d.mending))
            lines.append(f"  {kind}: {len(same):,}" + (f"; --fix: {mending}" if mending else ""))
            shown = same[:examples]
            lines += [f"    {defect}" for defect in shown]
            if len(same) > len(shown):
                lines.append(f"    … and {len(same) - len(shown):,} more")
    return "\n".join(lines)
