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
    ("image", "Mask R-CNN finds boxes."),
    ("region", "One box holds parts\nof two worms."),
    ("embedding", "Every pixel votes for\na place (arrows)."),
    ("seed", "Pixels that are surely\ninside choose the seed."),
    ("share", "Is a pixel's vote closer to\nthis seed or to another?"),
    ("mask", "The share rescores\nthe mask's logits."),
)
"""The title of each panel, and the text below it."""

WELL = 0.75
"""Smallest score of an instance for the picture."""

COLOUR = np.array([0.90, 0.62, 0.0])  # orange of Okabe and Ito
_COLUMNS = 3
_SIDE, _GAP = 1.95, 0.12  # inches: side of a panel, and gap between two
_ABOVE, _BELOW = 0.34, 0.5
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
    """Draws numbered panels in two rows.

    Args:
        image: (H, W, 3) uint8, RGB.
        index: index of the instance.
    """
    from matplotlib.figure import Figure

    view = explanation.views[index]
    across, down = _SIDE + _GAP, _ABOVE + _SIDE + _BELOW
    width, height = _COLUMNS * across, len(STEPS) / _COLUMNS * down
    figure = Figure(figsize=(width, height))
    panels = []
    for number in range(len(STEPS)):
        row, column = divmod(number, _COLUMNS)
        corner = column * across + _GAP / 2, height - (row + 1) * down + _BELOW
        share = corner[0] / width, corner[1] / height, _SIDE / width, _SIDE / height
        panels.append(figure.add_axes(share))
    whole, region, embedding, seed, share, mask = panels
    for ax in (whole, region):
        ax.imshow(image)
        outline_box(ax, view.box)
    _show_embedding(embedding, explanation, view)
    scales = region_scales([view])
    for ax, column in ((seed, "seed"), (share, "kernel")):
        show_grid(ax, view, column, scales)
        mark_seed(ax, view.seed)
    mask.imshow(paint_masks(image, view.mask[None], COLOUR[None], 0.65))
    outline(mask, view.mask, [("black", 2.2), (COLOUR, 1.2)])
    for number, (ax, (title, words)) in enumerate(zip(panels, STEPS, strict=True), 1):
        box = (0, 0, image.shape[1], image.shape[0]) if ax is whole else view.box
        left, top, side = square_around(box, margin=0) if ax is whole else square_around(box)
        ax.set(xticks=[], yticks=[], facecolor="0.9")
        ax.set(xlim=(left, left + side), ylim=(top + side, top))
        ax.set_title(f"{number}. {title}", fontsize=11.5)
        ax.set_xlabel(words, fontsize=10)
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
