"""Names of datasets in Detectron2's catalogs: of prepared datasets, and of users' own files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from ...errors import DatasetError
from ..coco.coco_json import read_coco
from ..coco.json_values import is_integer
from ..files import describe_folder, one_line
from . import bbbc010, cvppp, dots, dsb2018, sbd, synthetic_worms, voc
from .prepared import datasets_root, images_path, json_path

logger = logging.getLogger(__name__)

_OF_CLASSES = ("thing_classes", "thing_dataset_id_to_contiguous_id")
"""What Detectron2 notes about the classes of a dataset when it reads the dataset."""


@dataclass(frozen=True)
class PreparedDataset:
    """One registered name and what it stands for."""

    name: str
    folder: str
    """Name of the prepared folder below DETECTRON2_DATASETS."""
    split: str
    categories: Sequence[str]
    command: str
    """The command that prepares the folder."""


def _named(
    prefix: str, module: ModuleType, command: str, folder: str = "", splits: Sequence[str] = ()
) -> list[PreparedDataset]:
    """One name for each split that a module prepares."""
    folder, command = folder or module.FOLDER, f"semiconv prepare {command}"
    return [
        PreparedDataset(f"{prefix}_{split}", folder, split, module.CATEGORIES, command)
        for split in splits or module.SPLITS
    ]


_VOC = "PATH/TO/VOCdevkit/VOC"
_SBD = "sbd PATH/TO/benchmark_RELEASE/dataset"
PREPARED_DATASETS = (
    *_named("voc_2012_instance", voc, f"voc {_VOC}2012", voc.folder_name(2012)),
    *_named("voc_2007_instance", voc, f"voc {_VOC}2007", voc.folder_name(2007)),
    *_named("sbd_instance", sbd, _SBD),
    *_named(
        "sbd_voc_2012_instance", sbd, f"{_SBD} --voc {_VOC}2012", sbd.UNION_FOLDER, sbd.UNION_SPLITS
    ),
    *_named("bbbc010", bbbc010, "bbbc010 PATH/TO/BBBC010"),
    *_named(
        "bbbc010_bright_field",
        bbbc010,
        "bbbc010 PATH/TO/BBBC010 --bright-field",
        bbbc010.BRIGHT_FIELD_FOLDER,
    ),
    *_named("cvppp_a1", cvppp, "cvppp_a1 PATH/TO/A1"),
    *_named("dsb2018", dsb2018, "dsb2018 PATH/TO/stage1_train"),
    *_named("synthetic_worms", synthetic_worms, "synthetic_worms"),
    *_named("dots", dots, "dots"),
)


def register_prepared_datasets() -> None:
    """Register all names of `PREPARED_DATASETS`; names that are registered already are kept.

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
            f"Prepare it with: {dataset.command} (the environment variable DETECTRON2_DATASETS "
            f"names the folder of all datasets)"
        ) from error


def register(name: str, json_file: str | Path, image_root: str | Path) -> None:
    """Register a dataset under a name, so that a config can name it.

    Needs Detectron2. The files are first looked at when the dataset is loaded. Registering the same
    files under the same name again reads them anew, with the classes that they have then.

    Args:
        name: for DATASETS.TRAIN and DATASETS.TEST.
        json_file: annotations in COCO's format.
        image_root: the folder of the images; file names in the JSON are relative to it.

    Raises:
        DatasetError: the name is taken by other files.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog

    json_file, image_root = str(json_file), str(image_root)
    metadata = MetadataCatalog.get(name)
    if name in DatasetCatalog:
        if (metadata.get("json_file"), metadata.get("image_root")) != (json_file, image_root):
            raise DatasetError(f"the dataset '{name}' is registered already, for other files")
        kept = {k: v for k, v in metadata.as_dict().items() if k not in ("name", *_OF_CLASSES)}
        MetadataCatalog.remove(name)
        MetadataCatalog.get(name).set(**kept)
        return
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
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise DatasetError(f"{json_file.name} is damaged ({reason})") from error
    for record in records:
        if not Path(record["file_name"]).is_file():
            raise DatasetError(f"the image {record['file_name']} is missing")
    return records


def _refuse_other_classes(name: str, json_file: Path) -> None:
    """Raises `DatasetError` if the classes in a JSON have changed since Detectron2 has read it."""
    from detectron2.data import MetadataCatalog

    before = MetadataCatalog.get(name).get("thing_classes")
    try:
        entries = read_coco(json_file)["categories"]
    except DatasetError:
        return  # the reader reports it
    if before is None or not all(is_integer(entry.get("id")) for entry in entries):
        return
    now = [entry.get("name") for entry in sorted(entries, key=lambda entry: entry["id"])]
    if list(before) != now:
        raise DatasetError(
            f"{json_file.name} has the classes {', '.join(map(str, now))}, but '{name}' was "
            f"registered or read with the classes {', '.join(map(str, before))}: to read it anew, "
            f"call semiconv_d2.data.register again, or give it another name"
        )


def _load(name: str, json_file: Path, image_root: Path) -> list[dict]:
    _refuse_other_classes(name, json_file)
    try:
        return read_records(name, json_file, image_root)
    except DatasetError as error:
        raise DatasetError(
            f"the dataset '{name}' cannot be read: {error}. Its files: {json_file}, {image_root}. "
            f"To list all their defects: semiconv check {json_file} {image_root}"
        ) from error
