"""Small images and files as annotation tools write them, and what was read of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 20, 40


def save(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def boxes(instances: list[tuple[np.ndarray, str]]) -> list[tuple[str, list[int]]]:
    """Category and (left, top, right, bottom) of each instance, and that it is filled."""
    found = []
    for mask, name in instances:
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append((name, [int(value) for value in box]))
    return found
