"""Data of one's own: a JSON in COCO's format and a folder of images, under any name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from semiconv_d2.data.files import DatasetError


def register(name: str, json_file: str | Path, image_root: str | Path) -> None:
    """Register a dataset under a name, so that a config can name it.

    Needs Detectron2. The files are first looked at when the dataset is loaded. Registering the same
    files under the same name again does nothing.

    Args:
        name: for DATASETS.TRAIN and DATASETS.TEST.
        json_file: annotations in COCO's format.
        image_root: the folder that the file names in it start from.

    Raises:
        DatasetError: the name is taken by other files.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog

    json_file, image_root = str(json_file), str(image_root)
    metadata = MetadataCatalog.get(name)
    if name in DatasetCatalog:
        if (metadata.get("json_file"), metadata.get("image_root")) == (json_file, image_root):
            return
        raise DatasetError(f"the dataset '{name}' is registered already, for other files")
    DatasetCatalog.register(name, partial(_load, name, Path(json_file), Path(image_root)))
    metadata.set(json_file=json_file, image_root=image_root, evaluator_type="coco")


def read_records(name: str, json_file: Path, image_root: Path) -> list[dict]:
    """Detectron2's dicts of a dataset in COCO's format, read by its own `load_coco_json`.

    Needs Detectron2.

    Raises:
        DatasetError: the JSON or an image is missing, or the JSON is damaged.
    """
    from detectron2.data.datasets import load_coco_json

    if not json_file.is_file():
        raise DatasetError(f"there is no {json_file.name}")
    if not image_root.is_dir():
        raise DatasetError(f"there is no folder {image_root.name}")
    try:
        records = load_coco_json(str(json_file), str(image_root), name)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())  # in one line
        raise DatasetError(
            f"{json_file.name} is damaged ({type(error).__name__}: {reason})"
        ) from error
    for record in records:
        if not Path(record["file_name"]).is_file():
            raise DatasetError(f"the image {record['file_name']} is missing")
    return records


def _load(name: str, json_file: Path, image_root: Path) -> list[dict]:
    try:
        return read_records(name, json_file, image_root)
    except DatasetError as error:
        raise DatasetError(
            f"the dataset '{name}' cannot be read: {error}. Its files: {json_file}, {image_root}. "
            f"All that is wrong with them: python tools/check_dataset.py {json_file} {image_root}"
        ) from error
