"""Training sets made from others: with part of the images held out, or all classes merged."""

from __future__ import annotations

from pathlib import Path

from ...errors import DatasetError
from ...writing import write_json
from .coco_json import check_replaceable, mark, read_coco
from .json_values import is_integer


def hold_out(json_file: Path, every: int = 5) -> dict[Path, tuple[int, int]]:
    """Splits a JSON in COCO's format into two files beside it, for choosing settings.

    NAME_holdout.json has every n-th image, in the order of the file, and NAME_fit.json has the
    others. Both keep all ids and categories.

    Args:
        json_file: the training set.
        every: n; 5 holds out a fifth.

    Returns:
        The files, and how many images and annotations each has.

    Raises:
        DatasetError: the file is broken, has an annotation without an image, or one part would be
            empty; or it would overwrite a file that this package did not write.
    """
    content = read_coco(json_file)
    images, annotations = content["images"], content["annotations"]
    if every < 2 or len(images) < every:
        raise DatasetError(
            f"every {every}th of the {len(images)} images of {json_file} cannot be held out: one "
            "part would be empty"
        )
    known = {image["id"] for image in images if is_integer(image.get("id"))}
    strays = sum(
        not is_integer(a.get("image_id")) or a["image_id"] not in known for a in annotations
    )
    if strays or len(known) < len(images):
        raise DatasetError(
            f"{json_file}: {len(images) - len(known)} images have no id of their own, and {strays} "
            f"annotations have no image; semiconv check lists them, and --fix mends them"
        )
    held_out = images[every - 1 :: every]
    ids = {image["id"] for image in held_out}
    parts = {
        json_file.with_name(f"{json_file.stem}_{name}.json"): {
            "images": [image for image in images if (image["id"] in ids) == held],
            "annotations": [a for a in annotations if (a["image_id"] in ids) == held],
        }
        for name, held in (("fit", False), ("holdout", True))
    }
    for path in parts:
        check_replaceable(path)
    for path, part in parts.items():
        write_json(mark(content | part), path)
    return {path: (len(part["images"]), len(part["annotations"])) for path, part in parts.items()}


def merge_classes(json_file: Path, output: Path, name: str = "object") -> dict:
    """Writes a copy of a dataset in COCO's format in which all instances have one class, of id 1.

    This is for few images, or if only the masks matter. Everything else stays as it is.

    Returns:
        What was written.

    Raises:
        DatasetError: `json_file` is broken, or is also the output.
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
