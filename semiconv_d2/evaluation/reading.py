"""Reads ground truth and results of models from files."""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.coco.checking import find_defects, tell_errors
from ..data.coco.checking_masks import has_box
from ..data.coco.coco_json import read_coco
from ..data.coco.defects import ERROR, Defect, Repair
from ..data.coco.fixing import fix
from ..data.coco.json_values import as_integer, is_integer, is_number, shorten
from ..data.coco.segmentations import (
    RUNS_DO_NOT_ADD_UP,
    bound_outline,
    check_encoding,
    decode_counts,
    draw_polygons,
    measure_runs,
    read_polygon,
)
from ..data.files import describe_folder, read_json
from ..data.formats.mask_files import (
    find_labels,
    find_masks,
    find_suffix,
    read_labels,
    read_mask,
    refuse_binary,
    split_labels,
)
from ..data.names import is_hidden
from ..errors import DatasetError

if TYPE_CHECKING:
    from pycocotools.coco import COCO

logger = logging.getLogger(__name__)

_NEEDED = ("annotation-id-zero", "iscrowd-missing", "area")
"""Kinds of warnings that must be repaired before an evaluation."""

_WARNED_OF = (
    "mostly-left-out",
    "mostly-misplaced",
    "mostly-exchanged",
    "mostly-holes-filled",
    "some-crowds",
)
"""Kinds of defects of a whole dataset that do not prevent an evaluation."""


def find_truth(name: str) -> COCO:
    """Finds and reads the ground truth of a registered dataset, or of a JSON in COCO's format.

    Raises:
        DatasetError: the name is neither of these, or the file is missing or broken.
    """
    if Path(name).suffix == ".json" or Path(name).is_file():
        return load_truth(Path(name))
    if find_spec("detectron2") is None:
        raise DatasetError(
            f"there is no JSON file {name}; to use the name of a dataset, install Detectron2"
        )
    from detectron2.data import DatasetCatalog, MetadataCatalog

    if name not in DatasetCatalog:
        raise DatasetError(f"{name} is neither a JSON file nor a registered dataset")
    json_file = MetadataCatalog.get(name).get("json_file")
    if json_file is None or not Path(json_file).is_file():
        DatasetCatalog.get(name)  # says what is missing
        raise DatasetError(f"the dataset {name} has no JSON in COCO's format")
    return load_truth(Path(json_file))


def load_truth(json_file: Path) -> COCO:
    """Reads annotations in COCO's format, without pycocotools' output.

    Defects that can be repaired without loss are repaired: ids of annotations; numbers and ids that
    are text; boxes, areas and iscrowd that are missing or not valid. Annotations of images that are
    not listed are left out. Warnings name both. Annotations may have only a box.

    Raises:
        DatasetError: the file is missing, is not a COCO annotation file, or has an entry that
            cannot be evaluated.
    """
    from pycocotools.coco import COCO

    truth = COCO()
    truth.dataset = _mend(json_file, read_coco(json_file))
    _refuse_bad_voids(json_file, truth.dataset["images"])
    for annotation in truth.dataset["annotations"]:
        if not annotation.get("segmentation"):  # boxes are often exported with an empty one
            annotation.pop("segmentation", None)
            if not is_number(annotation.get("area")):
                annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _mend(json_file: Path, content: dict) -> dict:
    """A copy of a ground truth with all repairs that lose nothing; other defects are errors."""
    defects = find_defects(content, None, quick=True)
    strays = [d for d in defects if d.kind == "unknown-image" and d.repair is Repair.DROP]
    left_out = {("annotations", stray.index) for stray in strays}
    repairs, errors = [], []
    for defect in defects:
        if (defect.part, defect.index) in left_out:
            continue
        if defect.kind in _WARNED_OF:
            logger.warning("%s: %s", json_file, defect)
            continue
        entry = content[defect.part][defect.index] if defect.part else {}
        if defect.kind in ("segmentation-missing", "segmentation-empty") and has_box(entry):
            continue
        if _loses_nothing(defect, entry):
            repairs.append(defect)
        elif defect.severity == ERROR:
            errors.append(defect)
    if len(strays) == len(content["annotations"]):
        errors += strays
    if errors:
        raise DatasetError(tell_errors(json_file, errors))
    if strays:
        count = len(strays)
        logger.warning("%s: left out %d annotations of images not listed", json_file, count)
    if repairs:
        counts = Counter(defect.kind for defect in repairs)
        told = ", ".join(f"{kind} ({count:,})" for kind, count in counts.items())
        logger.warning("%s: repaired for this evaluation, not in the file: %s", json_file, told)
    return fix(content, [*repairs, *strays])[0] if repairs or strays else content


def _loses_nothing(defect: Defect, entry: Mapping) -> bool:
    """Whether a repair is needed here and loses nothing. It must not change the ids of images and
    categories, because results refer to them."""
    if defect.kind == "polygon-odd":
        return defect.repair is Repair.DROP_POLYGON  # Detectron2 leaves it out too
    if defect.kind == "polygon-long":
        return defect.repair is Repair.CLIP_POLYGON  # what lies outside the image is not visible
    if defect.repair is not Repair.SET or defect.kind == "ignore":
        return False
    if defect.severity != ERROR and defect.kind not in _NEEDED:
        return False
    ids = ("image_id", "category_id", *(["id"] if defect.part != "annotations" else []))
    return all(as_integer(entry.get(k)) == v for k, v in defect.value.items() if k in ids)


def _refuse_bad_voids(json_file: Path, images: Iterable[Mapping]) -> None:
    where = f"{json_file}: void pixels of image"
    voids = {image["id"]: image["void"] for image in images if "void" in image}
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    for number, void in voids.items():
        with _naming(f"{where} {number}"):
            if not isinstance(void, Mapping):
                raise DatasetError("not a run-length encoding")
            check_encoding(void, sizes[number])
    _refuse_broken_runs(where, voids)


def read_results(path: Path, truth: COCO, label_suffix: str = "") -> list[dict]:
    """Reads the results of any model as COCO results, with masks as RLE, and a box for each.

    Args:
        path: a COCO results JSON; or a folder of label images, or of one mask per instance.
            `data.formats.mask_files` finds these by the names of the images. They have no class
            and no score. So there must be one category, and the score is the share of the image
            that an instance covers: large instances come first.
        truth: the ground truth that the results belong to.
        label_suffix: suffix of label images after the name of the image, such as "_cp_masks".

    Raises:
        DatasetError: the file or folder is missing, damaged, or does not fit the ground truth.
    """
    if path.is_dir():
        return _read_folder(path, truth, label_suffix)
    return _read_results_json(path, truth)


def _read_results_json(path: Path, truth: COCO) -> list[dict]:
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(
            f"{path} has no COCO results: expected a list of "
            '{"image_id", "category_id", "score", "segmentation" or "bbox"}'
        )
    for number, entry in enumerate(content):
        with _naming(f"{path}, result {number}"):
            _check_result(entry, truth)
    masks = {n: entry["segmentation"] for n, entry in enumerate(content) if "segmentation" in entry}
    _refuse_broken_runs(f"{path}, result", masks)
    if 0 < len(masks) < len(content):
        raise DatasetError(f"{path}: some results have a mask and some have none")
    return [_with_mask_and_box(entry, truth) for entry in content]


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Adds the place of an error to its message."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error


def _check_result(entry: object, truth: COCO) -> None:
    """Raises `DatasetError` if an entry is not a valid result. Does not check that runs add up."""
    if not isinstance(entry, Mapping):
        raise DatasetError(f"expected an object, not {type(entry).__name__}")
    missing = [k for k in ("image_id", "category_id", "score") if k not in entry]
    if missing:
        raise DatasetError(f"no {', '.join(missing)}")
    for key, what, known in (
        ("image_id", "image", truth.imgs),
        ("category_id", "category", truth.cats),
    ):
        if not is_integer(entry[key]) or entry[key] not in known:
            raise DatasetError(
                f"{what} {shorten(entry[key])} is not in the ground truth, {_listed(known)}"
            )
    if not is_number(entry["score"]):
        raise DatasetError(f"score {shorten(entry['score'])} is not a number")
    if "segmentation" not in entry and "bbox" not in entry:
        raise DatasetError("neither segmentation nor bbox")
    box = entry.get("bbox", [0, 0, 0, 0])
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise DatasetError(f"bbox {shorten(box)} is not [left, top, width, height]")
    mask, image = entry.get("segmentation"), truth.imgs[entry["image_id"]]
    if isinstance(mask, Mapping):
        check_encoding(mask, (image["height"], image["width"]))
    elif isinstance(mask, list) and mask:
        for polygon in mask:
            bound_outline(read_polygon(polygon), (image["height"], image["width"]))
    elif "segmentation" in entry:
        raise DatasetError("its segmentation is neither polygons nor a run-length encoding")


def _listed(ids: Iterable[int]) -> str:
    first = sorted(ids)
    return f"which has {', '.join(map(str, first[:10]))}{', …' if len(first) > 10 else ''}"


def _refuse_broken_runs(where: str, masks: Mapping[int, object]) -> None:
    """Raises `DatasetError` if the runs of a mask do not add up to the size of its image.

    Args:
        where: beginning of the message.
        masks: masks that have passed all other checks, by the number for the message. Polygons are
            skipped.
    """
    encoded = {number: mask for number, mask in masks.items() if isinstance(mask, Mapping)}
    if encoded:
        runs, numbers = decode_counts([mask["counts"] for mask in encoded.values()])
        sizes = np.array([mask["size"] for mask in encoded.values()])
        valid = measure_runs(runs, numbers, sizes).valid
        for number, adds_up in zip(encoded, valid, strict=True):
            if not adds_up:
                raise DatasetError(f"{where} {number}: {RUNS_DO_NOT_ADD_UP}")


def _with_mask_and_box(entry: Mapping, truth: COCO) -> dict:
    from pycocotools import mask as mask_util

    if "segmentation" not in entry:
        return dict(entry)
    mask = entry["segmentation"]
    if isinstance(mask, list):
        image = truth.imgs[entry["image_id"]]
        size = (image["height"], image["width"])
        mask = draw_polygons(list(map(read_polygon, mask)), size)
        mask = mask or mask_util.encode(np.zeros(size, dtype=np.uint8, order="F"))
    else:
        mask = truth.annToRLE(entry)
    return {"bbox": mask_util.toBbox(mask).tolist(), **entry, "segmentation": mask}


def _read_folder(folder: Path, truth: COCO, label_suffix: str) -> list[dict]:
    from pycocotools import mask as mask_util

    if len(truth.cats) != 1:
        raise DatasetError(
            f"{folder}: masks in a folder have no class, but the ground truth has "
            f"{len(truth.cats)} categories: give a COCO results JSON"
        )
    [category] = truth.cats
    if not all(isinstance(image.get("file_name"), str) for image in truth.imgs.values()):
        raise DatasetError(
            f"{folder}: masks are found by the file_name of images, which the ground truth lacks"
        )
    images = {Path(image["file_name"]).stem: image for image in truth.imgs.values()}
    if len(images) < len(truth.imgs):
        raise DatasetError(
            f"{folder}: it is not clear to which images the masks belong, since images of the "
            f"ground truth have the same name in several folders or with several extensions"
        )
    results = []
    for key, masks in _masks_in(folder, images, label_suffix).items():
        image = images[key]
        size = (image["height"], image["width"])
        for mask in masks:
            if mask.shape != size:
                raise DatasetError(
                    f"{folder}: a mask of {key} has {mask.shape} pixels (height, width), but its "
                    f"image {size}"
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


def _masks_in(folder: Path, images: Mapping, label_suffix: str) -> dict[str, Iterator[np.ndarray]]:
    """The masks of each image that has a mask file, by the stem of the image."""
    files = [path for path in folder.iterdir() if path.is_file() and not is_hidden(path)]
    own = [path for path in files if path.stem in images]
    suffix = find_suffix(files, images)
    if own and suffix and not label_suffix:
        key = own[0].stem
        raise DatasetError(
            f"{folder} has {own[0].name} and {key}{suffix}: give --label-suffix {suffix} if files "
            f"such as the second are the labels, or move them to another folder"
        )
    strays: list[str] = []
    if label_suffix or own:
        labels = find_labels(folder, images, label_suffix, strays)
        found = {key: _read_label_masks(path) for key, path in labels.items()}
    else:
        masks = find_masks(folder, images, strays)
        found = {key: map(read_mask, paths) for key, paths in masks.items()}
    if not found:
        key = next(iter(images))
        expected = f"{key}{label_suffix}.png" + ("" if label_suffix else f", {key}_1.png or {key}/")
        raise DatasetError(
            f"{folder} has no masks for any of the {len(images)} images; expected a name such as "
            f"{expected} (see --label-suffix); found: {describe_folder(folder)}"
        )
    if strays:
        message = "%s: skipped %d files of other images, the first: %s"
        logger.warning(message, folder, len(strays), strays[0])
    if len(found) < len(images):
        lacking = len(images) - len(found)
        logger.warning("%s: %d of %d images have no mask file", folder, lacking, len(images))
    return found


def _read_label_masks(path: Path) -> Iterator[np.ndarray]:
    labels = read_labels(path)
    refuse_binary(path, labels)
    yield from split_labels(labels)
