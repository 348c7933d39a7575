"""Ground truth and results of models, from the files that people have."""

from __future__ import annotations

import contextlib
import io
import json
import logging
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

logger = logging.getLogger(__name__)


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
    """Annotations in COCO's format, without its chatter.

    Boxes and areas that are missing are those of the masks, a missing iscrowd is 0. Annotations of
    images that are not listed are left out, which is said.

    Raises:
        DatasetError: the file is missing, is no COCO annotation file, or has an entry that cannot
            be evaluated.
    """
    from pycocotools.coco import COCO

    truth = COCO()
    truth.dataset = read_coco(json_file)
    images, categories = (
        {_whole(json_file, part, n, e, "id"): e for n, e in enumerate(truth.dataset[part])}
        for part in ("images", "categories")
    )
    if not categories:
        raise DatasetError(f"{json_file} has no categories")
    for number, category in categories.items():
        category.setdefault("name", str(number))
    for number, image in images.items():
        if not is_integer(image.get("height")) or not is_integer(image.get("width")):
            raise DatasetError(f"{json_file}: image {number} has no height and width")
    every = truth.dataset["annotations"]
    known = truth.dataset["annotations"] = [a for a in every if a.get("image_id") in images]
    if len(known) < len(every):
        strays = len(every) - len(known)
        logger.warning("%s: left out %d annotations of images not listed", json_file, strays)
    for number, annotation in enumerate(known):
        _check_annotation(json_file, number, annotation, images, categories)
    _refuse_broken_runs(f"{json_file}: annotation", known)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    for annotation in known:
        _complete(annotation, truth, json_file)
    return truth


def _check_annotation(
    json_file: Path, number: int, annotation: dict, images: Mapping, categories: Mapping
) -> None:
    """Refuses what cannot be evaluated; polygons of an odd number of coordinates are left out, as
    Detectron2 leaves them out."""
    _whole(json_file, "annotations", number, annotation, "id")
    where = f"{json_file}: annotation {annotation['id']}"
    if _whole(json_file, "annotations", number, annotation, "category_id") not in categories:
        raise DatasetError(f"{where} has the unknown category {annotation['category_id']}")
    mask = annotation.pop("segmentation", None)
    if mask:  # boxes alone are often exported with an empty one
        annotation["segmentation"] = mask
    if isinstance(mask, list) and mask:
        even = [p for p in mask if not isinstance(p, list) or len(p) % 2 == 0]
        annotation["segmentation"] = even or mask
    image = images[annotation["image_id"]]
    problem = _mask_problem(annotation, (image["height"], image["width"]))
    if problem:
        raise DatasetError(f"{where}: {problem}")


def _whole(json_file: Path, part: str, number: int, entry: Mapping, key: str) -> int:
    if not is_integer(entry.get(key)):
        raise DatasetError(
            f"{json_file}: {part}[{number}] has the {key} {entry.get(key)!r}, which is no whole "
            f"number; python tools/check_dataset.py tells all that is wrong"
        )
    return entry[key]


def _complete(annotation: dict, truth: COCO, json_file: Path) -> None:
    """Box, area and iscrowd of an annotation that lacks them."""
    from pycocotools import mask as mask_util

    annotation.setdefault("iscrowd", 0)
    if annotation.get("segmentation"):
        if "bbox" not in annotation:
            annotation["bbox"] = mask_util.toBbox(truth.annToRLE(annotation)).tolist()
        if "area" not in annotation:
            annotation["area"] = float(mask_util.area(truth.annToRLE(annotation)))
    elif "bbox" not in annotation:
        raise DatasetError(f"{json_file}: annotation {annotation['id']} has neither mask nor box")
    annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])


def read_results(path: Path, truth: COCO, label_suffix: str = "") -> list[dict]:
    """Results of any model as COCO results, with masks as RLE and a box each.

    Args:
        path: a COCO results JSON; or a folder of label images or of one mask for each instance,
            which `data.mask_files` tells apart and finds by the names of the images. Those carry
            neither class nor score: there must be one category, and the score is the share of the
            image that an instance covers, so that large ones come first.
        truth: the ground truth that the results belong to.
        label_suffix: what the names of label images have behind that of the image, such as
            "_cp_masks".

    Raises:
        DatasetError: the file or folder is missing, damaged, or does not fit the ground truth.
    """
    if path.is_dir():
        return _read_folder(path, truth, label_suffix)
    return _read_results_json(path, truth)


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
    _refuse_broken_runs(f"{path}, result", content)
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
    if not is_integer(entry["image_id"]) or entry["image_id"] not in truth.imgs:
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
    image = truth.imgs[entry["image_id"]]
    return _mask_problem(entry, (image["height"], image["width"]))


def _mask_problem(entry: Mapping, size: tuple[int, int]) -> str | None:
    """What is wrong with the mask of a result or annotation, but for runs that do not add up."""
    if "segmentation" not in entry:
        return None
    mask = entry["segmentation"]
    try:
        if isinstance(mask, Mapping):
            check_encoding(mask, size)
        elif isinstance(mask, list) and mask:
            for polygon in mask:
                read_polygon(polygon)
        else:
            return "its segmentation is neither polygons nor a run-length encoding"
    except SegmentationError as error:
        return str(error)
    return None


def _refuse_broken_runs(where: str, entries: list[dict]) -> None:
    encoded = [
        (entry.get("id", number), entry["segmentation"])
        for number, entry in enumerate(entries)
        if isinstance(entry.get("segmentation"), Mapping)
    ]
    if encoded:
        runs, numbers = decode_counts([mask["counts"] for _, mask in encoded])
        measures = measure_runs(runs, numbers, np.array([mask["size"] for _, mask in encoded]))
        for (number, _), valid in zip(encoded, measures.valid, strict=True):
            if not valid:
                raise DatasetError(f"{where} {number}: {RUNS_DO_NOT_ADD_UP}")


def _with_mask_and_box(entry: Mapping, truth: COCO) -> dict:
    from pycocotools import mask as mask_util

    result = dict(entry)
    image = truth.imgs[entry["image_id"]]
    mask, size = result.get("segmentation"), (image["height"], image["width"])
    if isinstance(mask, list):
        result["segmentation"] = mask_util.merge(mask_util.frPyObjects(mask, *size))
    elif mask is not None and isinstance(mask["counts"], list):
        result["segmentation"] = mask_util.frPyObjects(mask, *size)
    if mask is not None and "bbox" not in result:
        result["bbox"] = mask_util.toBbox(result["segmentation"]).tolist()
    return result


def _read_folder(folder: Path, truth: COCO, label_suffix: str) -> list[dict]:
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
    for key, masks in _masks_in(folder, images, label_suffix):
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


def _masks_in(
    folder: Path, images: Mapping, label_suffix: str
) -> Iterator[tuple[str, Iterable[np.ndarray]]]:
    """Stem of an image and its masks, of images that have any."""
    files = [path for path in folder.iterdir() if path.is_file()]
    if label_suffix or any(path.stem in images for path in files):
        for key, path in find_labels(folder, images, label_suffix, pass_over=True).items():
            yield key, split_labels(read_labels(path))
    else:
        for key, paths in find_masks(folder, images, pass_over=True).items():
            yield key, (read_mask(path) for path in paths)
