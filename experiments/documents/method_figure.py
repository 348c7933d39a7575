"""The picture of the method: one real instance from the image to its mask, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semiconv_d2 import Predictor
from semiconv_d2.inference.explanation import Explanation
from semiconv_d2.inference.images import read_rgb
from semiconv_d2.visualization.embedding import principal_axes
from semiconv_d2.visualization.figures import save
from semiconv_d2.visualization.masks import outline, paint_masks
from semiconv_d2.visualization.regions import (
    InstanceView,
    mark_seed,
    outline_box,
    region_scales,
    show_grid,
    square_around,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (
    ("a region", "Mask R-CNN finds a box."),
    ("embedding Ψ", "Every pixel votes\nfor a place (arrows)."),
    ("seed", "Pixels that are surely\ninside choose the seed."),
    ("share of each pixel", "How close is its vote to\nthis seed, and to others?"),
    ("mask", "The share rescores\nthe mask's logits."),
)
"""The title of each panel, and the text below it."""

WELL = 0.75
"""Smallest score of an instance for the picture."""

COLOUR = np.array([0.90, 0.62, 0.0])  # orange of Okabe and Ito
_WIDE, _HIGH, _GAP = 1.9, 1.9, 0.3  # inches: width and height of a panel, and gap between two
_ABOVE, _BELOW = 0.32, 0.55
_ARROWS = 24


def draw_method_of(config: str, weights: Path, image: Path, path: Path) -> None:
    """Draws the instance of an image whose box contains most pixels of other instances.

    Args:
        config: config of the model.
    """
    predictor = Predictor.load(config, weights=weights, score_threshold=0.5)
    pixels = read_rgb(image, predictor.reading)
    explanation = predictor.explain(pixels)
    save(draw_method(pixels, explanation, most_crowded(explanation)), path, 2)


def most_crowded(explanation: Explanation) -> int:
    """Among the instances with a high score, the one with most pixels of others in its box,
    relative to its own."""
    masks = explanation.instances.pred_masks.numpy()
    scores = explanation.instances.scores.numpy()

    def others(index: int) -> float:
        x0, y0, x1, y1 = explanation.views[index].box.round().astype(int)
        inside = masks[:, max(y0, 0) : y1, max(x0, 0) : x1]
        elsewhere = np.delete(inside, index, axis=0).any(axis=0) & ~inside[index]
        return elsewhere.sum() / max(inside[index].sum(), 1)

    well = [index for index, score in enumerate(scores) if score >= WELL] or range(len(masks))
    return max(well, key=others)


def draw_method(image: np.ndarray, explanation: Explanation, index: int) -> Figure:
    """Draws a row of panels with arrows between them.

    Args:
        image: (H, W, 3) uint8, RGB.
        index: index of the instance.
    """
    from matplotlib.figure import Figure

    view = explanation.views[index]
    count = len(STEPS)
    width = count * _WIDE + (count - 1) * _GAP + 0.1
    height = _ABOVE + _HIGH + _BELOW
    figure = Figure(figsize=(width, height))
    left, top, side = square_around(view.box)
    panels = [
        figure.add_axes(
            (
                (0.05 + k * (_WIDE + _GAP)) / width,
                _BELOW / height,
                _WIDE / width,
                _HIGH / height,
            )
        )
        for k in range(count)
    ]
    region, embedding, seed, share, mask = panels
    region.imshow(image)
    outline_box(region, view.box)
    _show_embedding(embedding, explanation, view)
    scales = region_scales([view])
    for ax, column in ((seed, "seed"), (share, "kernel")):
        show_grid(ax, view, column, scales)
        mark_seed(ax, view.seed)
    mask.imshow(paint_masks(image, view.mask[None], COLOUR[None], 0.65))
    outline(mask, view.mask, [("black", 2.2), (COLOUR, 1.2)])
    for ax, (title, words) in zip(panels, STEPS, strict=True):
        ax.set(xticks=[], yticks=[], facecolor="0.9")
        ax.set(xlim=(left, left + side), ylim=(top + side, top))
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(words, fontsize=8.5)
    for k in range(1, count):
        x = (0.05 + k * (_WIDE + _GAP) - _GAP / 2) / width
        y = (_BELOW + _HIGH / 2) / height
        figure.text(x, y, "→", fontsize=16, ha="center", va="center")
    return figure


def _show_embedding(ax, explanation: Explanation, view: InstanceView) -> None:
    """Draws the pixels of instances as colours, and arrows from some pixels of this instance to
    their votes."""
    masks = explanation.instances.pred_masks
    covered = masks.any(dim=0)
    x0, y0, x1, y1 = view.box.clip(0).round().astype(int)
    axes = principal_axes([explanation.embedding[:, y0:y1, x0:x1][:, covered[y0:y1, x0:x1]]])
    colours = axes.colours(explanation.embedding).numpy()
    ax.imshow(np.where(covered.numpy()[..., None], colours, 1.0), interpolation="nearest")
    if explanation.votes is None:
        return
    ys, xs = np.nonzero(view.mask)
    chosen = np.linspace(0, len(ys) - 1, min(_ARROWS, len(ys))).astype(int)
    ys, xs = ys[chosen], xs[chosen]
    votes = explanation.votes.numpy()[:, ys, xs]
    ax.quiver(
        *(xs, ys, votes[0] - xs, votes[1] - ys),
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.008,
        color="black",
    )
