"""Writes Matplotlib figures to files or pixels."""

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
    """Writes a figure in the format of the path's ending; creates missing folders.

    Args:
        path: .svg and .pdf become vector graphics, all other formats pixels.
        scale: resolution of the pixels; 1 is 100 pixels per inch.
    """
    from matplotlib import rc_context

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.lower()
    same = rc_context({"svg.hashsalt": "semiconv_d2"})  # the same picture gives the same file
    with same, write_whole(path, "wb") as file:
        figure.savefig(file, format=kind[1:], dpi=DPI * scale, metadata=_UNDATED.get(kind))


def plain(text: str) -> str:
    """Escapes a text for Matplotlib, so that text between two dollar signs is not a formula."""
    return text.replace("$", r"\$")


def pixels(figure: Figure, scale: float = 1) -> np.ndarray:
    """The pixels that `save` would write, (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI * scale)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
