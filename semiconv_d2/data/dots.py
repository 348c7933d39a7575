"""Images of identical dots in a regular grid, drawn from a random generator.

Every dot is a copy of every other one, pixel for pixel. On a constant background the surroundings
repeat too, up to the ends of the grid: which dot a pixel belongs to has to be told from its
position.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semiconv_d2.data.files import DatasetError
from semiconv_d2.data.prepared import Summary, datasets_root, prepare_drawn

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
    """Of a dot."""
    spacing: int = 20
    """From the centre of a dot to that of the next one in its row or column."""
    margin: int = 10
    """From the outermost dots to the border of the image, at least."""
    offset: int = 10
    """How far the grid is moved at random out of the middle of the image, at most, up or down and
    to the left or right. With 0 all grids of as many rows and columns are in the same place."""
    size: tuple[int, int] | None = None
    """Height and width of the image; by default what the largest grid needs."""
    background: str = "black"
    """One of `BACKGROUNDS`."""
    noise: float = 20.0
    """Standard deviation in grey levels of the background "noise", which is white noise around
    grey. It stays darker than the dots everywhere."""

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise DatasetError(
                    f"{name} must be a range (1 <= smallest <= largest): {(low, high)}"
                )
        for name, smallest in (("radius", 1), ("margin", 0), ("offset", 0)):
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
    def image_size(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self._needed_size() if self.size is None else self.size

    def grid_length(self, dots: int) -> int:
        """Pixels from the near side of the first to the far side of the last of dots in a line."""
        return (dots - 1) * self.spacing + 2 * self.radius

    def _needed_size(self) -> tuple[int, int]:
        around = 2 * (self.margin + self.offset)
        return (
            self.grid_length(self.rows[1]) + around,
            self.grid_length(self.columns[1]) + around,
        )


def draw_dots(settings: DotSettings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image; the same generator state gives the same image.

    Returns:
        image: (H, W) uint8, 255 where there is a dot and darker elsewhere.
        masks: (N, H, W) bool, one for each dot, row by row.
    """
    size = settings.image_size
    low, high = zip(settings.rows, settings.columns, strict=True)
    grid = rng.integers(low, high, endpoint=True)  # rows and columns
    shift = rng.integers(-settings.offset, settings.offset, size=2, endpoint=True)
    first_row, first_column = (
        (length - settings.grid_length(dots)) // 2 + moved
        for length, dots, moved in zip(size, grid, shift, strict=True)
    )
    stamp = draw_stamp(settings.radius)
    masks = np.zeros((*grid, *size), dtype=bool)
    for row, column in np.ndindex(*grid):
        top = first_row + row * settings.spacing
        left = first_column + column * settings.spacing
        masks[row, column, top : top + len(stamp), left : left + len(stamp)] = stamp
    masks = masks.reshape(-1, *size)
    return np.where(masks.any(axis=0), np.uint8(DOT), _background(settings, rng)), masks


def draw_stamp(radius: int) -> np.ndarray:
    """Pixels of a dot, (2 radius, 2 radius) bool: those whose centre lies within the radius of the
    middle of the square."""
    from_middle = np.arange(2 * radius) + 0.5 - radius
    return from_middle[:, None] ** 2 + from_middle**2 <= radius**2


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
    """Draw images and write them with their COCO JSON.

    An image depends on the settings, the seed, its split and its number in it alone: asking for
    more images leaves the first ones as they were.

    Args:
        output: folder to write; by default the one that Detectron2's registered names read.
        settings: by default `DotSettings()`.

    Raises:
        DatasetError: the seed is negative, or a split would be empty.
    """
    settings = settings or DotSettings()
    return prepare_drawn(
        output or datasets_root() / FOLDER,
        CATEGORIES,
        dict(zip(SPLITS, (train_images, val_images), strict=True)),
        lambda rng: draw_dots(settings, rng),
        seed,
    )
