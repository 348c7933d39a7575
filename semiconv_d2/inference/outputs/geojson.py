"""GeoJSON as QuPath reads it, one file for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...writing import write_json
from ..detections import Detections
from .outlines import outlines_of


def write_geojson(detections: Detections, path: Path, classes: Sequence[str]) -> None:
    """Writes a feature for each instance: a Polygon, or a MultiPolygon for several pieces.

    Coordinates are pixels of the image, (0, 0) is its upper left corner, and the outlines are the
    edges of pixels. A feature is a detection of QuPath with its class; its measurements are the
    score and the number of the instance in tables and label images. An empty mask is left out.

    Args:
        classes: names, in the order of the model's classes.
    """
    import shapely

    features = []
    for index, polygons in enumerate(outlines_of(detections)):
        if polygons:
            shape = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
            features.append(
                {
                    "type": "Feature",
                    "geometry": shapely.geometry.mapping(shape),
                    "properties": {
                        "objectType": "detection",
                        "name": f"{index + 1} {detections.label(index, classes)}",
                        "classification": {"name": detections.class_name(index, classes)},
                        "measurements": {
                            "instance": index + 1,
                            "score": round(float(detections.scores[index]), 6),
                        },
                    },
                }
            )
    write_json({"type": "FeatureCollection", "features": features}, path)
