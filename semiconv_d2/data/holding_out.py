"""Images of a training set that are held out, to make choices on."""

from __future__ import annotations

from pathlib import Path

from semiconv_d2.data.checking import read_coco
from semiconv_d2.data.coco_json import write_json
from semiconv_d2.data.files import DatasetError


def hold_out(json_file: Path, every: int = 5) -> dict[Path, tuple[int, int]]:
    """Writes two JSON files beside one in COCO's format: NAME_holdout.json with every n-th image in
    the order of the file, and NAME_fit.json with the others. Both keep all ids and categories.

    Args:
        json_file: the training set.
        every: n; 5 holds a fifth out.

    Returns:
        The files, and how many images and annotations each has.

    Raises:
        DatasetError: the file is broken, or one part would be empty.
    """
    content = read_coco(json_file)
    images = content["images"]
    if every < 2 or len(images) < every:
        raise DatasetError(
            f"every {every}th of the {len(images)} images of {json_file} cannot be held out: one "
            "part would be empty"
        )
    parts = {
        "fit": [image for i, image in enumerate(images, start=1) if i % every],
        "holdout": [image for i, image in enumerate(images, start=1) if not i % every],
    }
    written = {}
    for name, chosen in parts.items():
        ids = {image["id"] for image in chosen}
        annotations = [a for a in content["annotations"] if a["image_id"] in ids]
        path = json_file.with_name(f"{json_file.stem}_{name}.json")
        write_json(content | {"images": chosen, "annotations": annotations}, path)
        written[path] = len(chosen), len(annotations)
    return written
