"""Binary images of touching worm-like curves, drawn from a random generator.

They are a small version of the worms' dataset: all worms look alike, and only their shapes tell
which pixels belong together. Coordinates are (x, y) in pixels from the top left corner of the
image; the centre of the pixel in row i and column j lies at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatasetError
from ..images import Size
from .prepared import Summary, check_range, datasets_root, prepare_drawn

CATEGORIES = ("worm",)
FOLDER = "synthetic_worms"
SPLITS = ("train", "val")

MIN_OWN_PIXELS = 30
"""Every worm has at least this many pixels that no other worm covers."""

MAX_SHARING = 2
"""No pixel is covered by more worms than this, as in photographs of real worms."""

LEAST_CROSSING = 0.2
"""Most worms that cross have less than this part covered; few have half of it."""

_STEP = 0.5  # pixels between two points of a centre line, at most
_INSIDE = 0.9  # part of a worm's length that lies inside the image, at least
_TRIES = 200  # places tried for one worm before the image is begun again
_RESTARTS = 20  # images begun before the settings count as impossible


@dataclass(frozen=True)
class WormSettings:
    """What the images look like. Lengths are in pixels; ranges are (smallest, largest), inclusive.

    A setting out of its range raises `DatasetError`, a `ValueError`.
    """

    size: Size = (192, 192)
    """Height and width of the image."""
    worms: tuple[int, int] = (5, 8)
    """Number of worms in an image."""
    width: tuple[float, float] = (8.0, 12.0)
    """Width of the body at its middle."""
    length: tuple[float, float] = (60.0, 110.0)
    """Length of the centre line."""
    crowding: float = 0.7
    """Probability that a worm is laid across or beside one that is already there, in [0, 1]. All
    others are laid where they touch none."""
    crossing: float = 0.0
    """Probability that such a worm is laid across the other one, and not beside it, in [0, 1]."""
    overlap: float = 0.05
    """Largest part of a worm that others may cover, in [0, 1]. A crossing usually takes more than a
    tenth."""

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise DatasetError(f"size must be a height and width of at least 1 pixel: {self.size}")
        for name in ("worms", "width", "length"):
            check_range(name, getattr(self, name))
        for name in ("crowding", "crossing", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise DatasetError(f"{name} must be in [0, 1]: {getattr(self, name)}")
        if self.crossing and self.overlap < LEAST_CROSSING:
            raise DatasetError(
                f"worms cannot cross where others may cover {self.overlap} of a worm: raise "
                f"overlap to {LEAST_CROSSING} or more, 1 for no limit, or set crossing to 0"
            )
        if self.length[0] < 2 * self.width[1]:
            raise DatasetError(
                f"the shortest worm must be at least twice as long as the widest one is wide: "
                f"length {self.length}, width {self.width}"
            )
        if self.length[1] > min(self.size):
            raise DatasetError(
                f"the longest worm must fit into the image: length {self.length}, size {self.size}"
            )
        if self.length[0] * self.width[0] < 2 * MIN_OWN_PIXELS:
            raise DatasetError(
                f"the smallest worm must have length x width of at least {2 * MIN_OWN_PIXELS} "
                f"pixels: length {self.length}, width {self.width}"
            )


def draw_worms(settings: WormSettings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image; the same generator state gives the same image.

    Returns:
        image: (H, W) uint8, 255 where there is a worm and 0 elsewhere: the union of the masks.
        masks: (N, H, W) bool, the whole of every worm inside the image; masks share the pixels
            where worms cross.

    Raises:
        DatasetError: there is no place for so many worms in an image of this size.
    """
    number = int(rng.integers(settings.worms[0], settings.worms[1], endpoint=True))
    for _ in range(_RESTARTS):
        masks = _lay_worms(number, settings, rng)
        if masks is not None:
            return np.any(masks, axis=0).astype(np.uint8) * 255, masks
    raise DatasetError(
        f"{number} worms find no place in the image; ask for fewer, smaller or more crowded worms "
        f"or for a larger image: {settings}"
    )


def prepare_synthetic_worms(
    output: Path | None = None,
    settings: WormSettings | None = None,
    seed: int = 0,
    train_images: int = 1000,
    val_images: int = 60,
) -> Summary:
    """Draw images and write them with their COCO JSON, see `prepare_drawn`.

    Args:
        output: folder to write; by default the one that Detectron2's registered names read.
        settings: by default `WormSettings()`.
    """
    settings = settings or WormSettings()
    folder, draw = output or datasets_root() / FOLDER, partial(draw_worms, settings)
    images_in = dict(zip(SPLITS, (train_images, val_images), strict=True))
    return prepare_drawn(folder, CATEGORIES, images_in, draw, seed)


class _Curve(NamedTuple):
    """Centre line of a worm in P points: (x, y) (P, 2), direction in radians (P,), radius (P,)."""

    points: np.ndarray
    headings: np.ndarray
    radii: np.ndarray


def _lay_worms(number: int, settings: WormSettings, rng: np.random.Generator) -> np.ndarray | None:
    """Masks (number, H, W) of worms laid one after the other; None if there is no place for one."""
    curves: list[_Curve] = []
    masks = np.zeros((number, *settings.size), dtype=bool)
    for index in range(number):
        crowded = index > 0 and rng.random() < settings.crowding
        for _ in range(_TRIES):
            neighbour = int(rng.integers(index)) if crowded else None
            beside = None if neighbour is None else curves[neighbour]
            curve = _place(_random_curve(settings, rng), beside, settings, rng)
            if not _lies_inside(curve, settings):
                continue
            masks[index] = paint_curve(curve.points, curve.radii, settings.size)
            touched = (masks[:index] & _grown(masks[index])).any(axis=(1, 2))
            well_laid = not touched.any() if neighbour is None else touched[neighbour]
            if well_laid and _can_be_told_apart(masks[: index + 1], settings.overlap):
                curves.append(curve)
                break
        else:
            return None
    return masks


def _random_curve(settings: WormSettings, rng: np.random.Generator) -> _Curve:
    """A smoothly bent worm that begins at the origin, its ends tapered to less than half."""
    length = rng.uniform(*settings.length)
    along = np.linspace(0, 1, int(np.ceil(length / _STEP)) + 1)
    waves = np.arange(1, 4)
    bends = rng.normal(scale=0.7 / waves)
    phases = rng.uniform(0, 2 * np.pi, size=3)
    headings = np.sin(np.pi * waves * along[:, None] + phases) @ bends
    directions = np.stack([np.cos(headings), np.sin(headings)], axis=1)
    points = np.cumsum(directions, axis=0) * length / (len(along) - 1)
    to_end = np.minimum(along, 1 - along)
    taper = 0.4 + 0.6 * np.sin(np.pi / 2 * np.minimum(1, to_end / 0.25))
    return _Curve(points, headings, rng.uniform(*settings.width) / 2 * taper)


def _place(
    curve: _Curve, neighbour: _Curve | None, settings: WormSettings, rng: np.random.Generator
) -> _Curve:
    """Turn and move a worm to a random place, or so that it crosses or touches a neighbour."""
    anchor = _middle_point(curve, rng)
    if neighbour is None:
        position = rng.uniform(0, 1, size=2) * settings.size[::-1]
        heading = rng.uniform(0, 2 * np.pi)
    else:
        there = _middle_point(neighbour, rng)
        position, heading = neighbour.points[there], neighbour.headings[there]
        side = rng.choice([-1, 1])
        if rng.random() < settings.crossing:  # at 40 to 140 degrees
            heading = heading + side * rng.uniform(np.radians(40), np.radians(140))
        else:  # beside, within 10 degrees of parallel
            normal = np.array([-np.sin(heading), np.cos(heading)])
            nearness = rng.uniform(max(0.8, 1 - settings.overlap), 1)
            distance = nearness * (neighbour.radii[there] + curve.radii[anchor])
            position = position + side * distance * normal
            heading = heading + rng.uniform(-np.radians(10), np.radians(10))
    turn = heading - curve.headings[anchor]
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = (curve.points - curve.points[anchor]) @ rotation + position
    return _Curve(points, curve.headings + turn, curve.radii)


def _middle_point(curve: _Curve, rng: np.random.Generator) -> int:
    """Index of a random point of the middle three fifths of a centre line."""
    return int(rng.uniform(0.2, 0.8) * len(curve.points))


def paint_curve(points: np.ndarray, radii: np.ndarray, size: Size) -> np.ndarray:
    """Pixels whose centre lies within the local radius of a centre line.

    Args:
        points: (P, 2) float, (x, y) in pixels, about half a pixel apart.
        radii: (P,) float, in pixels.
        size: height and width of the image; what lies outside of it is cut off.

    Returns: (H, W) bool.
    """
    reach = int(np.ceil(radii.max())) + 1
    window = np.arange(-reach, reach + 1)
    columns, rows = (np.floor(points).astype(int)[:, :, None] + window).swapaxes(0, 1)
    dx = columns + 0.5 - points[:, :1]
    dy = rows + 0.5 - points[:, 1:]
    within = dx[:, None, :] ** 2 + dy[:, :, None] ** 2 <= radii[:, None, None] ** 2
    inside_rows = (rows >= 0) & (rows < size[0])
    inside_columns = (columns >= 0) & (columns < size[1])
    which, row, column = np.nonzero(within & inside_rows[:, :, None] & inside_columns[:, None, :])
    mask = np.zeros(size, dtype=bool)
    mask[rows[which, row], columns[which, column]] = True
    return mask


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) grown by one pixel to all eight sides."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def _lies_inside(curve: _Curve, settings: WormSettings) -> bool:
    """Whether nearly all of a worm lies inside the image in its full width."""
    margin = curve.radii[:, None]
    inside = (curve.points >= margin) & (curve.points <= settings.size[::-1] - margin)
    return inside.all(axis=1).mean() >= _INSIDE


def _can_be_told_apart(masks: np.ndarray, overlap: float) -> bool:
    """Whether each mask of (N, H, W) has enough own pixels, and no pixel has too many masks."""
    covering = masks.sum(axis=0)
    areas = masks.sum(axis=(1, 2))
    own = (masks & (covering == 1)).sum(axis=(1, 2))
    enough = own >= np.maximum(MIN_OWN_PIXELS, (1 - overlap) * areas)
    return covering.max() <= MAX_SHARING and bool(enough.all())
