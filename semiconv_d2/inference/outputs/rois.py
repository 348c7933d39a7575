"""Regions of interest of ImageJ and Fiji, one zip file for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from ...writing import write_whole
from ..detections import Detections
from .outlines import outlines_of

if TYPE_CHECKING:
    from roifile import ImagejRoi
    from shapely import Polygon

_MOVE, _LINE, _CLOSE = 0, 1, 4  # in ImageJ's paths


def write_rois(detections: Detections, path: Path, classes: Sequence[str]) -> None:
    """Writes a region for each instance, for ImageJ's ROI Manager.

    A mask without holes in one piece becomes a polygon, others become composite regions. Their
    names are the number of the instance, its class and score. The coordinates are edges of
    pixels, so that ImageJ finds the same pixels within. An empty mask is left out.

    Args:
        path: of the zip file.
        classes: names, in the order of the model's classes.
    """
    with write_whole(path, "wb") as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for index, polygons in enumerate(outlines_of(detections)):
            if polygons:
                name = f"{index + 1:04d} {detections.label(index, classes)}"
                entry = ZipInfo(f"{name.replace('/', '_')}.roi")  # without a time
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, _roi(polygons, name).tobytes(), ZIP_DEFLATED)


def _roi(polygons: Sequence[Polygon], name: str) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    rings = [_corners(r) for p in polygons for r in (p.exterior, *p.interiors)]
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(rings[0], name=name)
        roi.roitype = ROI_TYPE.POLYGON
        return roi
    steps = [step for ring in rings for step in _path(ring)]
    points = np.concatenate(rings)
    (left, top), (right, bottom) = np.floor(points.min(0)), np.ceil(points.max(0))
    return ImagejRoi(
        roitype=ROI_TYPE.RECT,
        name=name,
        left=int(left),
        top=int(top),
        right=int(right),
        bottom=int(bottom),
        shape_roi_size=len(steps),
        multi_coordinates=np.array(steps, dtype=np.float32),
    )


def _corners(ring) -> np.ndarray:
    """Corners of a ring (P, 2), without the repeated one; whole numbers if they are edges of
    pixels, as ImageJ's own polygons have."""
    corners = np.asarray(ring.coords)[:-1]
    whole = corners.astype(np.int32)
    return whole if (whole == corners).all() else corners


def _path(ring: np.ndarray) -> list[float]:
    first, *others = ring.tolist()
    lines = [value for point in others for value in (_LINE, *point)]
    return [_MOVE, *first, *lines, _CLOSE]
