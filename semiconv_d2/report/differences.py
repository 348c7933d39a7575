"""Writes pictures of the images in which two models differ most."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ..errors import DatasetError, MeasureError
from ..evaluation import Detections
from ..visualization.comparison import draw_differences, window_of_changes
from ..visualization.figures import save
from .gallery import choose_images, read_pixels

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def save_differences(
    by_model: Mapping[str, Detections],
    root: str | Path | None,
    folder: Path,
    most: int = 12,
    ending: str = ".png",
    close_up: bool = False,
) -> tuple[list[Path], list[str]]:
    """Draws the ground truth, the masks of both models, and the changes between them.

    Half of the pictures show the largest gains, half the largest losses. File names have a number,
    from the largest gain on, and the name of the image.

    Args:
        by_model: detections of two models by the name of the model, with masks, for the same ground
            truth.
        root: folder of the images; None: not known.
        folder: folder to write to.
        most: largest number of pictures.
        ending: ending of the files: ".png", ".svg", ".pdf", ….
        close_up: whether to show only the part of an image whose instances change.

    Returns:
        The files, and a line for each image that could not be read.

    Raises:
        MeasureError: a model has only boxes.
    """
    for name, detections in by_model.items():
        if not detections.has_masks:
            raise MeasureError(f"{name} has no masks: there is nothing to draw.")
    truth = next(iter(by_model.values())).truth
    shown, changes, chosen = choose_images(by_model, most)
    chosen.sort(key=lambda i: -changes[i])
    ids = sorted(truth.imgs)
    files, problems = [], []
    for number, index in enumerate(tqdm(chosen, desc="pictures", unit="image", file=sys.stderr), 1):
        image = truth.imgs[ids[index]]
        try:
            pixels = read_pixels(image, root)
        except DatasetError as error:
            problems.append(str(error))
            continue
        single = [a for a in truth.imgToAnns.get(image["id"], []) if not a.get("iscrowd", 0)]
        instances = _masks(truth, image, single)
        masks = [_masks(truth, image, found[index].results) for found in shown]
        a, b = (found[index] for found in shown)
        window = window_of_changes(instances, b.iou - a.iou) if close_up else None
        owners = a.owner, b.owner
        figure = draw_differences(pixels, instances, *masks, tuple(by_model), window, owners)
        name = f"{number:0{len(str(len(chosen)))}d}_{changes[index]:+.2f}"
        files.append(folder / f"{name}_{Path(image['file_name']).stem}{ending}")
        save(figure, files[-1])
    return files, problems


def _masks(truth: COCO, image: dict, things: list[dict]) -> np.ndarray:
    """The masks of N annotations or results, (N, H, W) boolean."""
    masks = [truth.annToMask(thing) > 0 for thing in things]
    return np.array(masks, dtype=bool).reshape(len(masks), image["height"], image["width"])
