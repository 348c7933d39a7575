"""Figures on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..writing import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100  # of figures at scale 1

_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def save(figure: Figure, path: Path | str, scale: float = 2) -> None:
    """Writes a figure in the format of the path's ending, and the folders on the way.

    Args:
        path: .svg and .pdf become vectors, everything else pixels.
        scale: of the pixels; 1 is 100 for an inch.
    """
    from matplotlib import rc_context

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.lower()
    same = rc_context({"svg.hashsalt": "semiconv_d2"})  # the same picture is the same file
    with same, write_whole(path, "wb") as file:
        figure.savefig(file, format=kind[1:], dpi=DPI * scale, metadata=_UNDATED.get(kind))


def plain(text: str) -> str:
    """A text as Matplotlib draws it letter by letter: a pair of dollar signs is no formula."""
    return text.replace("$", r"\$")


def pixels(figure: Figure, scale: float = 1) -> np.ndarray:
    """What `save` would write, (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI * scale)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
