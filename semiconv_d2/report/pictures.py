"""Images as data URIs and masks as SVG paths, for the page."""

from __future__ import annotations

import base64
import io

import numpy as np

from ..visualization.masks import window_of

LONGEST = 640
"""Longest side of a picture, in its own pixels."""

FINENESS = 2
"""Steps of a path per pixel of the picture."""

_TOLERANCE = 1.0  # largest distance of a simplified outline from the true one, in steps
_QUALITY = 72


def picture_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the picture of an image: no side is longer than `LONGEST`."""
    scale = min(1, LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def embed_image(image: np.ndarray) -> str:
    """A picture of an image as a data URI.

    Args:
        image: (H, W, 3) uint8.
    """
    from PIL import Image

    height, width = picture_size(*image.shape[:2])
    picture = Image.fromarray(image)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=_QUALITY, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def mask_path(mask: np.ndarray) -> str:
    """The outlines of a mask as an SVG path, holes included (with the fill rule "evenodd").

    Coordinates are whole numbers, `FINENESS` per pixel of the picture.

    Args:
        mask: (H, W) boolean, in pixels of the image.
    """
    import cv2

    rows, columns = window_of(mask)
    part = mask[rows, columns].astype(np.uint8)
    if not part.size:
        return ""
    height, width = (FINENESS * side for side in picture_size(*mask.shape))
    scale_y, scale_x = height / mask.shape[0], width / mask.shape[1]
    size = (
        max(1, round(part.shape[1] * scale_x)),
        max(1, round(part.shape[0] * scale_y)),
    )
    shrinks = size[0] < part.shape[1]
    scaled = cv2.resize(255 * part, size, interpolation=cv2.INTER_AREA if shrinks else 0)
    inside = scaled >= 128
    if not inside.any():
        inside = scaled == scaled.max()
    # With a margin, so that the resized outline also surrounds the last pixels.
    padded = np.pad(inside.astype(np.uint8), 1)
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    offset = np.round((columns.start * scale_x - 1, rows.start * scale_y - 1)).astype(int)
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, _TOLERANCE, closed=True)[:, 0]
        if len(points) < 3:
            points = _around(contour[:, 0])
        parts.append(_closed(points + offset))
    return "".join(parts)


def box_path(box: tuple[float, float, float, float], height: int, width: int) -> str:
    """A box as an SVG path, in the units of `mask_path`.

    Args:
        box: left, top, width and height in pixels of the image.
        height: height of the image.
        width: width of the image.
    """
    across, down = (
        FINENESS * picture / side
        for picture, side in zip(picture_size(height, width)[::-1], (width, height), strict=True)
    )
    x0, y0 = box[0] * across, box[1] * down
    x1, y1 = x0 + box[2] * across, y0 + box[3] * down
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    return _closed(np.round(corners).astype(int))


def _around(points: np.ndarray) -> np.ndarray:
    """The rectangle around points (N, 2) that enclose no area: too few, or on a line."""
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0) + 1
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _closed(points: np.ndarray) -> str:
    (x, y), *steps = points[0].tolist(), *np.diff(points, axis=0).tolist()
    return f"M{x} {y}l{' '.join(f'{dx} {dy}' for dx, dy in steps)}z"
