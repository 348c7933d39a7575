"""What a config takes from its data: the number of classes, and the format of the masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..data.coco.checking import check_before_training
from ..data.coco.coco_json import read_coco
from ..data.coco.describing import InputScale
from ..data.pixels import Reading
from ..errors import ConfigError

logger = logging.getLogger(__name__)

COUNTED_BY_ROI_HEADS = ("GeneralizedRCNN", "PanopticFPN", "InstanceColoring")
"""Meta-architectures whose number of classes is MODEL.ROI_HEADS.NUM_CLASSES."""


def needs_training_data(cfg: CfgNode, eval_only: bool) -> bool:
    """Whether the training datasets are read. For an evaluation, they are read only if the config
    does not give the number of classes."""
    return not eval_only or cfg.MODEL.ROI_HEADS.NUM_CLASSES == 0


def all_datasets(cfg: CfgNode, train: bool) -> list[str]:
    """Names of the datasets of a config, each once.

    Args:
        train: whether to include the training datasets.
    """
    names = [*(cfg.DATASETS.TRAIN if train else ()), *cfg.DATASETS.TEST]
    if cfg.EVALUATION.THRESHOLD_DATASET:
        names.append(cfg.EVALUATION.THRESHOLD_DATASET)
    return list(dict.fromkeys(names))


def adapt_to_data(cfg: CfgNode, train: bool = True, trained: Sequence[str] = ()) -> None:
    """Fits a config to the annotations of its datasets, in place, and logs what it sets.

    If MODEL.ROI_HEADS.NUM_CLASSES is 0, it becomes the number of categories. If training masks are
    run-length encoded, INPUT.MASK_FORMAT becomes "bitmask". INPUT.TRAINED_SIZE and TRAINED_LENGTH
    become those of the training data.

    Args:
        train: whether the training datasets are read too.
        trained: names of the classes that the model was trained with, if they are known.

    Raises:
        ConfigError: the classes of a dataset differ from those of the model or another dataset.
        DatasetError: a dataset has defects with which training or evaluation would fail.
    """
    classes: dict[str, list[str]] = {"the trained model": list(trained)} if trained else {}
    training = []
    for name in all_datasets(cfg, train):
        metadata = MetadataCatalog.get(name)
        json_file, images = metadata.get("json_file"), metadata.get("image_root")
        if not json_file:
            continue
        content = (
            check_before_training(
                Path(json_file), Path(images), _input_scale(cfg, name), Reading.of(cfg.INPUT)
            )
            if images
            else read_coco(Path(json_file))
        )
        classes[name] = [c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])]
        if name in cfg.DATASETS.TRAIN:
            training.append(content)
        if name in cfg.DATASETS.TRAIN and cfg.MODEL.MASK_ON and _has_run_lengths(content):
            if cfg.INPUT.MASK_FORMAT != "bitmask":
                logger.warning(
                    'Masks of %s are run-length encoded: INPUT.MASK_FORMAT is set to "bitmask".',
                    name,
                )
            cfg.INPUT.MASK_FORMAT = "bitmask"
    _fit_classes(cfg, classes)
    _fit_sizes(cfg, training)


def _input_scale(cfg: CfgNode, name: str) -> InputScale:
    """The scale of a dataset's images as the model sees them; in training, the smallest scale."""
    given, trained = cfg.INPUT, name in cfg.DATASETS.TRAIN
    low = min(given.MIN_SIZE_TRAIN) if trained else given.MIN_SIZE_TEST
    high = given.MAX_SIZE_TRAIN if trained else given.MAX_SIZE_TEST
    return InputScale(low, high, most_detections=max(0, cfg.TEST.DETECTIONS_PER_IMAGE))


def _fit_classes(cfg: CfgNode, classes: dict[str, list[str]]) -> None:
    """
    Args:
        classes: names by dataset, in the order of their ids: this is the order of the model's
            classes.
    """
    if cfg.MODEL.META_ARCHITECTURE not in COUNTED_BY_ROI_HEADS:
        return
    heads = cfg.MODEL.ROI_HEADS
    for name, own in classes.items():
        first, expected = next(iter(classes.items()))
        if heads.NUM_CLASSES == 0:
            logger.info(
                "MODEL.ROI_HEADS.NUM_CLASSES is set to %d, the number of categories of %s.",
                len(own),
                name,
            )
            heads.NUM_CLASSES = len(own)
        if len(own) != heads.NUM_CLASSES:
            raise ConfigError(
                f"MODEL.ROI_HEADS.NUM_CLASSES is {heads.NUM_CLASSES}, but the number of categories "
                f"of {name} is {len(own)}. Set the key to 0 to take the number from the data."
            )
        if own != expected:
            number = next(
                i for i, pair in enumerate(zip(own, expected, strict=True)) if len({*pair}) > 1
            )
            raise ConfigError(
                f"The categories of {name} are not those of {first}: class {number}, in the order "
                f"of their ids, is {own[number]} in {name} and {expected[number]} in {first}. "
                "Give the categories ids in the same order in both."
            )
    if heads.NUM_CLASSES == 0:
        raise ConfigError(
            "MODEL.ROI_HEADS.NUM_CLASSES is 0, which takes the number from the data, but no "
            "dataset with annotations is named: set OWN_DATA.TRAIN_JSON and "
            "OWN_DATA.TRAIN_IMAGES, or set the number of classes."
        )


def _fit_sizes(cfg: CfgNode, contents: Sequence[dict]) -> None:
    """
    Args:
        contents: the training data, in COCO's format.
    """
    sizes = [(i["height"], i["width"]) for content in contents for i in content["images"]]
    boxes = [
        annotation["bbox"]
        for content in contents
        for annotation in content["annotations"]
        if "bbox" in annotation and not annotation.get("iscrowd", 0)
    ]
    if sizes:
        height, width = np.median(sizes, axis=0).tolist()
        cfg.INPUT.TRAINED_SIZE = (round(height), round(width))
    if boxes:
        lengths = np.array(boxes, dtype=np.float64)[:, 2:].max(axis=1)
        cfg.INPUT.TRAINED_LENGTH = round(float(np.percentile(lengths, 95)))


def _has_run_lengths(content: dict) -> bool:
    """Whether a training mask is run-length encoded; crowds do not count, they are not trained."""
    return any(
        isinstance(a.get("segmentation"), dict) and not a.get("iscrowd", 0)
        for a in content["annotations"]
    )
