"""One class in the place of many: for few images, or where it is the masks that matter."""

from __future__ import annotations

from pathlib import Path

from ...errors import DatasetError
from .checking import read_coco
from .coco_json import write_json


def merge_classes(json_file: Path, output: Path, name: str = "object") -> dict:
    """Writes `output`, a dataset in COCO's format in which all instances are of one class, of id 1.
    Everything else stays as it is.

    Returns:
        What was written.

    Raises:
        DatasetError: `json_file` is broken, or also the output.
    """
    if json_file.resolve() == output.resolve():
        raise DatasetError(f"{output} is the input as well: give another output")
    content = read_coco(json_file)
    merged = content | {
        "annotations": [a | {"category_id": 1} for a in content["annotations"]],
        "categories": [{"id": 1, "name": name}],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(merged, output)
    return merged
