"""Detections as COCO results."""

from __future__ import annotations

from ...data.mask_windows import encode_windows
from ..detections import Detections


def coco_results(found: Detections, image_id: int) -> list[dict]:
    """The results of one image, as Detectron2's `instances_to_coco_json` gives them, with the
    classes of the model as categories."""
    corners = found.boxes.copy()
    corners[:, 2:] -= corners[:, :2]
    results = [
        {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        for category, box, score in zip(
            found.classes.tolist(), corners.tolist(), found.scores.tolist(), strict=True
        )
    ]
    if found.masks is not None:
        encoded = encode_windows(found.masks, found.size)
        for result, mask in zip(results, encoded, strict=True):
            result["segmentation"] = mask | {"counts": mask["counts"].decode()}
    return results
