"""Names of datasets in Detectron2's catalogs: of prepared ones, and of anybody's own files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import DatasetError
from ..files import describe_folder
from . import bbbc010, dots, sbd, synthetic_worms, voc
from .prepared import datasets_root, images_path, json_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedDataset:
    """One registered name and what it stands for."""

    name: str
    folder: str
    """Name of the prepared folder below DETECTRON2_DATASETS."""
    split: str
    categories: Sequence[str]
    command: str
    """What prepares the folder."""


PREPARED_DATASETS = tuple(
    PreparedDataset(f"{prefix}_{split}", folder, split, categories, f"python datasets/{command}")
    for prefix, folder, splits, categories, command in (
        (
            "voc_2012_instance",
            voc.folder_name(2012),
            voc.SPLITS,
            voc.CATEGORIES,
            "prepare_voc.py PATH/TO/VOCdevkit/VOC2012",
        ),
        (
            "voc_2007_instance",
            voc.folder_name(2007),
            voc.SPLITS,
            voc.CATEGORIES,
            "prepare_voc.py PATH/TO/VOCdevkit/VOC2007",
        ),
        (
            "sbd_instance",
            sbd.FOLDER,
            sbd.SPLITS,
            sbd.CATEGORIES,
            "prepare_sbd.py PATH/TO/benchmark_RELEASE/dataset",
        ),
        (
            "sbd_voc_2012_instance",
            sbd.UNION_FOLDER,
            sbd.UNION_SPLITS,
            sbd.CATEGORIES,
            "prepare_sbd.py PATH/TO/benchmark_RELEASE/dataset --voc PATH/TO/VOCdevkit/VOC2012",
        ),
        (
            "bbbc010",
            bbbc010.FOLDER,
            bbbc010.SPLITS,
            bbbc010.CATEGORIES,
            "prepare_bbbc010.py PATH/TO/BBBC010",
        ),
        (
            "synthetic_worms",
            synthetic_worms.FOLDER,
            synthetic_worms.SPLITS,
            synthetic_worms.CATEGORIES,
            "prepare_synthetic_worms.py",
        ),
        ("dots", dots.FOLDER, dots.SPLITS, dots.CATEGORIES, "prepare_dots.py"),
    )
    for split in splits
)


def register_prepared_datasets() -> None:
    """Register all names of `PREPARED_DATASETS`; those that are registered already stay as is.

    Needs Detectron2. The folder of all datasets is read from DETECTRON2_DATASETS now; the files
    in it are first looked at when a dataset is loaded.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for dataset in PREPARED_DATASETS:
        if dataset.name in DatasetCatalog:
            logger.debug("the dataset '%s' is registered already", dataset.name)
            continue
        folder = datasets_root() / dataset.folder
        DatasetCatalog.register(dataset.name, partial(load_prepared, dataset, folder))
        MetadataCatalog.get(dataset.name).set(
            json_file=str(json_path(folder, dataset.split)),
            image_root=str(images_path(folder)),
            evaluator_type="coco",
            thing_classes=list(dataset.categories),
            thing_dataset_id_to_contiguous_id={i + 1: i for i in range(len(dataset.categories))},
        )


def load_prepared(dataset: PreparedDataset, folder: Path) -> list[dict]:
    """Detectron2's dicts of a prepared dataset, read by its own `load_coco_json`.

    Needs Detectron2.

    Raises:
        DatasetError: the JSON or an image is missing, or the JSON is damaged. The message names
            the folder expected, what was found in it, and the command that prepares it.
    """
    json_file, images = json_path(folder, dataset.split), images_path(folder)
    try:
        return read_records(dataset.name, json_file, images)
    except DatasetError as error:
        raise DatasetError(
            f"the dataset '{dataset.name}' is not prepared: {error}. Expected {json_file.name} "
            f"and {images.name}/ in {folder.absolute()}; found: {describe_folder(folder)}. "
            f"Prepare it by: {dataset.command} (the environment variable DETECTRON2_DATASETS "
            f"names the folder of all datasets)"
        ) from error


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
