"""Images of a training set that are held out, to make choices on."""

from __future__ import annotations

from pathlib import Path

from ...errors import DatasetError
from .checking import read_coco
from .coco_json import check_replaceable, mark, write_json
from .json_values import is_integer


def hold_out(json_file: Path, every: int = 5) -> dict[Path, tuple[int, int]]:
    """Writes two JSON files beside one in COCO's format: NAME_holdout.json with every n-th image in
    the order of the file, and NAME_fit.json with the others. Both keep all ids and categories.

    Args:
        json_file: the training set.
        every: n; 5 holds a fifth out.

    Returns:
        The files, and how many images and annotations each has.

    Raises:
        DatasetError: the file is broken, has an annotation without an image, or one part would be
            empty; or a file to write is there and somebody else's.
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
    annotations = content["annotations"]
    known = {image["id"] for image in images if is_integer(image.get("id"))}
    strays = sum(
        not is_integer(a.get("image_id")) or a["image_id"] not in known for a in annotations
    )
    if strays or len(known) < len(images):
        raise DatasetError(
            f"{json_file}: {len(images) - len(known)} images have no id of their own, and {strays} "
            f"annotations no image; python tools/check_dataset.py tells which, and mends them"
        )
    paths = {name: json_file.with_name(f"{json_file.stem}_{name}.json") for name in parts}
    for path in paths.values():
        check_replaceable(path)
    written = {}
    for name, chosen in parts.items():
        ids = {image["id"] for image in chosen}
        own = [a for a in annotations if a["image_id"] in ids]
        write_json(mark(content | {"images": chosen, "annotations": own}), paths[name])
        written[paths[name]] = len(chosen), len(own)
    return written
