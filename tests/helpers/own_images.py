"""Five images of somebody's own, with label images and with mask files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from semiconv_d2.data.formats.mask_folders import labels_data, masks_data
from semiconv_d2.data.formats.own import OwnData

LABELS = {
    "one": np.pad([[1, 1, 0, 9, 9], [1, 0, 9, 9, 9]], 3),
    "two": np.pad([[300, 300], [0, 2]], ((1, 5), (4, 2))),
    "three": np.zeros((5, 9), dtype=int),
    "four": np.pad([[4]], 3),
    "five": np.pad([[5, 6]], 2),
}


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def make_root(folder: Path) -> Path:
    """Five images, with label images in one folder and mask files in another; the worms of "one"
    overlap in the mask files."""
    root = folder / "mine"
    (root / "masks").mkdir(parents=True)
    for name, labels in LABELS.items():
        save(root / "images" / f"{name}.jpg", np.full((*labels.shape, 3), 100, dtype=np.uint8))
        save(root / "labels" / f"{name}.png", labels.astype(np.uint16))
        values = sorted({*labels.ravel().tolist()} - {0})
        if not values:
            (root / "masks" / name).mkdir()
        for number, value in enumerate(values):
            save(root / "masks" / f"{name}_{number}.png", (labels == value).astype(np.uint8) * 255)
    overlapping = np.isin(LABELS["one"], (1, 9))
    save(root / "masks" / "one_1.png", overlapping)
    return root


def labelled(root: Path, **options: object) -> OwnData:
    return labels_data(root / "images", root / "labels", **options)


def masked(root: Path, **options: object) -> OwnData:
    return masks_data(root / "images", root / "masks", **options)
