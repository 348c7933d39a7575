"""Images of identical dots, or bars, in a regular grid, drawn from a random generator.

Every dot is a copy of every other one, pixel for pixel. On a constant background the surroundings
repeat too, up to the ends of the grid. So only its position tells which dot a pixel belongs to.
Rings of further dots, which are no instances, move the ends of the grid out of sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..images import Size
from .prepared import Summary, check_range, datasets_root, prepare_drawn

CATEGORIES = ("dot",)
FOLDER = "dots"
SPLITS = ("train", "val")

BACKGROUNDS = ("black", "grey", "noise")
DOT, GREY, BLACK = 255, 128, 0
"""Grey levels of the dots and of the constant backgrounds."""


@dataclass(frozen=True)
class DotSettings:
    """What the images look like. Lengths are in whole pixels; ranges are (smallest, largest),
    inclusive.

    A setting out of its range raises `DatasetError`, a `ValueError`.
    """

    rows: tuple[int, int] = (5, 7)
    """Number of rows of dots in an image."""
    columns: tuple[int, int] = (5, 7)
    """Number of dots in a row."""
    radius: int = 5
    """Radius of a dot."""
    spacing: int = 20
    """Distance between the centres of two dots in a column; in a row it is `length` more."""
    margin: int = 10
    """Least distance from the outermost dots to the border of the image."""
    offset: int = 10
    """Largest random shift of the grid from the middle of the image, up or down, and to the left or
    right. With 0, all grids of as many rows and columns are in the same place."""
    size: Size | None = None
    """Height and width of the image; by default what the largest grid needs."""
    background: str = "black"
    """One of `BACKGROUNDS`."""
    noise: float = 20.0
    """Standard deviation in grey levels of the background "noise", which is white noise around
    grey. It stays darker than the dots everywhere."""
    length: int = 0
    """How far a dot is stretched along its row, into a bar with round ends."""
    rings: int = 0
    """Rows and columns of dots drawn around the grid, on every side, that are no instances."""

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            check_range(name, getattr(self, name))
        least = {"radius": 1, "length": 0, "rings": 0, "margin": 0, "offset": 0}
        for name, smallest in least.items():
            if not smallest <= getattr(self, name):
                raise DatasetError(f"{name} must be at least {smallest}: {getattr(self, name)}")
        if not self.spacing >= 2 * self.radius + 1:
            raise DatasetError(
                f"spacing must be at least 2 x radius + 1, so that dots do not touch: "
                f"spacing {self.spacing}, radius {self.radius}"
            )
        if self.size is not None and not np.greater_equal(self.size, self._needed_size()).all():
            raise DatasetError(
                f"size must be a height and width of at least {self._needed_size()} pixels for the "
                f"largest grid, margin and offset: {self.size}"
            )
        if self.background not in BACKGROUNDS:
            raise DatasetError(
                f"background must be one of {', '.join(BACKGROUNDS)}: {self.background}"
            )
        if not 0 <= self.noise <= DOT:
            raise DatasetError(f"noise must be a number of grey levels, 0 to {DOT}: {self.noise}")

    @property
    def image_size(self) -> Size:
        """Height and width of every image."""
        return self._needed_size() if self.size is None else self.size

    @property
    def pitch(self) -> np.ndarray:
        """Pixels from one dot to the next, down a column and along a row, (2,)."""
        return np.array([self.spacing, self.spacing + self.length])

    def drawn_size(self, grid: tuple[int, int] | np.ndarray) -> np.ndarray:
        """Height and width, (2,), of rows and columns of dots with the rings around them."""
        gap = self.spacing - 2 * self.radius
        return np.add(grid, 2 * self.rings) * self.pitch - gap

    def _needed_size(self) -> Size:
        largest = self.drawn_size((self.rows[1], self.columns[1]))
        height, width = largest + 2 * (self.margin + self.offset)
        return int(height), int(width)


def draw_dots(settings: DotSettings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image; the same generator state gives the same image.

    Returns:
        image: (H, W) uint8, 255 where there is a dot and darker elsewhere.
        masks: (N, H, W) bool, one for each dot that is not of a ring, row by row.
    """
    size = settings.image_size
    low, high = zip(settings.rows, settings.columns, strict=True)
    grid = rng.integers(low, high, endpoint=True)  # rows and columns
    shift = rng.integers(-settings.offset, settings.offset, size=2, endpoint=True)
    first = (size - settings.drawn_size(grid)) // 2 + shift
    stamp = draw_stamp(settings.radius, settings.length)

    def window(row: int, column: int) -> tuple[slice, slice]:
        top, left = first + settings.pitch * (row, column)
        return slice(top, top + stamp.shape[0]), slice(left, left + stamp.shape[1])

    drawn = np.zeros(size, dtype=bool)
    for row, column in np.ndindex(*(grid + 2 * settings.rings)):
        drawn[window(row, column)] = stamp
    masks = np.zeros((*grid, *size), dtype=bool)
    for row, column in np.ndindex(*grid):
        masks[row, column][window(row + settings.rings, column + settings.rings)] = stamp
    masks = masks.reshape(-1, *size)
    return np.where(drawn, np.uint8(DOT), _background(settings, rng)), masks


def draw_stamp(radius: int, length: int = 0) -> np.ndarray:
    """Pixels of a dot, (2 radius, 2 radius + length) bool: those whose centre lies within the
    radius of a horizontal line of that length in the middle."""
    down = np.arange(2 * radius) + 0.5 - radius
    along = np.arange(2 * radius + length) + 0.5 - radius
    beyond = along - np.clip(along, 0, length)  # an end of the line
    return down[:, None] ** 2 + beyond**2 <= radius**2


def _background(settings: DotSettings, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8."""
    size = settings.image_size
    if settings.background == "noise":
        noise = rng.normal(GREY, settings.noise, size)
        return np.clip(np.rint(noise), 0, DOT - 1).astype(np.uint8)
    return np.full(size, GREY if settings.background == "grey" else BLACK, dtype=np.uint8)


def prepare_dots(
    output: Path | None = None,
    settings: DotSettings | None = None,
    seed: int = 0,
    train_images: int = 1000,
    val_images: int = 60,
) -> Summary:
    """Draw images and write them with their COCO JSON, see `prepare_drawn`.

    Args:
        output: folder to write; by default the one that Detectron2's registered names read.
        settings: by default `DotSettings()`.
    """
    settings = settings or DotSettings()
    folder, draw = output or datasets_root() / FOLDER, partial(draw_dots, settings)
    images_in = dict(zip(SPLITS, (train_images, val_images), strict=True))
    return prepare_drawn(folder, CATEGORIES, images_in, draw, seed)
