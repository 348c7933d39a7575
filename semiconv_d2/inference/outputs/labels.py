"""Label images: each pixel has the number of one instance, or 0."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...writing import write_whole
from ..detections import Detections

logger = logging.getLogger(__name__)

_MOST_LABELS = 2**16 - 1  # instances in 16 bits, without the background


def label_instances(detections: Detections) -> np.ndarray:
    """The label image, (H, W): 0 is the background; 1, 2, … are the instances by falling score.

    Where masks overlap, the pixel gets the instance with the higher score. The type is uint16, or
    uint32 if there are more than 65,535 instances.

    Raises:
        ConfigError: the instances have no masks.
    """
    masks = _masks(detections)
    labels = np.zeros(detections.size, dtype=_type(len(masks)))
    for number in range(len(masks), 0, -1):
        labels[masks[number - 1].slices][masks[number - 1].pixels] = number
    return labels


def label_layers(detections: Detections) -> np.ndarray:
    """Label images that together have all pixels of all instances, (L, H, W), at least one.

    An instance lies in the first layer where it overlaps no instance of a higher score, under the
    number that it has in `label_instances`.

    Raises:
        ConfigError: the instances have no masks.
    """
    masks = _masks(detections)
    layers = [np.zeros(detections.size, dtype=_type(len(masks)))]
    for number, mask in enumerate(masks, start=1):
        free = (n for n, layer in enumerate(layers) if not layer[mask.slices][mask.pixels].any())
        place = next(free, len(layers))
        if place == len(layers):
            layers.append(np.zeros_like(layers[0]))
        layers[place][mask.slices][mask.pixels] = number
    return np.stack(layers)


def write_png(detections: Detections, path: Path, classes: Sequence[str] = ()) -> None:
    """Writes the label image as a PNG of 16 bits. If there are more than 65,535 instances, a TIFF
    of 32 bits is written beside it instead, and a warning says so."""
    from PIL import Image

    labels = label_instances(detections)
    if labels.dtype != np.uint16:
        path = path.with_suffix(".tif")
        logger.warning(
            "%s has 32 bits: %d instances are more than a PNG of 16 bits can number.",
            path,
            len(detections),
        )
        return _write(labels, path)
    with write_whole(path, "wb") as file:
        Image.fromarray(labels).save(file, "PNG")
    return None


def write_tiff(detections: Detections, path: Path, classes: Sequence[str] = ()) -> None:
    """Writes the label image as a TIFF of 16 bits, or of 32 bits for more than 65,535 instances."""
    _write(label_instances(detections), path)


def write_layers(detections: Detections, path: Path, classes: Sequence[str] = ()) -> None:
    """Writes `label_layers` as a TIFF with a page for each layer."""
    _write(label_layers(detections), path)


def _write(labels: np.ndarray, path: Path) -> None:
    import tifffile

    with write_whole(path, "wb") as file:
        tifffile.imwrite(file, labels, photometric="minisblack", compression="zlib")


def _masks(detections: Detections):
    if detections.masks is None:
        raise ConfigError(
            "--labels needs masks, but this model finds boxes only: there is no label image."
        )
    return detections.masks


def _type(count: int) -> type[np.unsignedinteger]:
    return np.uint16 if count <= _MOST_LABELS else np.uint32
