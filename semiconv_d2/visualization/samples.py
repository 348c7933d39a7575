"""Draws an image of a dataset beside the same image with its masks, for a person to compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .masks import paint_masks

_MARGIN = 4  # pixels around texts and between pictures
_SQUARE = 10  # pixels of a square in the legend
_IN_LINE = 8  # squares per line of the legend
_LINE = 16  # height of a line in pixels


def draw_sample(
    image: np.ndarray,
    masks: np.ndarray,
    colours: np.ndarray,
    names: Sequence[str],
    caption: str,
) -> np.ndarray:
    """Draws the image, the image with its masks, a legend beside them, and a line of text below.

    Args:
        image: (H, W, 3) uint8.
        masks: (N, H, W) boolean.
        colours: (N, 3) in [0, 1].
        names: names of the N instances. The legend has each name once, with a square in the colour
            of each instance of this name.
        caption: the line of text.

    Returns:
        (H', W', 3) uint8.
    """
    painted = np.round(255 * paint_masks(image, masks, colours, opacity=0.6)).astype(np.uint8)
    gap = np.full((len(image), _MARGIN, 3), 128, dtype=np.uint8)
    pictures = np.concatenate([image, gap, painted], axis=1)
    by_name = {name: colours[[n == name for n in names]] for name in dict.fromkeys(names)}
    legend = _draw_legend(by_name)
    below = _draw_text(caption)
    height = max(len(pictures), len(legend))
    width = pictures.shape[1] + legend.shape[1]
    whole = np.full((height + len(below), max(width, below.shape[1]), 3), 255, dtype=np.uint8)
    whole[: len(pictures), : pictures.shape[1]] = pictures
    whole[: len(legend), pictures.shape[1] : width] = legend
    whole[height:, : below.shape[1]] = below
    return whole


def _draw_legend(by_name: dict[str, np.ndarray]) -> np.ndarray:
    """Draws each name and lines of squares below it, (H, W, 3) uint8.

    Args:
        by_name: colours of the instances of each name, (·, 3).
    """
    blocks = []
    for name, colours in by_name.items():
        blocks.append(_draw_text(name))
        for start in range(0, len(colours), _IN_LINE):
            line = np.full((_LINE, _MARGIN, 3), 255, dtype=np.uint8)
            for colour in colours[start : start + _IN_LINE]:
                square = np.full((_LINE, _SQUARE + _MARGIN, 3), 255, dtype=np.uint8)
                square[:_SQUARE, :_SQUARE] = np.round(255 * colour)
                line = np.concatenate([line, square], axis=1)
            blocks.append(line)
    height, width = sum(map(len, blocks)), max((b.shape[1] for b in blocks), default=0)
    legend = np.full((height, width, 3), 255, dtype=np.uint8)
    top = 0
    for block in blocks:
        legend[top : top + len(block), : block.shape[1]] = block
        top += len(block)
    return legend


def _draw_text(text: str) -> np.ndarray:
    """A text in black on white, (H, W, 3) uint8; a character that is not ASCII becomes a question
    mark."""
    from PIL import Image, ImageDraw

    text = text.encode("ascii", "replace").decode("ascii")
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    right = int(np.ceil(draw.textbbox((_MARGIN, 0), text)[2])) + _MARGIN
    picture = Image.new("RGB", (right, _LINE), "white")
    ImageDraw.Draw(picture).text((_MARGIN, 1), text, fill="black")
    return np.asarray(picture)
