"""The images of a report: the detections of each model, and the images that change most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from ..data.geometry import CONTACT
from ..data.pixels import Reading, read_rgb
from ..errors import DatasetError
from ..evaluation import Detections, lacks
from ..evaluation.measures.coco import AREAS
from ..evaluation.measures.difficulty import measure_instances
from ..evaluation.measures.errors import BACKGROUND
from ..evaluation.pairs import ImagePairs, pair_images
from . import page as pages
from .pictures import box_path, embed_image, mask_path, picture_size

if TYPE_CHECKING:
    from pycocotools.coco import COCO

FOUND = 0.5
"""Smallest IoU of an instance that counts as found."""

_SIZES = ("small, up to 32²", "medium, up to 96²", "large")


class Shown(NamedTuple):
    """The D detections of a run in an image that reach its score threshold, and their instances."""

    results: list[dict]
    """The D results, best first."""
    owner: np.ndarray
    """(D,) index of the instance that each is paired with; −1: false positive."""
    iou: np.ndarray
    """(G,) IoU of each instance, without crowd regions, with its detection; 0: no detection."""


def build_gallery(
    by_run: Mapping[str, Detections],
    root: str | Path | None,
    most: int,
    reading: Reading = Reading(),
) -> tuple[pages.Gallery, list[str]]:
    """Builds the gallery, and a note about missing images.

    Args:
        by_run: detections by the name of the run, for the same ground truth.
        root: folder of the images; None: not known.
        most: largest number of images in the gallery, those that change most.
        reading: how image files are read.
    """
    truth = next(iter(by_run.values())).truth
    overlap = common_overlap(list(by_run.values()))
    contacts = measure_instances(truth)[CONTACT.name] if lacks("difficulty") is None else {}
    ids = sorted(truth.imgs)
    shown, changes, chosen = choose_images(by_run, most, overlap)
    pictures, missing = [], []
    for index in tqdm(chosen, desc="gallery", unit="image", leave=False):
        image = truth.imgs[ids[index]]
        try:
            uri = embed_image(read_pixels(image, root, reading))
        except DatasetError as error:
            uri = ""
            missing.append(error)
        found = [s[index] for s in shown]
        pictures.append(_picture(truth, image, uri, found, contacts))
    classes = [truth.cats[c]["name"] for c in sorted(truth.cats)]
    text = _describe(by_run, overlap, changes, len(chosen))
    gallery = pages.Gallery(text, list(by_run), classes, _SIZES, CONTACT.labels, pictures)
    if missing:
        missing = [
            f"{len(missing):,} of {len(chosen):,} images of the gallery are missing, so their "
            f"masks have no background. The first: {missing[0]}. Give the folder: --image-root "
            "FOLDER."
        ]
    return gallery, missing


def common_overlap(detections: Sequence[Detections]) -> str:
    """The overlap that can compare several runs: "mask" if all have masks, else "box"."""
    return "mask" if all(d.has_masks for d in detections) else "box"


def show_detections(detections: Detections, overlap: str | None = None) -> list[Shown]:
    """The detections that reach the score threshold of S, paired with instances, for each image.

    Args:
        overlap: "mask" or "box", the kind of IoU; by default of masks if all have masks.
    """
    score = detections.threshold.score
    results = [r for r in detections.results if r["score"] >= score]
    overlap = overlap or common_overlap([detections])
    by_image: dict[int, list[dict]] = {}
    for result in results:
        by_image.setdefault(result["image_id"], []).append(result)
    images = zip(
        sorted(detections.truth.imgs), pair_images(detections.truth, results, overlap), strict=True
    )
    return [
        _show(sorted(by_image.get(image_id, []), key=lambda r: -r["score"]), pairs)
        for image_id, pairs in images
    ]


def _show(results: list[dict], pairs: ImagePairs) -> Shown:
    """Pairs detections and instances of the same class, one to one, for the largest sum of IoU. A
    pair needs an IoU of at least `BACKGROUND`. Detections in crowd regions of their class are left
    out."""
    from scipy.optimize import linear_sum_assignment

    single = np.flatnonzero(~pairs.crowd)
    same = pairs.classes[:, None] == pairs.truth_classes[None]
    in_crowd = (same & pairs.crowd & (pairs.iou >= FOUND)).any(axis=1)
    iou = np.where(same & (pairs.iou >= BACKGROUND), pairs.iou, 0)[:, single]
    owner, best = np.full(len(results), -1), np.zeros(len(single))
    rows, columns = linear_sum_assignment(iou, maximize=True)
    paired = iou[rows, columns] > 0
    owner[rows[paired]] = columns[paired]
    best[columns[paired]] = iou[rows, columns][paired]
    kept = (owner >= 0) | ~in_crowd
    return Shown([r for r, k in zip(results, kept, strict=True) if k], owner[kept], best)


def choose_images(
    by_run: Mapping[str, Detections], most: int, overlap: str | None = None
) -> tuple[list[list[Shown]], np.ndarray, list[int]]:
    """The detections of each run in each of I images; the changes of the images, (I,), see
    `measure_changes`; and the indices of the images to show, see `choose_pictures`."""
    shown = [show_detections(detections, overlap) for detections in by_run.values()]
    changes = measure_changes(shown)
    empty = np.array([not len(found.iou) for found in shown[0]], dtype=bool)
    return shown, changes, choose_pictures(changes, most, empty)


def measure_changes(shown: Sequence[Sequence[Shown]]) -> np.ndarray:
    """How much better each image is in the last run than in the first, (I,).

    It is the mean difference of IoU over the instances of the image; 0 if it has none. If there is
    only one run: its mean IoU minus 1.

    Args:
        shown: for each run, its detections in each of I images.
    """
    last = shown[-1]
    before = [s.iou for s in shown[0]] if len(shown) > 1 else [np.ones_like(s.iou) for s in last]
    changes = [s.iou - b for s, b in zip(last, before, strict=True)]
    return np.array([float(c.mean()) if len(c) else 0.0 for c in changes])


def choose_pictures(changes: np.ndarray, most: int, empty: np.ndarray | None = None) -> list[int]:
    """Indices of at most `most` images: half with the largest losses, half with the largest gains;
    in the order of the images.

    Args:
        changes: changes of the I images, (I,).
        most: largest number of images.
        empty: (I,) bool: images without instances, chosen only when no others are left.
    """
    if len(changes) <= most:
        return list(range(len(changes)))
    empty = np.zeros(len(changes), dtype=bool) if empty is None else empty
    order = np.argsort(changes, kind="stable")
    full = order[~empty[order]]
    middle = (len(full) + 1) // 2  # images in the middle are chosen last
    order = np.concatenate([full[:middle], np.flatnonzero(empty), full[middle:]])
    losses = (most + 1) // 2
    return sorted([*order[:losses].tolist(), *order[len(order) - (most - losses) :].tolist()])


def _describe(
    by_run: Mapping[str, Detections], overlap: str, changes: np.ndarray, shown: int
) -> list[str]:
    scores = ", ".join(f"{d.threshold.score:.3g} for {name}" for name, d in by_run.items())
    text = [
        f"The pictures show detections with at least this score: {scores}. Each detection is "
        f"paired with at most one instance of its class, so that the sum of IoU is as large as "
        f"possible. A pair needs an IoU of at least {BACKGROUND}. A detection without a pair is a "
        f"false positive. An instance counts as found if its IoU is at least {FOUND}.",
    ]
    if overlap == "box":
        text.append(
            "Not all runs and instances have masks, so the IoU of all runs is that of boxes."
        )
    if len(by_run) > 1:
        a, *_, b = by_run
        better, worse = int((changes > 0).sum()), int((changes < 0).sum())
        text.append(
            f"The change of an image is the IoU in the second run minus the IoU in the first, "
            f"averaged over its instances that pass the filters. A missed instance has an IoU of "
            f"0. False positives do not count here; their number is shown beside it. Of all "
            f"{len(changes):,} images, {better:,} are better in {b} than in {a}, {worse:,} are "
            f"worse, and {len(changes) - better - worse:,} are the same."
        )
    if shown < len(changes):
        text.append(
            f"This page shows {shown:,} of {len(changes):,} images: half with the "
            f"{'largest gains' if len(by_run) > 1 else 'best masks'}, half with the "
            f"{'largest losses' if len(by_run) > 1 else 'worst masks'}."
        )
    return text


def read_pixels(
    image: dict,
    root: str | Path | None,
    reading: Reading = Reading(),
) -> np.ndarray:
    """Reads an image of the ground truth, (H, W, 3) uint8 in RGB.

    Args:
        image: its entry in the ground truth.
        root: folder of the images; None: not known.
        reading: how image files are read.

    Raises:
        DatasetError: the image is missing, broken or of another size.
    """
    if root is None:
        raise DatasetError("the dataset has no folder of images")
    path = Path(root, image["file_name"])
    pixels = read_rgb(path, reading)
    size = image["height"], image["width"]
    if pixels.shape[:2] != size:
        raise DatasetError(f"{path} has {pixels.shape[:2]} pixels, not {size} (height, width)")
    return pixels


def _picture(
    truth: COCO, image: dict, uri: str, shown: Sequence[Shown], contacts: dict[int, float]
) -> pages.Picture:
    annotations = truth.imgToAnns.get(image["id"], [])
    single = [a for a in annotations if not a.get("iscrowd", 0)]
    numbers = {category: index for index, category in enumerate(sorted(truth.cats))}
    instances = [
        pages.Instance(
            numbers[a["category_id"]],
            int(sum(a["area"] > high for _, high in list(AREAS.values())[:2])),
            int(CONTACT.of(np.array(contacts.get(a["id"], 0.0)))),
            float(contacts.get(a["id"], 0.0)),
            float(a["area"]),
            [float(s.iou[index]) for s in shown],
        )
        for index, a in enumerate(single)
    ]
    size = picture_size(image["height"], image["width"])
    found = [
        [
            pages.Drawn(_path(truth, r), int(o), float(r["score"]), numbers[r["category_id"]])
            for r, o in zip(s.results, s.owner, strict=True)
        ]
        for s in shown
    ]
    crowds = [_path(truth, a) for a in annotations if a.get("iscrowd", 0)]
    return pages.Picture(
        image["file_name"], *size, uri, instances, [_path(truth, a) for a in single], crowds, found
    )


def _path(truth: COCO, thing: dict) -> str:
    """The outline of an annotation or a result; of its box if it has no mask."""
    from pycocotools import mask as mask_util

    if thing.get("segmentation"):
        return mask_path(mask_util.decode(truth.annToRLE(thing)) > 0)
    image = truth.imgs[thing["image_id"]]
    return box_path(thing["bbox"], image["height"], image["width"])
