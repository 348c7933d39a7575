"""Pictures of instance colouring: embeddings as colours, votes, and where they meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from semiconv_d2.visualization.figures import save
from semiconv_d2.visualization.masks import (
    PALETTE,
    instance_colours,
    match_best,
    overlap,
    paint_masks,
)

GOOD_IOU = 0.8
"""Smallest IoU of an instance that counts as found in the pictures."""

_VOTES = 4000  # largest number of dots in an image


class ColoringView(NamedTuple):
    """An image, its ground truth, and the result of a model."""

    name: str
    image: np.ndarray
    """(H, W, 3) uint8, RGB."""
    truth: np.ndarray
    """(N, H, W) boolean."""
    found: np.ndarray
    """(M, H, W) boolean."""
    colours: np.ndarray
    """Ψ of the foreground as colours, white elsewhere; (H, W, 3) in [0, 1]."""
    votes: np.ndarray
    """The geometric part of Ψ of the instances' pixels, (P, 2) x and y in pixels."""
    voters: np.ndarray
    """Instance of each of these pixels, (P,)."""

    @property
    def quality(self) -> float:
        """Mean over instances of the IoU with the mask that fits best; 1 without instances."""
        iou = overlap(self.truth, self.found)
        return float(iou.max(axis=1, initial=0).mean()) if len(self.truth) else 1.0


class Meeting(NamedTuple):
    """The point where the embeddings of one instance meet."""

    image: str
    index: int
    """Index of the instance in its image."""
    mask: np.ndarray
    """(h, w) boolean, cut out of the image."""
    corner: np.ndarray
    """First column and row of the mask in the image, (2,)."""
    point: np.ndarray
    """Mean of the votes of its pixels, (2,) x and y in pixels."""
    spread: float
    """Mean distance of the votes from this point, in pixels."""

    @property
    def centroid(self) -> np.ndarray:
        """Centroid of the mask, (2,) x and y in pixels."""
        rows, columns = self.mask.nonzero()
        return np.array([columns.mean(), rows.mean()]) + 0.5 + self.corner

    def covers(self, point: np.ndarray) -> bool:
        """Whether a point, (2,) x and y, lies on the instance."""
        column, row = np.floor(point - self.corner).astype(int)
        height, width = self.mask.shape
        return 0 <= row < height and 0 <= column < width and bool(self.mask[row, column])

    def to_json(self) -> dict:
        return {
            "image": self.image,
            "instance": self.index,
            "point": self.point.tolist(),
            "spread": self.spread,
            "centroid": self.centroid.tolist(),
        }


def draw_colorings(path: Path, views: Sequence[ColoringView]) -> None:
    """Draws four panels for each image: ground truth, embedding, votes, and what was found."""
    ratio = max(v.image.shape[0] / v.image.shape[1] for v in views)
    figure = Figure(figsize=(6.4, 2 * len(views) * (3.2 * ratio + 0.35)), layout="constrained")
    rows = figure.subplots(2 * len(views), 2, squeeze=False).reshape(len(views), 4)
    for row, view in zip(rows, views, strict=True):
        height, width = view.image.shape[:2]
        colours = instance_colours(len(view.truth))
        pale = 255 - view.image // 4 if view.image.mean() < 128 else view.image
        iou = overlap(view.truth, view.found)
        hits = int((iou.max(axis=1, initial=0) >= GOOD_IOU).sum())
        pictures = (
            (f"{view.name}: truth", paint_masks(pale, view.truth, colours, 0.9)),
            ("embedding (PCA)", view.colours),
            ("votes of the pixels", None),
            (
                f"found: {hits} of {len(view.truth)} at IoU ≥ {GOOD_IOU}",
                paint_masks(pale, view.found, _colours_of(view, colours), 0.9),
            ),
        )
        for ax, (title, picture) in zip(row, pictures, strict=True):
            ax.set_title(title, fontsize=11)
            ax.set_xticks([])
            ax.set_yticks([])
            if picture is not None:
                ax.imshow(picture, interpolation="nearest")
        row[2].imshow(pale, extent=(0, width, height, 0))
        some = np.random.default_rng(0).permutation(len(view.votes))[:_VOTES]
        row[2].scatter(*view.votes[some].T, s=2, color=colours[view.voters[some]], linewidths=0)
        row[2].set_xlim(0, width)
        row[2].set_ylim(height, 0)
    save(figure, path)


def draw_centres(path: Path, meetings: Sequence[Meeting]) -> None:
    """Draws the points where embeddings meet, in the frame of each instance: its centroid at the
    origin, its long axis along x, its ends upwards; lengths in units of half its length."""
    aligned = [align(m) for m in meetings]
    points = np.array([a.point for a in aligned])
    figure = Figure(figsize=(6.4, 7), layout="constrained")
    axes = figure.subplot_mosaic([["frame", "frame"], ["left", "right"]], height_ratios=(3, 2))
    frame = axes["frame"]
    for a in aligned[:: max(1, len(aligned) // 40)]:
        frame.plot(*a.body.T, ".", color="0.8", markersize=1, zorder=0)
    frame.scatter(*points.T, s=10, color=PALETTE[0], label="where embeddings meet")
    frame.plot(0, 0, "+", color=PALETTE[4], markersize=14, markeredgewidth=2, label="centroid")
    frame.set_aspect("equal")
    frame.set_xlim(-1.3, 1.3)
    frame.set_ylim(-0.8, 0.8)
    frame.set_xlabel("along the long axis, in half lengths")
    frame.set_ylabel("across it")
    frame.legend(loc="lower left", fontsize=10)
    frame.set_title("in the frame of each instance (grey: some of them)", fontsize=11)

    distances = [float(np.linalg.norm(m.point - m.centroid)) for m in meetings]
    spreads = [m.spread for m in meetings]
    for ax, values, title in (
        (axes["left"], distances, "meeting point to centroid"),
        (axes["right"], spreads, "votes to meeting point"),
    ):
        ax.hist(
            values, bins=np.linspace(0, max(np.quantile(values, 0.98), 1), 30), color=PALETTE[0]
        )
        ax.axvline(np.median(values), color=PALETTE[4])
        ax.set_xlabel("pixels")
        ax.set_title(f"{title}\n(median {np.median(values):.1f} px)", fontsize=11)
    axes["left"].set_ylabel("instances")
    save(figure, path)


class Aligned(NamedTuple):
    """An instance and its meeting point, turned and scaled."""

    point: np.ndarray
    """(2,)"""
    body: np.ndarray
    """Its pixels, (P, 2)."""


def align(meeting: Meeting) -> Aligned:
    """Turns and scales an instance: the centroid at the origin, the long axis along x, the ends of
    a bent instance towards positive y, and half its length is 1."""
    rows, columns = meeting.mask.nonzero()
    body = np.stack([columns, rows], axis=1) + 0.5 + meeting.corner - meeting.centroid
    _, _, axes = np.linalg.svd(body.T @ body)
    body, point = body @ axes.T, axes @ (meeting.point - meeting.centroid)
    signs = np.array([1.0, 1.0 if (body[:, 0] ** 2 * body[:, 1]).sum() >= 0 else -1.0])
    half = max(np.ptp(body[:, 0]) / 2, 0.5)
    return Aligned(point * signs / half, body * signs / half)


def _colours_of(view: ColoringView, colours: np.ndarray) -> np.ndarray:
    """Colours of the masks found: the colour of the instance that a mask fits best. Dark grey:
    masks that fit no instance, or whose instance another mask fits better."""
    return np.vstack([colours, [[0.25] * 3]])[match_best(view.found, view.truth)]  # −1: the last
