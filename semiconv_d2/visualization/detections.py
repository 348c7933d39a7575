"""Pictures of a model's detections with labels, and of their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .figures import DPI, plain
from .masks import PALETTE, instance_colours, match_best, outline, paint_masks, window_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .regions import InstanceView

LONGEST = 1000  # smallest length of the picture's longer side, in pixels at scale 1
LARGEST = 1600  # largest length of it
_FONT = 0.013  # font size of labels, as a share of the longer side of the picture
_SMALLEST = 0.6  # smallest factor on the font size, for many labels
_LABELLED = 0.12  # share of the picture that labels may cover before they become smaller
_LABEL_COST = 3.0  # covering a pixel of another label costs as much as so many pixels of instances


def draw_detections(
    image: np.ndarray,
    masks: np.ndarray | None,
    boxes: np.ndarray,
    labels: Sequence[str],
    colours: np.ndarray,
    opacity: float = 0.5,
) -> Figure:
    """Draws masks over the image, each with an outline and a label; boxes if there are no masks.

    Args:
        image: (H, W, 3) uint8, RGB.
        masks: (N, H, W) boolean, or None.
        boxes: (N, 4), x0, y0, x1, y1 in pixels.
        labels: of the N instances.
        colours: (N, 3) in [0, 1].
    """
    painted = image if masks is None else paint_masks(image, masks, colours, opacity)
    figure, ax = _frame(painted)
    if masks is None:
        for box, colour in zip(boxes, colours, strict=True):
            ax.plot(box[[0, 2, 2, 0, 0]], box[[1, 1, 3, 3, 1]], color=colour, linewidth=1.5)
        masks = _fill(boxes, *image.shape[:2])
    else:
        _outline(ax, masks, colours)
    _write(ax, masks, labels, colours)
    return figure


def draw_seeds(
    image: np.ndarray, views: Sequence[InstanceView], labels: Sequence[str], colours: np.ndarray
) -> Figure:
    """Draws the outline of each instance, the distribution of its seed in the same colour, and a
    cross at the seed's expected position.

    Args:
        image: (H, W, 3) uint8, RGB; drawn in grey.
        views: of the N instances.
        labels: of the N instances.
        colours: (N, 3) in [0, 1].
    """
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    figure, ax = _frame((40 + 0.35 * grey).astype(np.uint8))
    limits = ax.get_xlim(), ax.get_ylim()
    for view, colour in zip(views, colours, strict=True):
        share = view.seed_weights / max(float(view.seed_weights.max()), 1e-12)
        cloud = np.concatenate([np.broadcast_to(colour, (*share.shape, 3)), share[..., None]], 2)
        x0, y0, x1, y1 = view.box
        ax.imshow(cloud, extent=(x0, x1, y1, y0), interpolation="nearest", zorder=2)
    masks = np.array([v.mask for v in views]).reshape(-1, *image.shape[:2])
    _outline(ax, masks, colours)
    for view, colour in zip(views, colours, strict=True):
        for width, edge, z in ((4, "white", 4), (1.8, "black", 5)):
            ax.plot(*view.seed, "+", color=edge, markersize=11, markeredgewidth=width, zorder=z)
        ax.plot(*view.seed, "o", color=colour, markersize=3, zorder=6)
    _write(ax, masks, labels, colours)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    return figure


def following_colours(
    masks: np.ndarray, before: np.ndarray | None = None, colours: np.ndarray | None = None
) -> np.ndarray:
    """Colours for the instances of a frame: an instance keeps its colour from frame to frame.

    Args:
        masks: (N, H, W) boolean.
        before: masks of the previous frame, (M, H, W) boolean; None for the first frame.
        colours: colours of the previous frame, (M, 3) in [0, 1].

    Returns:
        (N, 3): the colour of the previous mask that fits. A new instance gets a colour that is used
        least.
    """
    if before is None or colours is None or not len(before):
        return instance_colours(len(masks))
    matched = match_best(masks, before)
    result = colours[matched]  # those of unmatched masks are replaced below
    palette = instance_colours(3 * len(PALETTE))
    kept = result[matched >= 0]
    used = (np.abs(palette[:, None] - kept[None]).max(axis=2) < 1e-9).sum(axis=1)
    for number in np.flatnonzero(matched < 0):
        index = int(used.argmin())
        result[number] = palette[index]
        used[index] += 1
    return result


def place_labels(anchors: np.ndarray, sizes: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Chooses places for labels: beside an end of the instance, and where the label covers few
    pixels of instances and other labels.

    Args:
        anchors: the uppermost, lowest, leftmost and rightmost point of each of N instances,
            (N, 4, 2), x and y in pixels.
        sizes: sizes of the labels, (N, 2), width and height in pixels.
        covered: (H, W) boolean, the pixels of all instances.

    Returns:
        Upper left corners, (N, 2), so that labels lie within the image if it is large enough.
    """
    height, width = covered.shape
    total = np.pad(covered, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)

    def cost(x: float, y: float, w: float, h: float) -> float:
        x0, x1 = (int(np.clip(v, 0, width)) for v in (x, np.ceil(x + w)))
        y0, y1 = (int(np.clip(v, 0, height)) for v in (y, np.ceil(y + h)))
        pixels = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
        others = sum(_shared((x, y, x + w, y + h), t) for t in taken)
        return float(pixels) + _LABEL_COST * others

    taken: list[tuple[float, float, float, float]] = []
    corners = np.zeros((len(anchors), 2))
    for number, (points, (w, h)) in enumerate(zip(anchors, sizes, strict=True)):
        shifts = ((-w / 2, -h), (-w / 2, 0), (-w, -h / 2), (0, -h / 2))
        limit = max(width - w, 0), max(height - h, 0)
        places = [np.clip(p + shift, 0, limit) for p, shift in zip(points, shifts, strict=True)]
        x, y = min(places, key=lambda place: cost(*place, w, h))  # among equals, the first
        taken.append((x, y, x + w, y + h))
        corners[number] = x, y
    return corners


def _frame(image: np.ndarray) -> tuple[Figure, Axes]:
    """A figure that shows only an image, with axes in pixels of the image."""
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    longest = max(height, width)
    zoom = min(max(longest, LONGEST), LARGEST) / longest
    sides = (max(side * zoom, 1) / DPI for side in (width, height))
    figure = Figure(figsize=tuple(sides), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.imshow(image, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    return figure, ax


def _outline(ax: Axes, masks: np.ndarray, colours: np.ndarray) -> None:
    for mask, colour in zip(masks, colours, strict=True):
        outline(ax, mask, [(colour, 1.4)])


def _write(ax: Axes, masks: np.ndarray, labels: Sequence[str], colours: np.ndarray) -> None:
    """Writes labels in black or white on the colour of their instance.

    Args:
        masks: (N, H, W) boolean.
    """
    from matplotlib.textpath import TextPath

    if not len(labels):
        return
    longest = DPI * max(ax.figure.get_size_inches())
    # Width in units of the font size; a margin of 0.3 on all sides is added below.
    labels = [plain(label) for label in labels]
    wide = {
        n: TextPath((0, 0), n, size=100).get_extents().width / 100 if n.strip() else 0.0
        for n in set(labels)
    }
    sizes = np.array([(wide[n] + 0.6, 1.6) for n in labels])
    font = _FONT * max(masks.shape[1:])  # in pixels of the image
    share = sizes.prod(axis=1).sum() * font**2 / masks[0].size
    font *= np.clip(np.sqrt(_LABELLED / share), _SMALLEST, 1)
    points = font * longest / max(masks.shape[1:]) * 72 / DPI
    sizes *= font
    corners = place_labels(np.array([_ends(m) for m in masks]), sizes, masks.any(axis=0))
    for label, corner, size, colour in zip(labels, corners, sizes, colours, strict=True):
        dark = colour @ (0.299, 0.587, 0.114) < 0.5
        ax.text(
            *(corner + size / 2),
            label,
            fontsize=points,
            color="white" if dark else "black",
            ha="center",
            va="center_baseline",
            zorder=7,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.3 * points, "alpha": 0.9},
        )


def _ends(mask: np.ndarray) -> np.ndarray:
    """The uppermost, lowest, leftmost and rightmost point of a mask, (4, 2) x and y."""
    window = window_of(mask)
    rows, columns = mask[window].nonzero()
    if not len(rows):
        return np.zeros((4, 2))
    first = [rows.argmin(), rows.argmax(), columns.argmin(), columns.argmax()]
    corner = window[1].start, window[0].start
    points = np.stack([columns[first], rows[first]], axis=1) + corner + 0.5
    return points + 0.5 * np.array([(0, -1), (0, 1), (-1, 0), (1, 0)])


def _fill(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes (N, 4) as masks, (N, H, W)."""
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.round().astype(int), strict=True):
        mask[max(y0, 0) : y1, max(x0, 0) : x1] = True
    return masks


def _shared(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that two boxes have in common."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
