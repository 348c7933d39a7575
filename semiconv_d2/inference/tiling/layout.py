"""Where the tiles of an image lie, and at which scale a model sees them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

import numpy as np
from detectron2.data import transforms

from ...data.coco.describing import InputScale
from ...data.images import Size
from ...errors import ConfigError
from ..options import AUTO

logger = logging.getLogger(__name__)

MOST_SHRUNK = 1.5
"""An image may be so many times smaller than at the scale of the training images."""

NEAR = 4
"""A seam cuts a detection whose box ends at most so many pixels away from it."""

_SURROUNDED = 1.5  # overlap, in lengths of an instance: it is whole in a tile, with surroundings
_USUAL_OVERLAP = 0.25  # share of a tile, if the length of the instances is not known


class Tile(NamedTuple):
    """A part of an image, in its pixels; `bottom` and `right` lie behind the last pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class TrainedScale(NamedTuple):
    """The scale at which a model saw the images that it was trained with."""

    factor: float | None = None
    """Pixels of the model's input for a pixel of an image; None if that is not known."""
    side: int = 0
    """Longer side of a training image, in its pixels; 0 if that is not known."""
    length: int = 0
    """Most instances are not longer, in pixels of their images; 0 if that is not known."""

    @classmethod
    def of(cls, keys: Mapping) -> TrainedScale:
        """What a config knows about it.

        Args:
            keys: those under INPUT, with MIN_SIZE_TEST and MAX_SIZE_TEST.
        """
        scale = InputScale(keys["MIN_SIZE_TEST"], keys["MAX_SIZE_TEST"])
        size = tuple(keys.get("TRAINED_SIZE", (0, 0)))
        known = min(size) > 0
        return cls(
            scale.factor(size) if known or scale.min_size <= 0 else None,
            max(size) if known else 0,
            keys.get("TRAINED_LENGTH", 0),
        )


UNKNOWN = TrainedScale()
"""The scale of a model that does not say how large its training images were."""


class Tiling(NamedTuple):
    """How large images are cut into tiles."""

    size: int
    """Greatest height and width of a tile, in pixels of the image."""
    overlap: int
    """Pixels that two tiles beside each other share, at least."""
    factor: float
    """Every tile is resized by it for the model."""

    @classmethod
    def choose(
        cls,
        tile: int | str,
        overlap: int | None = None,
        factor: float | None = None,
        trained: TrainedScale = UNKNOWN,
    ) -> Tiling:
        """
        Args:
            tile: pixels, or `AUTO`.
            overlap: pixels. None: one and a half times the length of most training instances at
                this factor, but at most half of a tile; a quarter of it if that length is not
                known. A warning is logged if such instances are longer than the overlap.
            factor: None: the one of training.

        Raises:
            ConfigError: a number is not valid, or it is needed and not known.
        """
        factor = trained.factor if factor is None else factor
        if factor is None:
            raise ConfigError(
                "The model does not say how large its training images were, so the scale of tiles "
                "is not known: give the factor that enlarges images for the model by --scale-factor"
                " (scale_factor=), or the size of the training images by INPUT.TRAINED_SIZE."
            )
        if not isinstance(factor, Real) or not 0 < factor < 100:
            raise ConfigError(f"The scale factor is {factor!r}; it must be above 0 and below 100.")
        if tile == AUTO and not trained.side:
            raise ConfigError(
                "The model does not say how large its training images were: give the size of a "
                "tile in pixels, such as --tile 1024."
            )
        size = trained.side if tile == AUTO else tile
        if not _is_whole(size) or size < 2:
            raise ConfigError(
                f"The size of a tile is {size!r}; it must be a number of pixels from 2 on, or "
                f"{AUTO!r}."
            )
        length = trained.length * ((trained.factor or factor) / factor)
        if overlap is None:
            wanted = _SURROUNDED * length or _USUAL_OVERLAP * size
            overlap = min(round(wanted), size // 2)
        if not _is_whole(overlap) or not 0 <= overlap <= size // 2:
            raise ConfigError(
                f"The overlap of tiles is {overlap!r}; it must be from 0 to {size // 2} pixels, "
                f"half of a tile of {size}."
            )
        if overlap < length:
            logger.warning(
                "Tiles of %d pixels share %d, but objects are up to %.0f long: parts of one may "
                "be lost, and touching ones may be joined. Take --tile %.0f (tile=) or more, and "
                "the default overlap.",
                size,
                overlap,
                length,
                2 * _SURROUNDED * length,
            )
        return cls(int(size), int(overlap), float(factor))

    def tiles(self, size: Size) -> list[Tile]:
        """The tiles of an image of a height and width, row by row.

        They cover it, and lie evenly: two beside each other share at least `overlap` pixels.
        """
        (tops, height), (lefts, width) = (self._along(length) for length in size)
        return [Tile(t, left, t + height, left + width) for t in tops for left in lefts]

    def _along(self, length: int) -> tuple[list[int], int]:
        """Where tiles start along one axis, and their length."""
        if length <= self.size:
            return [0], length
        count = -(-(length - self.overlap) // (self.size - self.overlap))
        starts = np.linspace(0, length - self.size, count).astype(int)  # rounded down
        return starts.tolist(), self.size


class ResizeByFactor(transforms.Augmentation):
    """Resizes every image by the same factor, whatever its size."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def get_transform(self, image: np.ndarray) -> transforms.Transform:
        height, width = image.shape[:2]
        new = (max(1, int(side * self.factor + 0.5)) for side in (height, width))
        return transforms.ResizeTransform(height, width, *new)


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
