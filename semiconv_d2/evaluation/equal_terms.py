"""Puts two models on equal terms: changes results as if the model had the same input as another
one, or had no scores either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.images import read_image
from ..errors import DatasetError

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def cut_to_foreground(results: Iterable[Mapping], truth: COCO, root: Path) -> list[dict]:
    """Cuts the masks of results to the foreground, for images that are pictures of the foreground.

    The foreground is all pixels that have at least half the largest possible brightness. Boxes do
    not change.

    Args:
        results: as `read_results` gives them, with masks.
        root: folder of the images.

    Raises:
        DatasetError: an image is missing, broken or of another size, or a result has no mask.
    """
    from pycocotools import mask as mask_util

    foregrounds: dict[int, dict] = {}
    cut = []
    for result in results:
        if "segmentation" not in result:
            raise DatasetError(
                "a result has a box but no mask: only masks can be cut to the foreground"
            )
        number = result["image_id"]
        if number not in foregrounds:
            foregrounds[number] = read_foreground(truth.imgs[number], root)
        mask = mask_util.merge([result["segmentation"], foregrounds[number]], intersect=True)
        cut.append({**result, "segmentation": {**mask, "counts": mask["counts"].decode()}})
    return cut


def read_foreground(image: Mapping, root: Path) -> dict:
    """The foreground of an image, run-length encoded."""
    from pycocotools import mask as mask_util

    path = Path(root, image["file_name"])
    pixels = read_image(path, modes=("L", "1", "RGB", "RGBA"))
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    if pixels.ndim == 3:
        pixels = pixels[..., :3].mean(axis=2)
    size = image["height"], image["width"]
    if pixels.shape != size:
        raise DatasetError(f"{path} has {pixels.shape} pixels, not {size} (height, width)")
    return mask_util.encode(np.asfortranarray(pixels >= 127.5, dtype=np.uint8))


def rank_by_size(results: Iterable[Mapping], score: float) -> list[dict]:
    """Replaces the scores of results by the share of the image that each mask covers.

    `read_results` does the same for masks without scores, so AP ranks both models alike.

    Args:
        results: as `read_results` gives them, with masks.
        score: results with a lower score are left out.

    Raises:
        DatasetError: a result has no mask.
    """
    from pycocotools import mask as mask_util

    kept = [r for r in results if r["score"] >= score]
    if any("segmentation" not in r for r in kept):
        raise DatasetError("a result has a box but no mask: only masks can be ranked by their size")
    masks = [r["segmentation"] for r in kept]
    areas = [mask_util.area(m) / (m["size"][0] * m["size"][1]) for m in masks]
    return [{**r, "score": float(area)} for r, area in zip(kept, areas, strict=True)]
