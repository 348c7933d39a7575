"""Ground truth and results of models, from the files that people have."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.checking import read_coco
from ..data.files import DatasetError
from ..data.json_values import is_integer, is_number
from ..data.mask_files import find_labels, find_masks, read_labels, read_mask, split_labels
from ..data.segmentations import (
    RUNS_DO_NOT_ADD_UP,
    SegmentationError,
    check_encoding,
    decode_counts,
    measure_runs,
    read_polygon,
)

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def find_truth(name: str) -> COCO:
    """Ground truth of a registered dataset, or of a JSON in COCO's format.

    Raises:
        DatasetError: there is neither, or its file is missing or broken.
    """
    if Path(name).suffix == ".json" or Path(name).is_file():
        return load_truth(Path(name))
    if find_spec("detectron2") is None:
        raise DatasetError(f"there is no JSON file {name}; names of datasets need Detectron2")
    from detectron2.data import DatasetCatalog, MetadataCatalog

    if name not in DatasetCatalog:
        raise DatasetError(f"{name} is neither a JSON file nor a registered dataset")
    json_file = MetadataCatalog.get(name).get("json_file")
    if json_file is None or not Path(json_file).is_file():
        DatasetCatalog.get(name)  # says what is missing
        raise DatasetError(f"the dataset {name} has no JSON in COCO's format")
    return load_truth(Path(json_file))


def load_truth(json_file: Path) -> COCO:
    """Annotations in COCO's format, without its chatter; areas that are missing are measured.

    Raises:
        DatasetError: the file is missing or is no COCO annotation file.
    """
    from pycocotools import mask as mask_util
    from pycocotools.coco import COCO

    content = read_coco(json_file)
    truth = COCO()
    truth.dataset = content
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
        for annotation in truth.dataset["annotations"]:
            if "area" not in annotation:
                annotation["area"] = float(mask_util.area(truth.annToRLE(annotation)))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DatasetError(f"{json_file} is damaged: {type(error).__name__}: {error}") from error
    if not truth.cats:
        raise DatasetError(f"{json_file} has no categories")
    return truth


def read_results(path: Path, truth: COCO) -> list[dict]:
    """Results of any model as COCO results, with masks as RLE and a box each.

    Args:
        path: a COCO results JSON; or a folder of label images or of one mask for each instance,
            which `data.mask_files` tells apart and finds by the names of the images. Those carry
            neither class nor score: there must be one category, and the score is the share of the
            image that an instance covers, so that large ones come first.
        truth: the ground truth that the results belong to.

    Raises:
        DatasetError: the file or folder is missing, damaged, or does not fit the ground truth.
    """
    return _read_folder(path, truth) if path.is_dir() else _read_results_json(path, truth)


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


def _read_results_json(path: Path, truth: COCO) -> list[dict]:
    content = _read_json(path)
    if not isinstance(content, list):
        raise DatasetError(
            f"{path} has no COCO results: expected a list of "
            '{"image_id", "category_id", "score", "segmentation" or "bbox"}'
        )
    for number, entry in enumerate(content):
        problem = _problem(entry, truth)
        if problem:
            raise DatasetError(f"{path}, result {number}: {problem}")
    _refuse_broken_runs(path, content)
    results = [_with_mask_and_box(entry, truth) for entry in content]
    if len({"segmentation" in r for r in results}) > 1:
        raise DatasetError(f"{path}: some results have a mask and some have none")
    return results


def _problem(entry: object, truth: COCO) -> str | None:
    """What is wrong with a result, if anything is."""
    if not isinstance(entry, Mapping):
        return f"expected an object, not {type(entry).__name__}"
    missing = [k for k in ("image_id", "category_id", "score") if k not in entry]
    if missing:
        return f"no {', '.join(missing)}"
    if not isinstance(entry["image_id"], int | str) or entry["image_id"] not in truth.imgs:
        return f"image {entry['image_id']!r} is not in the ground truth"
    if not is_integer(entry["category_id"]) or entry["category_id"] not in truth.cats:
        return (
            f"category {entry['category_id']!r} is not in the ground truth, which has "
            f"{', '.join(map(str, sorted(truth.cats)[:10]))}{', …' if len(truth.cats) > 10 else ''}"
        )
    if not is_number(entry["score"]):
        return f"score {entry['score']!r} is not a number"
    if "segmentation" not in entry and "bbox" not in entry:
        return "neither segmentation nor bbox"
    box = entry.get("bbox", [0, 0, 0, 0])
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f"bbox {box!r} is not [left, top, width, height]"
    return None if "segmentation" not in entry else _mask_problem(entry, truth)


def _mask_problem(entry: Mapping, truth: COCO) -> str | None:
    """What is wrong with a mask, but for runs that may not add up."""
    mask = entry["segmentation"]
    try:
        if isinstance(mask, Mapping):
            check_encoding(mask, _size(truth, entry))
        elif isinstance(mask, list) and mask:
            for polygon in mask:
                read_polygon(polygon)
        else:
            return "its segmentation is neither polygons nor a run-length encoding"
    except SegmentationError as error:
        return str(error)
    return None


def _refuse_broken_runs(path: Path, results: list[dict]) -> None:
    encoded = [
        (number, r["segmentation"])
        for number, r in enumerate(results)
        if isinstance(r.get("segmentation"), Mapping)
    ]
    if encoded:
        runs, numbers = decode_counts([mask["counts"] for _, mask in encoded])
        measures = measure_runs(runs, numbers, np.array([mask["size"] for _, mask in encoded]))
        for (number, _), valid in zip(encoded, measures.valid, strict=True):
            if not valid:
                raise DatasetError(f"{path}, result {number}: {RUNS_DO_NOT_ADD_UP}")


def _size(truth: COCO, entry: Mapping) -> tuple[int, int]:
    image = truth.imgs[entry["image_id"]]
    return image["height"], image["width"]


def _with_mask_and_box(entry: Mapping, truth: COCO) -> dict:
    from pycocotools import mask as mask_util

    result = dict(entry)
    mask, size = result.get("segmentation"), _size(truth, entry)
    if isinstance(mask, list):
        result["segmentation"] = mask_util.merge(mask_util.frPyObjects(mask, *size))
    elif mask is not None and isinstance(mask["counts"], list):
        result["segmentation"] = mask_util.frPyObjects(mask, *size)
    if mask is not None and "bbox" not in result:
        result["bbox"] = mask_util.toBbox(result["segmentation"]).tolist()
    return result


def _read_folder(folder: Path, truth: COCO) -> list[dict]:
    from pycocotools import mask as mask_util

    if len(truth.cats) != 1:
        raise DatasetError(
            f"{folder}: masks in a folder have no class, but the ground truth has "
            f"{len(truth.cats)} categories: give a COCO results JSON"
        )
    [category] = truth.cats
    images = {Path(image["file_name"]).stem: image for image in truth.imgs.values()}
    if len(images) < len(truth.imgs):
        raise DatasetError(
            f"{folder}: masks cannot be told apart, since images of the ground truth have the "
            f"same name in several folders or with several extensions"
        )
    results = []
    for key, masks in _masks_in(folder, images):
        image = images[key]
        size = (image["height"], image["width"])
        for mask in masks:
            if mask.shape != size:
                raise DatasetError(
                    f"{folder}: a mask of {key} is {mask.shape} pixels (height, width), its image "
                    f"{size}"
                )
            rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": category,
                    "score": float(mask.mean()),
                    "segmentation": rle,
                    "bbox": mask_util.toBbox(rle).tolist(),
                }
            )
    return results


def _masks_in(folder: Path, images: Mapping) -> Iterator[tuple[str, Iterable[np.ndarray]]]:
    """Stem of an image and its masks, of images that have any."""
    is_labels = any(path.stem in images for path in folder.iterdir() if path.is_file())
    if is_labels:
        for key, path in find_labels(folder, images).items():
            yield key, split_labels(read_labels(path))
    else:
        for key, paths in find_masks(folder, images).items():
            yield key, (read_mask(path) for path in paths)
