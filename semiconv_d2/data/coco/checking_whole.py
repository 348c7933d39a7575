"""Checks of a dataset in COCO's format as a whole.

If most instances share an oddity, the fault is in the dataset. From a share of `MOST` on, this is
an error: training would learn little, or something wrong. From a share of `SOME` on, crowd regions
are a warning. In COCO's own data 1 % are crowd regions, at most one in an image for each category.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .defects import KINDS, Defect, Findings, Repair
from .describing import InputScale, Statistics
from .json_values import is_number

MOST = 0.5
"""If this share of the instances or more have a defect, it is an error of the dataset."""
SOME = 0.1
"""Share of crowd regions that causes a warning, if there are three or more."""
PIECES = 0.25
"""Share of instances in several separate pieces that causes a warning."""
UNFIT = 0.25
"""Share of instances that the detector of a config does not fit that is remarked on."""
PERCENT = 100
"""Coordinates look like percent if the largest one is not greater than this, …"""
PERCENT_REACHED = 80
"""… and not less than this, …"""
PERCENT_SIDE = 200
"""… if the sides of all images have at least so many pixels, …"""
PERCENT_OUTLINES = 20
"""… and if there are at least so many outlines."""

_MEANT = {"crowds": "meant"}  # in the info of a JSON
_LEFT_OUT = {
    "without a pixel": ("mask-too-thin", "mask-empty"),
    "with empty boxes": ("bbox-empty",),
}
_OUTSIDE = ("polygon-partly-outside", "polygon-outside", "polygon-long", "bbox-partly-outside")


def keep_crowds(content: Mapping) -> dict:
    """A copy whose info says that its crowd regions are intended."""
    info = content.get("info")
    return {**content, "info": {**(info if isinstance(info, Mapping) else {}), **_MEANT}}


def check_whole(
    content: Mapping, defects: Sequence[Defect], scale: InputScale | None = None
) -> list[Defect]:
    """Defects of most instances, crowd regions that may be instances, and images with more
    instances than a model can find.

    Args:
        content: see `coco_json.read_coco`.
        defects: those found in it so far.
        scale: how large a model sees images, and how many instances it can find.
    """
    entries = content["annotations"]
    having: dict[str, set[int]] = {}
    for defect in defects:
        if defect.part == "annotations":
            having.setdefault(defect.kind, set()).add(defect.index)
    crowds = {i for i, entry in enumerate(entries) if _is_crowd(entry)}
    return [
        *_check_crowds(content, crowds),
        *(_whole(*told) for told in _check_shares(content, having, crowds)),
        *_check_percent(content),
        *_check_numbers(entries, crowds, scale),
    ]


def _check_numbers(
    entries: Sequence[Mapping], crowds: Collection[int], scale: InputScale | None
) -> Iterator[Defect]:
    """Images with more instances than a model finds."""
    limit = scale.most_detections if scale is not None else 0
    instances = (entry for index, entry in enumerate(entries) if index not in crowds)
    numbers = Counter(repr(entry.get("image_id")) for entry in instances)
    most = max(numbers.values(), default=0)
    if limit and most > limit:
        full = sum(number > limit for number in numbers.values())
        what = (
            f"{full:,} images have more instances than the {limit:,} that the model can find in an "
            f"image: raise TEST.DETECTIONS_PER_IMAGE to {most:,} or more"
        )
        yield _whole("too-many-instances", what)


def check_fit(statistics: Statistics) -> list[Defect]:
    """Reports what the detector of a config cannot see well in many instances, and what to change
    in the config."""
    fit = statistics.fit
    if fit is None:
        return []
    anchors = "MODEL.ANCHOR_GENERATOR"
    told = (
        (
            "small-for-anchors",
            fit.below_half_anchor,
            "have boxes smaller than half the smallest anchor: enlarge the images "
            f"(INPUT.MIN_SIZE_TRAIN, MIN_SIZE_TEST), or take smaller anchors ({anchors}.SIZES)",
        ),
        (
            "anchors-do-not-fit",
            fit.poor_shape,
            f"fit no anchor (IoU of the boxes below 0.5): change {anchors}.SIZES, and "
            "ASPECT_RATIOS for long instances",
        ),
        (
            "thin-for-features",
            fit.thinner_than_two,
            f"are thinner than two cells of {fit.finest_stride} px: enlarge the images "
            "(INPUT.MIN_SIZE_TRAIN, MIN_SIZE_TEST)",
        ),
    )
    return [
        _whole(kind, f"{100 * share:.0f} % of the instances {what}")
        for kind, share, what in told
        if share >= UNFIT
    ]


def check_pieces(statistics: Statistics) -> list[Defect]:
    """Reports instances in several pieces if there are so many that their labels may be classes."""
    if not statistics.pieces >= PIECES:  # NaN too
        return []
    return [_whole("several-pieces", tell_pieces(f"{100 * statistics.pieces:.0f} % of the"))]


def tell_pieces(share: str) -> str:
    """
    Args:
        share: such as "12 of 20".
    """
    return (
        f"{share} instances are in several separate pieces: if the labels are classes, with one "
        f"value for all instances of a class, give each instance a value of its own"
    )


def _is_crowd(entry: Mapping) -> bool:
    flags = entry.get("iscrowd"), entry.get("ignore")
    return any(flag in (1, "1", "true", "True") for flag in flags)


def _are_most(some: Collection, entries: Collection) -> bool:
    """Whether some entries are most of them. One is not enough, unless it is the only one."""
    return len(some) >= max(min(2, len(entries)), MOST * len(entries)) > 0


def _whole(kind: str, what: str, mended: bool = False) -> Defect:
    """
    Args:
        mended: whether it is mended by mending the instances.
    """
    repair = Repair.PARTS if mended else Repair.NONE
    return Defect(kind, KINDS[kind], "the dataset", what, repair)


def _check_crowds(content: Mapping, crowds: Collection[int]) -> Iterator[Defect]:
    """Reports crowd regions if there are so many that they may be instances. They surely are
    instances if several in an image have the same category, or if there is nothing else."""
    entries, info = content["annotations"], content.get("info")
    if isinstance(info, Mapping) and _MEANT.items() <= info.items():
        return
    most = _are_most(crowds, entries)
    if not most and not (len(crowds) > 2 and len(crowds) >= SOME * len(entries)):
        return
    places: Counter[Any] = Counter(_place(entries[index]) for index in crowds)
    beside_others = [index for index in crowds if places[_place(entries[index])] > 1]
    plain = len(crowds) == len(entries) or 2 * len(beside_others) >= len(crowds)
    yield _whole(
        "mostly-crowds" if most else "some-crowds",
        f"{_tell(crowds, entries)} are crowds (iscrowd 1), which are not trained on. "
        + (
            "They look like instances, as in exports of brush masks: --fix sets iscrowd 0"
            if plain
            else "Set iscrowd 0 if they are instances"
        )
        + "; use --fix --keep-crowds if they are regions of many objects",
        plain,
    )
    if plain:
        found = Findings("annotations", lambda i: f"annotation {entries[i].get('id')}")
        for index in sorted(crowds):
            what = "it is a crowd (iscrowd 1), but looks like an instance"
            value = {"iscrowd": 0, **({"ignore": 0} if "ignore" in entries[index] else {})}
            found.add(index, "crowd-of-masks", what, Repair.SET, value)
        yield from found.in_order()


def _place(entry: Mapping) -> str:
    return repr((entry.get("image_id"), entry.get("category_id")))


def _check_percent(content: Mapping) -> Iterator[Defect]:
    """Reports coordinates that all look like percent, in larger images."""
    sizes = [image.get(key) for image in content["images"] for key in ("height", "width")]
    if not all(is_number(size) and size >= PERCENT_SIDE for size in sizes):
        return
    highest, outlines = 0.0, 0
    for entry in content["annotations"]:
        polygons = entry.get("segmentation")
        if not isinstance(polygons, list):
            return  # run-length encodings count pixels
        for polygon in polygons:
            values = filter(is_number, polygon if isinstance(polygon, list) else ())
            highest = max((highest, *values))
        outlines += len(polygons)
        if highest > PERCENT:
            return
    if highest >= PERCENT_REACHED and outlines >= PERCENT_OUTLINES:
        what = (
            f"the coordinates of all instances lie between 0 and {PERCENT}, and all images have "
            f"sides of {PERCENT_SIDE} pixels or more: they look like percent of width and height, "
            f"but COCO's format has pixels: multiply x by width / {PERCENT} and y by height / "
            f"{PERCENT}"
        )
        yield _whole("mostly-percent", what)


def _check_shares(
    content: Mapping, having: Mapping[str, set[int]], crowds: set[int]
) -> Iterator[tuple[str, str, bool]]:
    """Arguments of `_whole` for each defect of the dataset.

    Args:
        having: indices of the annotations with a defect, by its kind.
        crowds: indices of the crowd regions.
    """
    entries = content["annotations"]

    def union(kinds: Collection[str]) -> set[int]:
        return set().union(*(having.get(kind, set()) for kind in kinds))

    lost = {reason: union(kinds) for reason, kinds in _LEFT_OUT.items()} | {"crowds": crowds}
    every = set().union(*lost.values())
    nothing = len(every) == len(entries) > 0
    mended = not _are_most(every - lost["with empty boxes"], entries)
    if nothing or (every != crowds and _are_most(every, entries)):
        reasons = ", ".join(f"{len(some):,} {reason}" for reason, some in lost.items() if some)
        left = "nothing is left to train on" if nothing else "too little is left to train on"
        yield ("mostly-left-out", f"{left}: {reasons}, of {len(entries):,} instances", mended)
    if _are_most(relative := union(["polygon-relative"]), entries):
        yield (
            "mostly-relative",
            f"{_tell(relative, entries)} have coordinates between 0 and 1, which look relative to "
            f"width and height, but COCO's format has pixels: --fix multiplies them",
            True,
        )
    if _are_most(exchanged := union(["polygon-exchanged"]), entries):
        yield (
            "mostly-exchanged",
            f"{_tell(exchanged, entries)} have coordinates that look like y, x, …, but COCO's "
            f"format has x, y, …: --fix exchanges them",
            True,
        )
    if _are_most(far := union(["bbox-far-from-mask"]), entries):
        boxes = [entries[index].get("bbox") or [2] for index in far]
        small = all(isinstance(v, int | float) and v <= 1 for box in boxes for v in box)
        what = "between 0 and 1, which look relative" if small else "far from their masks"
        yield (
            "mostly-misplaced",
            f"{_tell(far, entries)} have boxes {what}: --fix sets the boxes of the masks",
            True,
        )
    if _are_most(outside := union(_OUTSIDE), entries):
        yield (
            "mostly-misplaced",
            f"{_tell(outside, entries)} reach out of their image: they look as if made for larger "
            f"images, or with height and width exchanged",
            False,
        )
    if _are_most(filled := union(["hole-filled"]), entries):
        yield (
            "mostly-holes-filled",
            f"{_tell(filled, entries)} have a hole that is a polygon of its own, which COCO's "
            f"tools fill: --fix cuts it out",
            True,
        )


def _tell(some: Collection, entries: Collection) -> str:
    return f"{len(some):,} of {len(entries):,} instances"
