"""The formats that have one file for each image, and what each needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...errors import ConfigError
from ..detections import Detections
from ..sources import Source
from .geojson import write_geojson
from .labels import write_layers, write_png, write_tiff
from .rois import write_rois


class ImageFormat(NamedTuple):
    """A format of one file for each image."""

    ending: str
    """What the file's name has after that of the image."""
    write: Callable[[Detections, Path, Sequence[str]], None]
    """Takes the detections of an image, the path, and the names of the model's classes."""
    needs: tuple[str, ...] = ()
    """Packages that it needs beside those of the demo."""


IMAGE_FORMATS = {
    "labels": ImageFormat("_labels.png", write_png),
    "labels-tif": ImageFormat("_labels.tif", write_tiff, ("tifffile",)),
    "layers": ImageFormat("_labels.tif", write_layers, ("tifffile",)),
    "rois": ImageFormat("_rois.zip", write_rois, ("roifile", "shapely")),
    "geojson": ImageFormat(".geojson", write_geojson, ("shapely",)),
}


class ImageWriter(NamedTuple):
    """Writes one format into a folder."""

    folder: Path
    format: ImageFormat

    def write(self, detections: Detections, stem: str, classes: Sequence[str]) -> None:
        """Writes the file of one image.

        Args:
            stem: the name of the image, without its ending.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.format.write(detections, self.folder / (stem + self.format.ending), classes)


def check_images(sources: Iterable[Source], option: str) -> None:
    """Raises `ConfigError` if a source is not an image.

    Args:
        option: what writes a file for each image; the message begins with it.
    """
    moving = next((s.name for s in sources if s.moving), None)
    if moving:
        raise ConfigError(f"{option}: {moving} is no image; only images have such files.")


def check_packages(packages: Iterable[str], option: str) -> None:
    """Raises `ConfigError` if a package is missing that an option needs."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise ConfigError(f"{option} needs {names}: install with pip install {names}")
