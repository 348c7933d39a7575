"""Label images: each pixel has the number of one instance, or 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.structures import Instances

from ...errors import ConfigError
from ...writing import write_whole
from ..sources import Source

_MOST_LABELS = 2**16 - 1  # instances in 16 bits, without the background


def check_labels(sources: Sequence[Source]) -> None:
    """Raises `ConfigError` if a source is not an image: only images have label images."""
    moving = next((s.name for s in sources if s.moving), None)
    if moving:
        raise ConfigError(f"--labels: {moving} is no image; only images have label images.")


def label_instances(found: Instances) -> np.ndarray:
    """The label image, (H, W) uint16: 0 is the background; 1, 2, … are the instances by falling
    score. Where masks overlap, the pixel gets the instance with the higher score.

    Raises:
        ConfigError: there are more than 65,535 instances, or the instances have no masks.
    """
    if not found.has("pred_masks"):
        raise ConfigError(
            "--labels needs masks, but this model finds boxes only: there is no label image."
        )
    if len(found) > _MOST_LABELS:
        raise ConfigError(
            f"An image has {len(found):,} instances, but a label image of 16 bits can hold at most "
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
