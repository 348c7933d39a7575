"""How much mask IoU is lost to confusion with neighbours, and how well a model separates the pixels
of an instance from those of its neighbours.

Everything is measured in the boxes of the ground truth, with the true classes. So errors of boxes
and scores do not count. With competition, the competitors are the true instances too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.layers import paste_masks_in_image
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from experiments.dataset_dicts import record_masks
from semiconv_d2.data.geometry import CONTACT, contact
from semiconv_d2.errors import ConfigError
from semiconv_d2.inference.explanation import can_explain
from semiconv_d2.ops import seed_embedding
from semiconv_d2.training.checks import EVALUATION, check_tests, check_weights
from semiconv_d2.training.loading import build_checked, load_trained
from semiconv_d2.training.trainer import Trainer

THRESHOLD = 0.5  # for the probabilities of masks


class Ownership(NamedTuple):
    """Values of N instances, (N,) each; NaN if a value cannot be measured."""

    contact: np.ndarray
    """Share of the outline that is in contact with other instances."""
    as_it_is: np.ndarray
    """IoU of the predicted mask."""
    suppressed: np.ndarray
    """IoU after removing the pixels of other instances. Evidence that can only lower logits cannot
    do better."""
    known: np.ndarray
    """IoU after also adding all own pixels. Evidence of which instance a pixel belongs to cannot do
    better. Errors against the background stay."""
    by_logits: np.ndarray
    """How well the mask logits s separate own pixels in the box from those of other instances: area
    under the ROC curve; 0.5 is chance."""
    by_kernel: np.ndarray
    """The same for K; with competition for P, with the true instances as competitors."""
    by_rescored: np.ndarray
    """The same for ŝ."""
    by_true_seed: np.ndarray
    """The same as `by_kernel`, but with the mean embedding of the instance's own pixels as the
    seed. It measures the embedding, without the errors of seeds."""


LABELS = {
    "as_it_is": "IoU as it is",
    "suppressed": "IoU, others' pixels taken away",
    "known": "IoU, own pixels claimed as well",
    "by_logits": "own against others': s",
    "by_kernel": "own against others': kernel",
    "by_rescored": "own against others': ŝ",
    "by_true_seed": "own against others': kernel of the true seed",
}


def measure_ownership(cfg: CfgNode) -> Ownership:
    """Measures the model of a config on its first test dataset.

    Raises:
        ConfigError: see `check_weights`, `check_tests` and `load_trained`; or the model does not
            predict masks of boxes.
    """
    check_weights(cfg, EVALUATION)
    check_tests(cfg, EVALUATION)
    model = build_checked(lambda: build_model(cfg), "MODEL").eval()
    if not hasattr(getattr(model, "roi_heads", None), "mask_pooler"):
        raise ConfigError(f"{type(model).__name__} has no masks of regions: use a Mask R-CNN.")
    load_trained(model, cfg.MODEL.WEIGHTS)
    parts = list(_measure_images(cfg, model))
    if not parts:
        raise ConfigError(f"{cfg.DATASETS.TEST[0]} has no instance.")
    return Ownership(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def format_ownership(measured: Ownership) -> str:
    """A table of the means over all instances and by contact, in percent."""
    bins = CONTACT.of(measured.contact)
    groups = {"all": np.ones(len(bins), dtype=bool)}
    groups |= {name: bins == number for number, name in enumerate(CONTACT.labels)}
    rows = [["instances", *(f"{inside.sum():,}" for inside in groups.values())]]
    for key, label in LABELS.items():
        values = 100 * getattr(measured, key)
        if np.isfinite(values).any():
            rows.append([label, *(_mean(values[inside]) for inside in groups.values())])
    headers = ["", *(n if n == "all" else f"contact {n}" for n in groups)]
    return tabulate(
        rows, headers, disable_numparse=True, colalign=("left", *["right"] * len(groups))
    )


def separation(values: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """The area under the ROC curve: among pairs of an own pixel and another one, the share of pairs
    in which the own pixel has the larger value.

    Pairs of equal values count half. NaN if there is no pair.

    Args:
        values: of any shape.
        own, others: which pixels are own or other ones, boolean, of the same shape.
    """
    from scipy.stats import rankdata

    a, b = values[own], values[others]
    if not len(a) or not len(b):
        return float("nan")
    ranks = rankdata(np.concatenate([a, b]))[: len(a)]
    return float((ranks.sum() - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)))


def _mean(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.1f}" if len(known) else "–"


@torch.no_grad()
def _measure_images(cfg: CfgNode, model: nn.Module) -> Iterator[Ownership]:
    name = cfg.DATASETS.TEST[0]
    records = {r["image_id"]: r for r in DatasetCatalog.get(name)}
    loader = Trainer.build_test_loader(cfg, name)
    for [image] in tqdm(loader, desc="images", unit="image", file=sys.stderr):
        record = records[image["image_id"]]
        masks = torch.from_numpy(record_masks(record))
        if len(masks):
            yield _measure_image(model, image, record, masks)


def _measure_image(model: nn.Module, image: dict, record: dict, truth: Tensor) -> Ownership:
    annotations = [a for a in record["annotations"] if not a.get("iscrowd", 0)]
    boxes = torch.tensor(
        [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations],
        dtype=torch.float32,
    )
    classes = torch.tensor([a["category_id"] for a in annotations])
    batch = model.preprocess_image([image])
    height, width = batch.image_sizes[0]
    scale = torch.tensor([width / image["width"], height / image["height"]]).repeat(2)
    regions = Boxes((boxes * scale).to(model.device))
    features = model.backbone(batch.tensor)
    logits, log_kernel, rescored = _logits(model, features, regions, classes)

    covered = truth.sum(dim=0)
    found = paste_masks_in_image(
        rescored.sigmoid(), Boxes(boxes), truth.shape[1:], threshold=THRESHOLD
    )
    others = (covered > 0) & ~truth
    suppressed = found & ~others

    side = logits.shape[-1]
    own = _crop(truth, boxes, side)
    shared = _crop(truth & (covered > 1), boxes, side)
    foreign = _crop(others, boxes, side) & ~own
    own &= ~shared

    def tell_apart(values: Tensor | None) -> np.ndarray:
        if values is None:
            return np.full(len(truth), np.nan)
        arrays = (x.numpy() for x in (values, own, foreign))
        return np.array([separation(*one) for one in zip(*arrays, strict=True)])

    same_side = rescored if rescored.shape == logits.shape else None
    return Ownership(
        np.asarray(contact(truth.numpy())),
        _iou(found, truth),
        _iou(suppressed, truth),
        _iou(suppressed | truth, truth),
        tell_apart(logits),
        tell_apart(log_kernel),
        tell_apart(same_side if log_kernel is not None else None),
        tell_apart(_closeness(model, features, regions, own) if log_kernel is not None else None),
    )


def _logits(
    model: nn.Module, features: dict[str, Tensor], boxes: Boxes, classes: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """s, log K and ŝ of regions, (R, M, M) each, on the CPU; log K is None without a kernel."""
    heads, classes = model.roi_heads, classes.to(boxes.device)
    if can_explain(model):
        # The size of the image is not used.
        regions = Instances((0, 0), pred_boxes=boxes, pred_classes=classes)
        masks = heads.rescore_masks(features, [regions])
        return masks.logits.cpu(), masks.log_kernel.cpu(), masks.rescored.cpu()
    pooled = heads.mask_pooler([features[f] for f in heads.mask_in_features], [boxes])
    logits = heads.mask_head.layers(pooled)
    one = logits[torch.arange(len(classes)), classes if logits.shape[1] > 1 else 0].float().cpu()
    return one, None, one


def _closeness(model: nn.Module, features: dict[str, Tensor], boxes: Boxes, own: Tensor) -> Tensor:
    """log K, or log P, with the mean embedding of a region's own pixels as its seed, (R, M, M), on
    the CPU."""
    heads, branch = model.roi_heads, model.roi_heads.mask_branch
    scene = heads.scene(features)
    embedding = branch.region_embedding(scene.maps, [boxes])
    weights = own.to(embedding) / own.flatten(1).sum(dim=1).clamp(min=1)[:, None, None].to(
        embedding
    )
    seed = seed_embedding(weights, embedding)
    competitors = heads.competitors(scene, [Instances((0, 0), pred_boxes=boxes)])
    evidence = branch.seed_kernel.compare(embedding, seed, competitors)
    return (nn.functional.logsigmoid(evidence) if branch.competes else evidence).cpu()


def _crop(masks: Tensor, boxes: Tensor, side: int) -> Tensor:
    return BitMasks(masks).crop_and_resize(boxes, side)


def _iou(a: Tensor, b: Tensor) -> np.ndarray:
    """The IoU of each pair of masks, (N, H, W) each."""
    shared, either = (a & b).flatten(1).sum(dim=1), (a | b).flatten(1).sum(dim=1)
    return (shared / either.clamp(min=1)).numpy().astype(np.float64)


def columns(measured: Ownership) -> dict[str, Sequence[float]]:
    """The values of all instances for JSON, None instead of NaN."""
    return {
        key: [None if np.isnan(v) else round(float(v), 4) for v in values]
        for key, values in measured._asdict().items()
    }
