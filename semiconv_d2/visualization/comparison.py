"""One image, what two models make of it, and how the second one sees a crowded instance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .masks import instance_colours, match_masks, paint_masks

if TYPE_CHECKING:
    from detectron2.structures import Instances

MIN_SCORE = 0.5


class RegionView(NamedTuple):
    """What a model sees in one region and around it."""

    embedding: np.ndarray
    """Ψ of the finest level as colours, (H, W, 3)."""
    box: np.ndarray
    """x0, y0, x1, y1 of the region, as fractions of the image's width and height."""
    seed_weights: np.ndarray
    """How much each sample point contributes to the seed, (M, M)."""
    kernel: np.ndarray
    """K between each sample point and the seed, (M, M)."""
    mask: np.ndarray
    """Probability of the rescored mask, (M, M)."""


def draw_comparison(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray,
    predictions: dict[str, Instances],
    view: RegionView | None,
) -> None:
    """Writes the picture; the format is that of the path's ending.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: masks of the instances, (N, H, W) boolean.
        predictions: by the name of the model, as the model returns them for the image.
        view: of the last of the models; None where it has detected nothing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    axes = figure.subplots(2, 4)
    for ax in axes.flat:
        ax.set_axis_off()
    height, width = image.shape[:2]
    colours = instance_colours(len(truth))

    _show(axes[0, 0], image, "image")
    _show(axes[0, 1], paint_masks(image, truth, colours), "ground truth")
    for ax, (name, found) in zip(axes[0, 2:], predictions.items(), strict=True):
        masks = found[found.scores > MIN_SCORE].pred_masks.cpu().numpy()
        matched = match_masks(masks, truth)
        # The last row is for what matches nothing.
        painted = np.vstack([colours, [[0.55, 0.55, 0.55]]])[matched]
        _show(ax, paint_masks(image, masks, painted), f"{name}, score > {MIN_SCORE}")

    if view is not None:
        _draw_region(axes[0, 3], axes[1], view, (height, width))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _draw_region(above, row, view: RegionView, size: tuple[int, int]) -> None:
    """The four pictures of the lower row, and the region's box in the picture above them."""
    height, width = size
    _show(row[0], view.embedding, "embedding Ψ (PCA)", extent=(0, width, height, 0))
    x0, y0, x1, y1 = view.box * (width, height, width, height)
    for ax in (above, row[0]):
        ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="black", linewidth=2.5)
        ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="white", linewidth=1)
    region = {"extent": (x0, x1, y1, y0), "cmap": "viridis"}
    _show(row[1], view.seed_weights, "seed: softmax of the logits", vmin=0, **region)
    _show(row[2], view.kernel, "kernel K(seed, u), 0 to 1", vmin=0, vmax=1, **region)
    _show(row[3], view.mask, "rescored mask, 0 to 1", vmin=0, vmax=1, **region)
    side = len(view.seed_weights)
    i, j = divmod(int(view.seed_weights.argmax()), side)
    peak = x0 + (j + 0.5) * (x1 - x0) / side, y0 + (i + 0.5) * (y1 - y0) / side
    for ax in row[1:]:
        ax.plot(*peak, marker="+", color="red", markersize=10)


def _show(ax, picture, title: str, **options) -> None:
    ax.imshow(picture, interpolation="nearest", **options)
    ax.set_title(title, fontsize=10)
