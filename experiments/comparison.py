"""The picture of a comparison: an image, the masks of two models, and how the second model found
the most crowded instance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.structures import Boxes, Instances, pairwise_iou
from matplotlib.figure import Figure
from torch import nn

from semiconv_d2.inference.explanation import explain
from semiconv_d2.visualization.comparison import paint_matched
from semiconv_d2.visualization.embedding import principal_colours
from semiconv_d2.visualization.figures import plain, save
from semiconv_d2.visualization.masks import match_best
from semiconv_d2.visualization.regions import (
    InstanceView,
    mark_seed,
    outline_box,
    region_scales,
    show_grid,
    square_around,
)

MIN_SCORE = 0.5

_FONT = 13  # legible where the picture is as wide as a phone
_CONTEXT = 3  # size of the surroundings, as a multiple of the region


class RegionView(NamedTuple):
    """One instance of a model, and the embedding around it."""

    instance: InstanceView
    window: tuple[int, int, int]
    """Left, top and side of the square of the image to show, in pixels."""
    embedding: np.ndarray
    """Ψ as colours in the part of the window that lies in the image, (h, w, 3) in [0, 1]."""


def view_crowded_region(model: nn.Module, image: dict) -> RegionView | None:
    """The confident detection whose box overlaps most with other boxes; None without detections.

    Args:
        model: Mask R-CNN with `SemiConvROIHeads`, in evaluation mode.
        image: an input of the model.
    """
    explanation = explain(model, image)
    if not len(explanation.instances):
        return None
    index = _most_crowded(explanation.instances)
    view, embedding = explanation.views[index], explanation.embedding
    left, top, side = window = window_around(view.box, tuple(embedding.shape[1:]))
    colours = principal_colours(embedding[:, top : top + side, left : left + side])
    return RegionView(view, window, colours.numpy())


def window_around(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int]:
    """Left, top and side of a square around a box, three times as large as the box.

    It lies within the image. In a small image it is smaller, but never smaller than the box.

    Args:
        box: x0, y0, x1, y1, (4,).
        size: height and width of the image.
    """
    height, width = size
    left, top, longer = square_around(box, margin=0)
    side = round(max(min(_CONTEXT * longer, height, width), longer))
    corner = (left - (side - longer) / 2, top - (side - longer) / 2)
    left, top = (
        max(0, min(round(start), whole - side))
        for start, whole in zip(corner, (width, height), strict=True)
    )
    return left, top, side


def draw_comparison(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, Instances],
    view: RegionView | None,
) -> None:
    """Writes the picture, 1600 pixels wide, in the format of the path's ending.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: masks of the instances, (N, H, W) boolean.
        predictions: the predictions of two models for the image, by the name of the model.
        view: view of the second model; None if it has no detection: the whole image is shown.
    """
    panel, title, gap = 2.0, 0.29, 0.04  # inches
    whole = 2 * (panel + title)
    figure = Figure(figsize=(4 * panel, whole))
    axes = np.empty((2, 4), dtype=object)
    for row, column in np.ndindex(axes.shape):
        axes[row, column] = ax = figure.add_axes(
            (
                (column * panel + gap / 2) / (4 * panel),
                ((1 - row) * (panel + title) + gap / 2) / whole,
                (panel - gap) / (4 * panel),
                (panel - gap) / whole,
            )
        )
        ax.set(xticks=[], yticks=[], facecolor="0.9")
        ax.set_visible(row == 0 or view is not None)

    height, width = image.shape[:2]
    window = square_around((0, 0, width, height), margin=0) if view is None else view.window
    pictures = {
        "image": image,
        "ground truth": paint_matched(image, truth, np.arange(len(truth))),
    }
    for name, found in predictions.items():
        masks = _confident_masks(found)
        pictures[name] = paint_matched(image, masks, match_best(masks, truth))
    for ax, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        _show(ax, picture, name, extent=(0, width, height, 0))
        _look_at(ax, window)
    if view is not None:
        _draw_region(axes[0, 3], axes[1], view)
    save(figure, path)


def _most_crowded(found: Instances) -> int:
    confident = found.scores > min(MIN_SCORE, found.scores.max().item() * 0.999)
    overlap = pairwise_iou(found.pred_boxes, Boxes(found.pred_boxes.tensor[confident]))
    crowding = overlap.sum(dim=1).masked_fill(~confident, -1)
    return int(crowding.argmax())


def _confident_masks(found: Instances) -> np.ndarray:
    return found[found.scores > MIN_SCORE].pred_masks.cpu().numpy()


def _draw_region(above, row, view: RegionView) -> None:
    """The four pictures of the lower row, and the region's box in the picture above them."""
    (left, top, _), (height, width) = view.window, view.embedding.shape[:2]
    place = (left, left + width, top + height, top)
    _show(row[0], view.embedding, "embedding (PCA)", extent=place)
    for ax in (above, row[0]):
        outline_box(ax, view.instance.box)
        _look_at(ax, view.window)
    scales = region_scales([view.instance])
    for ax, column, title in zip(
        row[1:],
        ("seed", "kernel", "rescored"),
        ("seed", "kernel or share", "rescored mask"),
        strict=True,
    ):
        show_grid(ax, view.instance, column, scales)
        mark_seed(ax, view.instance.seed)
        _look_at(ax, square_around(view.instance.box, margin=0))
        ax.set_title(title, fontsize=_FONT)


def _look_at(ax, window: tuple[float, float, float]) -> None:
    left, top, side = window
    ax.set(xlim=(left, left + side), ylim=(top + side, top))


def _show(ax, picture, title: str, **options) -> None:
    ax.imshow(picture, interpolation="nearest", **options)
    ax.set_title(plain(title), fontsize=_FONT)
