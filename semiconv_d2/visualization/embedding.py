"""Draws embedding maps as colours, and as arrows to the points that pixels point to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .masks import instance_colours, paint_masks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_PIXELS = 1_000_000  # to compute axes from; if there are more, every second or third, ... pixel
_ENLARGED = 4  # picture pixels per cell of a map


class PrincipalAxes(NamedTuple):
    """Axes that turn embeddings into colours; the same axes give the same colours in every image.

    There are K ≤ 3 components, for red, green and blue.
    """

    mean: Tensor
    """(D,)"""
    axes: Tensor
    """(K, D), strongest first, of length 1."""
    low: Tensor
    """Value of each component that becomes dark, (K,)."""
    high: Tensor
    """Value that becomes bright, (K,); equal to `low` if the component does not vary."""

    def colours(self, features: Tensor) -> Tensor:
        """Turns a map, (D, H, W), into colours, (H, W, 3) in [0, 1] on the CPU. A component that
        does not vary, or is not finite, becomes 0.5."""
        _, height, width = features.shape
        pixels = _pixels(features) - self.mean
        components = pixels @ self.axes.T
        flat = self.high <= self.low
        scaled = (components - self.low) / torch.where(flat, 1.0, self.high - self.low)
        scaled = torch.where(flat, 0.5, scaled.clamp(0, 1)).nan_to_num(nan=0.5)
        colours = torch.full((height * width, 3), 0.5)
        colours[:, : scaled.shape[1]] = scaled.float()
        return colours.view(height, width, 3)


def principal_axes(maps: Sequence[Tensor]) -> PrincipalAxes:
    """The principal components of several maps together.

    Each component ranges from its 2nd to its 98th percentile. Signs are chosen so that the same
    maps always have the same colours. Pixels that are not finite do not count.

    Args:
        maps: (D, ...) each, of any sizes; D ≥ 1.
    """
    step = -(-sum(m[0].numel() for m in maps) // _MAX_PIXELS) or 1
    pixels = torch.cat([_pixels(m)[::step] for m in maps])
    pixels = pixels[pixels.isfinite().all(dim=1)]
    if not len(pixels):
        pixels = pixels.new_zeros(1, pixels.shape[1])
    largest_value = pixels.abs().max().item()
    mean = pixels.mean(dim=0)
    pixels = pixels - mean
    _, _, axes = torch.linalg.svd(pixels.T @ pixels)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    axes = (axes * largest.sign())[: min(3, pixels.shape[1])]
    low, high = (torch.quantile(pixels @ axes.T, q, dim=0) for q in (0.02, 0.98))
    flat = high - low < 1e-9 * max(1.0, largest_value)
    return PrincipalAxes(mean, axes, low, torch.where(flat, low, high))


def principal_colours(features: Tensor) -> Tensor:
    """The three principal components of a map, (D, H, W), as red, green and blue: (H, W, 3)."""
    return principal_axes([features]).colours(features)


def draw_map(features: Tensor) -> Tensor:
    """Draws a map, (D, h, w), in its principal colours for TensorBoard: (3, 4·h, 4·w) uint8."""
    colours = (principal_colours(features) * 255).round().to(torch.uint8).permute(2, 0, 1)
    return colours.repeat_interleave(_ENLARGED, dim=1).repeat_interleave(_ENLARGED, dim=2)


def draw_coloring(image: Tensor, embedding: Tensor, masks: Tensor) -> Tensor:
    """Draws an image, its embedding as colours, and its instances, side by side.

    Args:
        image: (3, H, W), from 0 to 255.
        embedding: Ψ, (D, H, W).
        masks: masks of the instances, (N, H, W) boolean.

    Returns:
        (3, H, 3·W) uint8, for TensorBoard.
    """
    grey = image.float().mean(dim=0).round().to(torch.uint8).cpu().numpy()
    grey = np.repeat(grey[..., None], 3, axis=2)
    colours = principal_colours(embedding).cpu().numpy()
    painted = paint_masks(grey, masks.cpu().numpy(), instance_colours(len(masks)))
    tiles = np.concatenate([grey / 255, colours, painted], axis=1)
    return torch.from_numpy(np.round(tiles * 255).astype(np.uint8)).permute(2, 0, 1)


def thin_arrows(
    votes: np.ndarray, mask: np.ndarray, spacing: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Arrows from some pixels to the points that they point to, on a grid with room between them.

    Args:
        votes: the point that each pixel points to, x and y in pixels of the map, (2, H, W).
        mask: pixels where arrows may start, (H, W): boolean, or the number of the instance of each
            pixel; −1: none. If an instance lies between the points of the grid, it gets one arrow,
            from the pixel nearest to its centroid.
        spacing: smallest distance between points of the grid, in pixels.
        most: approximate limit of arrows per instance; larger instances have a wider grid.

    Returns:
        Starts and ends, (A, 2) each, x and y in pixels; the centre of the first pixel is
        (0.5, 0.5).
    """
    votes, mask = np.asarray(votes), np.asarray(mask)
    labels = np.where(mask, 0, -1) if mask.dtype == bool else mask
    chosen = [np.zeros((0, 2), dtype=int)]  # rows and columns
    inside = np.argwhere(labels >= 0)
    owners = labels[tuple(inside.T)]
    order = np.argsort(owners, kind="stable")
    ends = np.flatnonzero(np.diff(owners[order], append=-1)) + 1
    for pixels in np.split(inside[order], ends)[:-1]:
        step = max(spacing, math.ceil(math.sqrt(len(pixels) / most)))
        on_grid = pixels[(pixels % step == step // 2).all(axis=1)]
        nearest = np.square(pixels - pixels.mean(axis=0)).sum(axis=1).argmin()
        chosen.append(on_grid if len(on_grid) else pixels[nearest, None])
    rows, columns = np.concatenate(chosen).T
    starts = np.stack([columns, rows], axis=1) + 0.5
    return starts, votes[:, rows, columns].T.astype(np.float64)


def draw_embedding(
    image: np.ndarray,
    colours: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    arrow_colours: np.ndarray,
) -> Figure:
    """Draws an image with arrows to the points that its pixels point to, and beside it its
    embedding as colours.

    Args:
        image: (H, W, 3) uint8, RGB.
        colours: colours of the embedding, (h, w, 3) in [0, 1]; stretched to the image.
        starts, ends: of the arrows, (A, 2) each, x and y in pixels of the image.
        arrow_colours: (A, 3) in [0, 1].
    """
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    height, width = image.shape[:2]
    side = 5.0  # inches of the longer side of a panel
    inches = side * np.array([width, height]) / max(width, height)
    figure = Figure(figsize=(2 * max(inches[0], 3) + 0.3, inches[1] + 0.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    extent = (0, width, height, 0)
    left.imshow(image, extent=extent, interpolation="nearest")
    right.imshow(np.asarray(colours), extent=extent, interpolation="nearest")
    left.set_title("where pixels point", fontsize=11)
    right.set_title("embedding Ψ (PCA)", fontsize=11)
    for ax in (left, right):
        ax.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    if len(starts):
        left.quiver(
            *np.asarray(starts).T,
            *(np.asarray(ends) - np.asarray(starts)).T,
            color=arrow_colours,
            angles="xy",
            scale_units="xy",
            scale=1,
            units="inches",
            width=0.018,
            headwidth=4.5,
            headlength=5,
            headaxislength=4.5,
            zorder=3,
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )
    return figure


def _pixels(features: Tensor) -> Tensor:
    """(D, ...) to (P, D), in double precision on the CPU."""
    return features.detach().cpu().double().flatten(1).T
