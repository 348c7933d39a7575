"""Label images: a number for each instance, one owner for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.structures import Instances

from ..errors import ConfigError
from ..writing import write_whole
from .sources import Source

_MOST_LABELS = 2**16 - 1  # that 16 bits hold beside the background


def check_labels(sources: Sequence[Source]) -> None:
    """Raises `ConfigError` where a source is no image and has no label image."""
    moving = next((s.name for s in sources if s.moving), None)
    if moving:
        raise ConfigError(f"--labels: {moving} is no image; label images are of images alone.")


def label_instances(found: Instances) -> np.ndarray:
    """Numbers of instances by falling score from 1 on, (H, W) uint16; 0 is the background, and of
    masks that overlap the better one has the pixel.

    Raises:
        ConfigError: there are more than 65,535 instances, or boxes alone.
    """
    if not found.has("pred_masks"):
        raise ConfigError("There are no label images of boxes alone: the model finds no masks.")
    if len(found) > _MOST_LABELS:
        raise ConfigError(
            f"An image has {len(found):,} instances, of which a label image of 16 bits holds "
            f"{_MOST_LABELS:,}: raise the score threshold."
        )
    labels = np.zeros(found.image_size, dtype=np.uint16)
    ranking = found.scores.argsort(descending=True, stable=True).tolist()
    for number, index in reversed(list(enumerate(ranking, start=1))):
        labels[found.pred_masks[index].numpy()] = number
    return labels


def write_labels(found: Instances, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path, "wb") as file:
        Image.fromarray(label_instances(found)).save(file, "PNG")
