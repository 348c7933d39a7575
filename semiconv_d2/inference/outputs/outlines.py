"""Masks as polygons along the edges of pixels: x from 0 to the width, y from 0 to the height."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...data.mask_windows import MaskWindow
from ..detections import Detections

if TYPE_CHECKING:
    from shapely import Polygon


def polygons_of(mask: MaskWindow) -> list[Polygon]:
    """The pieces of a mask as valid polygons of shapely with holes, the largest piece first.

    The pixel in row 0 and column 0 is the square from (0, 0) to (1, 1). Pixels that touch at a
    corner alone are two pieces. Outer rings run counter-clockwise and holes clockwise, where y
    counts upwards as in mathematics; on a screen, where it counts downwards, it looks reversed.
    """
    import shapely

    steps = np.diff(np.pad(mask.pixels.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps > 0)
    _, ends = np.nonzero(steps < 0)
    left, top = starts + mask.left, rows + mask.top
    runs = shapely.box(left, top, ends + mask.left, top + 1)
    shape = shapely.simplify(shapely.union_all(runs), 0)
    pieces = shapely.get_parts(shapely.orient_polygons(shape))
    return sorted((p for p in pieces if not p.is_empty), key=lambda piece: -piece.area)


def outlines_of(detections: Detections) -> list[list[Polygon]]:
    """The polygons of each of N detections: of its mask, or of its box if there are no masks.

    An empty mask has no polygon.
    """
    import shapely

    if detections.masks is None:
        return [[shapely.box(*box)] for box in detections.boxes.astype(float).tolist()]
    return [polygons_of(mask) for mask in detections.masks]
