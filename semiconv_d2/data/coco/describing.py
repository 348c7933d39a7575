"""What is in a dataset in COCO's format, in numbers that matter for instance segmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from itertools import zip_longest

import numpy as np

from ..geometry import CONTACT, ELONGATION, Bins, contact, elongation, has_pieces, inscribed_radius
from ..images import Size
from ..limits import tell_too_large
from .segmentations import decode_mask

SAMPLE = 500
"""Number of images whose masks are measured, unless all are."""

_CATEGORIES_SHOWN = 20
_POOR_FIT = 0.5


@dataclass(frozen=True)
class InputScale:
    """The scale at which a model sees images."""

    min_size: int
    """Length in pixels of the shorter side of a resized image; 0 if images are not resized."""
    max_size: int
    """Greatest length in pixels of the longer side."""
    most_detections: int = field(default=0, kw_only=True)
    """Greatest number of detections of the model in an image; 0 if it is not known."""

    def factor(self, size: Size) -> float:
        """The factor by which an image of a height and width is enlarged."""
        if self.min_size <= 0:
            return 1.0
        return min(self.min_size / min(size), self.max_size / max(size))

    def shown(self, size: Size) -> Size:
        """Height and width of the resized image."""
        height, width = (int(side * self.factor(size) + 0.5) for side in size)
        return height, width


@dataclass(frozen=True)
class DetectorScale(InputScale):
    """The scale at which a detector sees images, and its anchors."""

    anchor_sizes: Sequence[Sequence[float]]
    """Square roots of the anchors' areas in pixels, for each level or once for all."""
    aspect_ratios: Sequence[Sequence[float]]
    """Height over width of the anchors, for each level or once for all."""
    strides: Sequence[int]
    """Width of a cell in pixels, for each level."""

    def anchors(self) -> np.ndarray:
        """Width and height of all anchors, (A, 2) float64."""
        levels = max(len(self.anchor_sizes), len(self.aspect_ratios))
        return np.array(
            [
                (size / np.sqrt(ratio), size * np.sqrt(ratio))
                for level in range(levels)
                for size in self.anchor_sizes[level % len(self.anchor_sizes)]
                for ratio in self.aspect_ratios[level % len(self.aspect_ratios)]
            ]
        )


@dataclass(frozen=True)
class DetectorFit:
    """How instances look to a detector once their images are resized; shares in [0, 1]."""

    factor: float
    """Median of the factors by which images are enlarged."""
    smallest_anchor: float
    """Square root of the area of the smallest anchor, in pixels."""
    finest_stride: int
    """In pixels."""
    below_half_anchor: float
    """Share of instances whose box is smaller than half the smallest anchor; sizes are square roots
    of areas."""
    poor_shape: float
    """Share of instances whose box has an IoU below 0.5 with every anchor on the same centre."""
    thinner_than_cell: float
    """Share of the measured instances in which the largest disc is smaller than a cell of the
    finest stride."""
    thinner_than_two: float
    """The same for two cells."""


@dataclass(frozen=True)
class Spread:
    """Smallest, 5 %, median, 95 % and largest of some values, NaN where there are none."""

    low: float
    low_5: float
    median: float
    high_5: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Spread:
        if not len(values):
            return cls(*[float("nan")] * 5)
        return cls(*np.percentile(values, (0, 5, 50, 95, 100)).tolist())


@dataclass(frozen=True)
class Statistics:
    """A dataset in numbers; crowd regions are counted, but left out of all other numbers."""

    images: int
    images_without_instances: int
    instances: int
    crowd_regions: int
    categories: Mapping[str, int]
    """Number of instances by the name of the category, in the order of the JSON."""
    heights: Spread
    """Of the images, in pixels."""
    widths: Spread
    instances_in_image: Spread
    sizes: Spread
    """Square roots of the instances' areas in pixels, by their key "area"."""
    polygons: int
    """Instances whose mask is a list of polygons."""
    encoded: int
    """Instances whose mask is a run-length encoding."""
    measured_images: int
    """Number of images whose masks are measured; the numbers below are of these images only."""
    measured: int
    """Number of instances in these images."""
    contact: Sequence[float]
    """Share of the instances in each bin of `geometry.CONTACT`."""
    sharing: float
    """Share of the instances that share pixels with another one."""
    shared_pixels: float
    """Median share of its pixels that such an instance shares; NaN if there is none."""
    elongation: Sequence[float]
    """Share of the instances in each bin of `geometry.ELONGATION`."""
    pieces: float
    """Share of the instances in several separate pieces, see `geometry.has_pieces`."""
    fit: DetectorFit | None = None

    def as_dict(self) -> dict:
        """All of it for a JSON, with None for NaN."""
        return {key: _without_nan(value) for key, value in asdict(self).items()}


def describe(
    content: Mapping,
    scale: DetectorScale | None = None,
    sample: int | None = SAMPLE,
    seed: int = 0,
) -> Statistics:
    """Count and measure a dataset.

    Args:
        content: in COCO's format without errors, see `checking.find_defects`.
        scale: of the detector to train on the dataset.
        sample: number of random images whose masks are measured; None for all images.
        seed: random seed; another seed chooses other images.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    of_image: dict[object, list[dict]] = {number: [] for number in sizes}
    crowds = 0
    for annotation in content["annotations"]:
        if annotation.get("iscrowd", 0):
            crowds += 1
        else:
            of_image[annotation["image_id"]].append(annotation)
    instances = [annotation for image in of_image.values() for annotation in image]
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts = Counter(names[annotation["category_id"]] for annotation in instances)
    encoded = sum(isinstance(annotation["segmentation"], Mapping) for annotation in instances)
    filled = [number for number, image in of_image.items() if image]
    chosen = [number for number in filled if not tell_too_large(*sizes[number])]
    if sample is not None and len(chosen) > sample:
        random = np.random.default_rng(seed).choice(len(chosen), sample, replace=False)
        chosen = [chosen[index] for index in np.sort(random)]
    touching, shared, long, widths, pieces = _measure([(of_image[n], sizes[n]) for n in chosen])
    areas = np.array([a["area"] for a in instances if "area" in a], dtype=np.float64)
    return Statistics(
        images=len(sizes),
        images_without_instances=len(sizes) - len(filled),
        instances=len(instances),
        crowd_regions=crowds,
        categories={name: counts[name] for name in dict.fromkeys(names.values())},
        heights=Spread.of([size[0] for size in sizes.values()]),
        widths=Spread.of([size[1] for size in sizes.values()]),
        instances_in_image=Spread.of([len(image) for image in of_image.values()]),
        sizes=Spread.of(np.sqrt(np.maximum(areas, 0))),
        polygons=len(instances) - encoded,
        encoded=encoded,
        measured_images=len(chosen),
        measured=len(widths),
        contact=_shares(CONTACT, touching),
        sharing=_mean(shared > 0),
        shared_pixels=Spread.of(shared[shared > 0]).median,
        elongation=_shares(ELONGATION, long),
        pieces=_mean(pieces > 0),
        fit=_fit(scale, sizes, of_image, chosen, widths) if scale and instances else None,
    )


def format_statistics(statistics: Statistics) -> str:
    """One aligned table for people."""
    rows = [list(map(_text, row)) for row in _rows(statistics)]
    first, *others = (max(map(len, column)) for column in zip_longest(*rows, fillvalue=""))
    lines = (
        "  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]).rstrip() for row in rows
    )
    return "\n".join(lines)


class _Masks(Sequence):
    """The masks of an image, each drawn on access: all at once may fill the memory."""

    def __init__(self, annotations: Sequence[Mapping], size: Size):
        self._annotations = annotations
        self._size = size

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # no slices
        return decode_mask(self._annotations[index]["segmentation"], self._size)


def _measure(images: Sequence[tuple[Sequence[Mapping], Size]]) -> np.ndarray:
    """
    Args:
        images: the instances of each image, and its height and width.

    Returns:
        (5, M) float64, for each instance: its contact, the share of its pixels that other instances
        also have, its elongation, the diameter in pixels of the largest disc inside, and whether it
        is in several pieces.
    """
    from tqdm import tqdm

    values: list[tuple[float, ...]] = []
    for instances, size in tqdm(images, desc="measure masks", unit="image"):
        masks = _Masks(instances, size)
        cover = np.zeros(size, dtype=np.int32)
        for mask in masks:
            cover += mask
        for mask, touching in zip(masks, contact(masks), strict=True):
            shared, long, radius, pieces = 0.0, 1.0, 0.0, False
            if mask.any():
                shared = (cover[mask] > 1).mean()
                radius = inscribed_radius(mask)
                long = elongation(mask, radius)
                pieces = has_pieces(mask)
            values.append((touching, shared, long, 2 * radius, pieces))
    return np.array(values).reshape(-1, 5).T


def _fit(
    scale: DetectorScale,
    sizes: Mapping[object, Size],
    of_image: Mapping[object, Sequence[Mapping]],
    chosen: Sequence[object],
    widths: np.ndarray,
) -> DetectorFit:
    """
    Args:
        sizes: of the images, by their ids.
        of_image: the instances in each of them.
        chosen: ids of the images whose masks have been measured.
        widths: diameters of the instances in these, one image after the other, (M,).
    """
    factors = {number: scale.factor(size) for number, size in sizes.items()}
    boxes = np.array(
        [
            np.multiply(annotation["bbox"][2:], factors[number])
            for number, instances in of_image.items()
            for annotation in instances
        ]
    )
    repeats = [len(of_image[number]) for number in chosen]
    widths = widths * np.repeat([factors[number] for number in chosen], repeats)
    anchors = scale.anchors()
    smallest = float(np.sqrt(anchors.prod(axis=1).min()))
    area = boxes.prod(axis=1)
    best = np.zeros(len(boxes))
    for anchor in anchors:
        shared = np.minimum(boxes, anchor).prod(axis=1)
        best = np.maximum(best, shared / (area + anchor.prod() - shared))
    stride = min(scale.strides)
    return DetectorFit(
        factor=float(np.median(list(factors.values()))),
        smallest_anchor=smallest,
        finest_stride=stride,
        below_half_anchor=_mean(np.sqrt(area) < smallest / 2),
        poor_shape=_mean(best < _POOR_FIT),
        thinner_than_cell=_mean(widths < stride),
        thinner_than_two=_mean(widths < 2 * stride),
    )


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _mean(chosen: np.ndarray) -> float:
    return float(chosen.mean()) if len(chosen) else float("nan")


def _shares(bins: Bins, values: np.ndarray) -> list[float]:
    """Share of the values in each bin, NaN where there are no values."""
    chosen = bins.of(values)
    return [_mean(chosen == index) for index in range(len(bins.labels))]


class _Percent(float):
    """A share in [0, 1]."""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and np.isnan(value):
        return "–"
    if isinstance(value, _Percent):
        return f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _rows(s: Statistics) -> Iterator[list]:
    yield ["images", s.images]
    yield ["  without instances", s.images_without_instances]
    yield ["instances", s.instances]
    yield ["  as polygons", s.polygons]
    yield ["  run-length encoded", s.encoded]
    yield ["crowd regions", s.crowd_regions]
    yield [""]
    yield ["", "min", "5 %", "median", "95 %", "max"]
    for name, spread in (
        ("height of image, px", s.heights),
        ("width of image, px", s.widths),
        ("instances in an image", s.instances_in_image),
    ):
        yield [name, *(f"{value:,.0f}" for value in astuple(spread))]
    yield ["√area of instance, px", *astuple(s.sizes)]
    yield [""]
    yield from _category_rows(s)
    if not s.measured:
        return
    yield [""]
    part = "all" if s.measured_images == s.images - s.images_without_instances else "sampled"
    yield [f"masks of {part} {s.measured_images:,} images, {s.measured:,} instances"]
    yield ["  outline in contact with others", *CONTACT.labels]
    yield ["    instances", *map(_Percent, s.contact)]
    yield ["  elongation: area / that of largest disc", *ELONGATION.labels]
    yield ["    instances", *map(_Percent, s.elongation)]
    yield ["  instances that share pixels", _Percent(s.sharing)]
    yield ["    median share of their pixels", _Percent(s.shared_pixels)]
    yield ["  instances in several pieces", _Percent(s.pieces)]
    if s.fit is not None:
        yield [""]
        yield from _fit_rows(s.fit)


def _category_rows(s: Statistics) -> Iterator[list]:
    ranked = sorted(s.categories.items(), key=lambda item: -item[1])
    empty = sum(count == 0 for count in s.categories.values())
    yield ["categories", len(ranked)]
    if empty:
        yield ["  without instances", empty]
    for name, count in ranked[:_CATEGORIES_SHOWN]:
        yield [f"  {name}", count, _Percent(count / max(1, s.instances))]
    rest = ranked[_CATEGORIES_SHOWN:]
    if rest:
        total = sum(count for _, count in rest)
        yield [f"  the other {len(rest)}", total, _Percent(total / max(1, s.instances))]


def _fit_rows(fit: DetectorFit) -> Iterator[list]:
    yield [f"for the detector, images enlarged {fit.factor:.2f} times"]
    anchor, stride = fit.smallest_anchor, fit.finest_stride
    small = f"  √area of box < {anchor / 2:g} px, half the smallest anchor"
    yield [small, _Percent(fit.below_half_anchor)]
    yield [
        f"  IoU of box < {_POOR_FIT} with every anchor, by shape alone",
        _Percent(fit.poor_shape),
    ]
    yield [f"  mask thinner than {stride} px, one cell", _Percent(fit.thinner_than_cell)]
    yield [f"  mask thinner than {2 * stride} px, two cells", _Percent(fit.thinner_than_two)]
