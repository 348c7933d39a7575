"""From the command line to a config that can run on this machine."""

from __future__ import annotations

import argparse
import logging
import re
import warnings
from pathlib import Path

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger
from yaml import YAMLError

from ..config import add_semiconv_config, explain_unknown
from ..data.coco.checking import check_before_training, read_coco
from ..data.datasets.catalog import PREPARED_DATASETS, register
from ..errors import ConfigError, MeasureError
from ..evaluation import check_measures
from ..modeling import SemiConvMixin
from .writers import has_wandb

logger = logging.getLogger(__name__)


COUNTED_BY_ROI_HEADS = ("GeneralizedRCNN", "PanopticFPN", "InstanceColoring")
"""Meta-architectures whose classes MODEL.ROI_HEADS.NUM_CLASSES counts."""


def show_messages(output_dir: str | None = None) -> None:
    """Messages of this package to stdout, and into the folder's log.txt, as Detectron2's own."""
    hush_pytorch()
    name = __name__.partition(".")[0]
    fresh = not logging.getLogger(name).handlers
    if fresh or output_dir:
        setup_logger(output_dir, comm.get_rank(), name=name, configure_stdout=fresh)


def hush_pytorch() -> None:
    """Leaves out what PyTorch says of Detectron2's code: whoever runs a tool cannot mend it."""
    for start in ("torch.meshgrid", "The given NumPy array is not writable"):
        warnings.filterwarnings("ignore", start, UserWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def load_config(config_file: str, overrides: list[str] | None = None) -> CfgNode:
    """A frozen config: Detectron2's and the plugin's defaults, a YAML file, overrides, and a
    device that exists.

    Args:
        config_file: path of a YAML file, or of none with "".
        overrides: KEY VALUE KEY VALUE …

    Raises:
        ConfigError: the file is missing, a key is unknown or a value has the wrong type.
    """
    options = [word for word in overrides or [] if str(word).startswith("--")]
    if options:
        raise ConfigError(f"{options[0]} stands behind the keys: options come before KEY VALUE.")
    cfg = get_cfg()
    add_semiconv_config(cfg)
    if config_file and not Path(config_file).is_file():
        raise ConfigError(f"There is no config file {config_file}.")
    if config_file.endswith(".py"):
        raise ConfigError(
            f"{config_file} is a LazyConfig, which Detectron2's own tools/lazyconfig_train_net.py "
            "trains; the tools here take YAML."
        )
    try:
        if config_file:
            cfg.merge_from_file(config_file)
        cfg.merge_from_list(overrides or [])
    except (
        *(KeyError, TypeError, ValueError, AssertionError, AttributeError),
        *(OSError, YAMLError),
    ) as error:
        where = f"{config_file} {' '.join(overrides or [])}".strip()
        unknown = re.search(r"Non-existent (?:config )?key: ([\w.]+)", str(error))
        reason = (unknown and explain_unknown(unknown[1])) or error
        raise ConfigError(f"{where}: {reason}") from error
    adapt_to_machine(cfg)
    register_own_data(cfg)
    cfg.DATASETS.TRAIN = (
        (cfg.OWN_DATA.TRAIN_JSON,) if cfg.OWN_DATA.TRAIN_JSON else cfg.DATASETS.TRAIN
    )
    cfg.DATASETS.TEST = (cfg.OWN_DATA.TEST_JSON,) if cfg.OWN_DATA.TEST_JSON else cfg.DATASETS.TEST
    cfg.freeze()
    return cfg


def adapt_to_machine(cfg: CfgNode) -> None:
    """MODEL.DEVICE becomes "cpu" without CUDA, and SOLVER.AMP.ENABLED is ignored on the CPU; both
    are said."""
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("There is no CUDA device: running on the CPU.")
        cfg.MODEL.DEVICE = "cpu"
    if cfg.SOLVER.AMP.ENABLED and not cfg.MODEL.DEVICE.startswith("cuda"):
        logger.warning("SOLVER.AMP.ENABLED needs CUDA and is ignored.")
        cfg.SOLVER.AMP.ENABLED = False


def load_checked_config(args: argparse.Namespace) -> CfgNode:
    """The config of Detectron2's standard arguments, fitted to its data and checked as far as that
    takes no time worth speaking of.

    Raises:
        ConfigError: see `load_config`, `check_architecture`, `check_weights`, `check_evaluation`,
            `check_datasets` and `check_writers`.
        DatasetError: a dataset is missing or broken.
    """
    if not args.config_file:
        raise ConfigError("Name a config: --config-file configs/own_semiconv.yaml, say.")
    cfg = load_config(args.config_file, args.opts)
    check_architecture(cfg)
    eval_only = getattr(args, "eval_only", False)
    if eval_only:
        check_evaluation(cfg, args.resume)
    else:
        check_weights(cfg, args.resume)
        check_writers(cfg)
        check_batch(cfg, getattr(args, "num_gpus", 1) * getattr(args, "num_machines", 1))
    # Without a number of classes the training data tell it, also of a model that is evaluated.
    train = not eval_only or cfg.MODEL.ROI_HEADS.NUM_CLASSES == 0
    check_datasets(cfg, train)
    cfg.defrost()
    adapt_to_data(cfg, train)
    cfg.freeze()
    return cfg


def check_architecture(cfg: CfgNode) -> None:
    """Raises `ConfigError` where a model is asked for what it cannot do, or would not."""
    if cfg.MODEL.META_ARCHITECTURE != "InstanceColoring":
        check_mask_options(cfg)
        for key in ("MASK_SCORE", "EXCLUSIVE_MASKS"):
            if cfg.TEST.AUG.ENABLED and cfg.MODEL.SEMICONV[key]:
                logger.warning("Test-time augmentation ignores MODEL.SEMICONV.%s.", key)
        return
    if cfg.TEST.AUG.ENABLED:
        raise ConfigError(
            "TEST.AUG.ENABLED is True: Detectron2's test-time augmentation merges boxes, which "
            "InstanceColoring does without."
        )
    if cfg.MODEL.COLORING.DECODER == "kmeans":
        raise ConfigError(
            "MODEL.COLORING.DECODER is 'kmeans', which has to be told the number of instances of "
            "each image, and datasets do not tell it: take 'greedy' or 'mean_shift'."
        )


def check_batch(cfg: CfgNode, processes: int) -> None:
    """Raises `ConfigError` where the images of a step cannot be shared out."""
    images = cfg.SOLVER.IMS_PER_BATCH
    # With a reference Detectron2 fits the batch to the number of processes itself.
    processes = max(1, cfg.SOLVER.REFERENCE_WORLD_SIZE or processes)
    if images < 1 or images % processes:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH is {images}, the images of a step in all processes together: it "
            f"must be a multiple of their number, {processes}, and at least 1."
        )


def check_mask_options(cfg: CfgNode) -> None:
    """Raises `ConfigError` where options of masks are set for ROI heads that do not know them: a
    stock model without them is not to be compared with one that has them."""
    name = cfg.MODEL.ROI_HEADS.NAME
    if name in ROI_HEADS_REGISTRY and issubclass(ROI_HEADS_REGISTRY.get(name), SemiConvMixin):
        return
    defaults = get_cfg()
    add_semiconv_config(defaults)
    for key in ("MASK_SCORE", "EXCLUSIVE_MASKS"):
        value = cfg.MODEL.SEMICONV[key]
        if value != defaults.MODEL.SEMICONV[key]:
            raise ConfigError(
                f"MODEL.SEMICONV.{key} is {value}, and {name} does not know it. The stock model "
                "with it is MODEL.ROI_HEADS.NAME 'SemiConvROIHeads' with RESCORE False and both "
                "loss weights 0."
            )


def check_writers(cfg: CfgNode) -> None:
    """Raises `ConfigError` where Weights & Biases is asked for and not installed."""
    if cfg.WANDB.PROJECT and not has_wandb():
        raise ConfigError(
            f"WANDB.PROJECT is {cfg.WANDB.PROJECT}, and Weights & Biases is not installed: "
            "`pip install wandb`, or leave the key empty."
        )


def check_weights(cfg: CfgNode, resume: bool, needed: bool = False) -> None:
    """Raises `ConfigError` where MODEL.WEIGHTS is a local file that is missing, or is empty and
    weights are needed."""
    weights = cfg.MODEL.WEIGHTS
    resumes = resume and (Path(cfg.OUTPUT_DIR) / "last_checkpoint").is_file()
    if needed and not weights and not resumes:
        raise ConfigError(
            "MODEL.WEIGHTS is empty: an untrained model finds nothing. Name its checkpoint: "
            "MODEL.WEIGHTS PATH."
        )
    if not weights or "://" in weights or resumes or PathManager.isfile(weights):
        return
    raise ConfigError(
        f"MODEL.WEIGHTS is {weights}, which is not there. If it is the model of stage 1, train "
        "that first, with the config that has mask_rcnn in its name in the place of semiconv; or "
        "name another checkpoint: MODEL.WEIGHTS PATH."
    )


def check_evaluation(cfg: CfgNode, resume: bool = False) -> None:
    """Raises `ConfigError` where there is no model to evaluate, or nothing to evaluate it on."""
    check_weights(cfg, resume, needed=True)
    if not cfg.DATASETS.TEST:
        raise ConfigError("DATASETS.TEST is empty: there is nothing to evaluate the model on.")


def register_own_data(cfg: CfgNode) -> None:
    """Registers the files of OWN_DATA under the names of their JSON, in this process.

    Raises:
        ConfigError: a JSON is named without its folder of images.
    """
    own = cfg.OWN_DATA
    for split, json_file, images in (
        ("TRAIN", own.TRAIN_JSON, own.TRAIN_IMAGES),
        ("TEST", own.TEST_JSON, own.TEST_IMAGES or own.TRAIN_IMAGES),
    ):
        if json_file and not images:
            raise ConfigError(
                f"OWN_DATA.{split}_JSON is {json_file}, but OWN_DATA.{split}_IMAGES, the folder of "
                "its images, is not set."
            )
        if json_file:
            if json_file in DatasetCatalog:  # by an earlier config, maybe with other images
                DatasetCatalog.remove(json_file)
                MetadataCatalog.remove(json_file)
            register(json_file, json_file, images)


def check_datasets(cfg: CfgNode, train: bool = True) -> None:
    """Raises `ConfigError` where a dataset is not registered or cannot be evaluated or measured,
    and whatever reading it raises where its annotations are missing.

    Args:
        train: whether the datasets to train with are looked at too.
    """
    try:
        check_measures(cfg.EVALUATION.MEASURES)
    except MeasureError as error:
        raise ConfigError(f"EVALUATION.MEASURES: {error}") from error
    if not cfg.MODEL.MASK_ON and set(cfg.EVALUATION.MEASURES) != {"coco"}:
        raise ConfigError(
            f"EVALUATION.MEASURES is {cfg.EVALUATION.MEASURES}, of which only 'coco' can be "
            "computed without masks, and MODEL.MASK_ON is False."
        )
    threshold = cfg.EVALUATION.THRESHOLD_DATASET
    if threshold in cfg.DATASETS.TEST:
        raise ConfigError(
            f"EVALUATION.THRESHOLD_DATASET is {threshold}, which is tested on: a score that is "
            "chosen there flatters the model."
        )
    for name in _all_datasets(cfg, train):
        if name not in DatasetCatalog:
            raise ConfigError(
                f"The dataset {name} is not registered. Registered by this package: "
                f"{', '.join(d.name for d in PREPARED_DATASETS)}. Data of your own: set "
                "OWN_DATA.TRAIN_JSON and OWN_DATA.TRAIN_IMAGES, or call semiconv_d2.data.register."
            )
        annotations = MetadataCatalog.get(name).get("json_file")
        if annotations and not Path(annotations).is_file():
            DatasetCatalog.get(name)
    for name in cfg.DATASETS.TEST:
        kind = MetadataCatalog.get(name).get("evaluator_type", "coco")
        if kind != "coco":
            raise ConfigError(
                f"The dataset {name} is evaluated as {kind!r}; this trainer evaluates datasets in "
                "COCO format."
            )


def adapt_to_data(cfg: CfgNode, train: bool = True) -> None:
    """Fits a config to the annotations of its datasets, in place, and says what it sets.

    MODEL.ROI_HEADS.NUM_CLASSES becomes the number of categories where it is 0, and
    INPUT.MASK_FORMAT "bitmask" where masks to train with are run-length encoded.

    Args:
        train: whether the datasets to train with are looked at too.

    Raises:
        ConfigError: the datasets have other numbers of classes than the model, or than each other.
        DatasetError: a dataset has defects that training or evaluation would trip over.
    """
    classes: dict[str, list[str]] = {}
    for name in _all_datasets(cfg, train):
        metadata = MetadataCatalog.get(name)
        json_file, images = metadata.get("json_file"), metadata.get("image_root")
        if not json_file:
            continue
        content = (
            check_before_training(Path(json_file), Path(images))
            if images
            else read_coco(Path(json_file))
        )
        classes[name] = [c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])]
        if name in cfg.DATASETS.TRAIN and cfg.MODEL.MASK_ON and _has_run_lengths(content):
            if cfg.INPUT.MASK_FORMAT != "bitmask":
                logger.warning(
                    'Masks of %s are run-length encoded: INPUT.MASK_FORMAT is set to "bitmask".',
                    name,
                )
            cfg.INPUT.MASK_FORMAT = "bitmask"
    _fit_classes(cfg, classes)


def _all_datasets(cfg: CfgNode, train: bool) -> list[str]:
    names = [*(cfg.DATASETS.TRAIN if train else ()), *cfg.DATASETS.TEST]
    if cfg.EVALUATION.THRESHOLD_DATASET:
        names.append(cfg.EVALUATION.THRESHOLD_DATASET)
    return list(dict.fromkeys(names))


def _fit_classes(cfg: CfgNode, classes: dict[str, list[str]]) -> None:
    """
    Args:
        classes: names by dataset, in the order of their ids, which is that of the model's classes.
    """
    if cfg.MODEL.META_ARCHITECTURE not in COUNTED_BY_ROI_HEADS:
        return
    heads = cfg.MODEL.ROI_HEADS
    for name, own in classes.items():
        first, expected = next(iter(classes.items()))
        if heads.NUM_CLASSES == 0:
            logger.info("MODEL.ROI_HEADS.NUM_CLASSES is set to %d, as %s has it.", len(own), name)
            heads.NUM_CLASSES = len(own)
        if len(own) != heads.NUM_CLASSES:
            raise ConfigError(
                f"MODEL.ROI_HEADS.NUM_CLASSES is {heads.NUM_CLASSES}; the number of categories of "
                f"{name} is {len(own)}. 0 takes the number from the data."
            )
        if own != expected:
            number = next(
                i for i, pair in enumerate(zip(own, expected, strict=True)) if len({*pair}) > 1
            )
            raise ConfigError(
                f"The categories of {name} are not those of {first}: class {number}, in the order "
                f"of their ids, is {own[number]} in the one and {expected[number]} in the other."
            )
    if heads.NUM_CLASSES == 0:
        raise ConfigError(
            "MODEL.ROI_HEADS.NUM_CLASSES is 0, which takes the number from the data, but no "
            "dataset with annotations is named: set OWN_DATA.TRAIN_JSON and "
            "OWN_DATA.TRAIN_IMAGES, or the number."
        )


def _has_run_lengths(content: dict) -> bool:
    """Whether a mask that is trained with is run-length encoded; those of crowds are not."""
    return any(
        isinstance(a.get("segmentation"), dict) and not a.get("iscrowd", 0)
        for a in content["annotations"]
    )
