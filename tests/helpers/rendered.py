"""What a figure that has been drawn shows."""

from __future__ import annotations

import numpy as np


def seen(figure, ax, x: float, y: float) -> np.ndarray:
    """The colour at a point of the data, (3,) in [0, 1]."""
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    column, row = ax.transData.transform((x, y))
    return pixels[len(pixels) - 1 - int(row), int(column)]
