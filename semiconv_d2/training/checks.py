"""Checks of a config before any long work: a list of functions with the same arguments."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.utils.file_io import PathManager

from ..config import MASK_OPTIONS, add_semiconv_config
from ..data.datasets.catalog import PREPARED_DATASETS
from ..data.pixels import Reading
from ..errors import ConfigError, DatasetError, MeasureError
from ..evaluation import check_measures
from ..modeling import SemiConvMixin
from .checkpoints import newest_checkpoint
from .data_fit import all_datasets, needs_training_data
from .loading import runs_code
from .run_folder import check_run_folder
from .wandb_run import has_wandb

logger = logging.getLogger(__name__)


class Start(NamedTuple):
    """How a command was started."""

    resume: bool = False
    """A run continues from its last checkpoint, if it has one."""
    eval_only: bool = False
    """A trained model is evaluated, or looked at."""
    processes: int = 1
    """Number of processes that share the images of a step, on all machines together."""
    writes_run: bool = False
    """A run is written into OUTPUT_DIR."""
    run_code: bool = False
    """Files that can run code are loaded too."""


TRAINING, EVALUATION = Start(), Start(eval_only=True)


def check_config(cfg: CfgNode, start: Start) -> None:
    """Runs all of `CHECKS`.

    Raises:
        ConfigError: one of the checks has failed.
        DatasetError: a dataset has no annotations.
    """
    for check in CHECKS:
        check(cfg, start)


def check_architecture(cfg: CfgNode, start: Start) -> None:
    """The config asks for nothing that its meta-architecture cannot do."""
    if cfg.MODEL.META_ARCHITECTURE != "InstanceColoring":
        for key in MASK_OPTIONS:
            if cfg.TEST.AUG.ENABLED and cfg.MODEL.SEMICONV[key]:
                logger.warning("Test-time augmentation ignores MODEL.SEMICONV.%s.", key)
        return
    if cfg.TEST.AUG.ENABLED:
        raise ConfigError(
            "TEST.AUG.ENABLED is True, but Detectron2's test-time augmentation merges boxes, and "
            "InstanceColoring has no boxes: set TEST.AUG.ENABLED False."
        )
    if cfg.MODEL.COLORING.DECODER == "kmeans":
        raise ConfigError(
            "MODEL.COLORING.DECODER is 'kmeans', which needs the number of instances of each "
            "image, but datasets do not give it: take 'greedy' or 'mean_shift'."
        )


def check_mask_options(cfg: CfgNode, start: Start) -> None:
    """Options of masks are only set for ROI heads that know them. Otherwise a stock model without
    them could be compared with a model that has them."""
    if cfg.MODEL.META_ARCHITECTURE == "InstanceColoring":
        return
    name = cfg.MODEL.ROI_HEADS.NAME
    if name in ROI_HEADS_REGISTRY and issubclass(ROI_HEADS_REGISTRY.get(name), SemiConvMixin):
        return
    defaults = get_cfg()
    add_semiconv_config(defaults)
    for key in MASK_OPTIONS:
        value = cfg.MODEL.SEMICONV[key]
        if value != defaults.MODEL.SEMICONV[key]:
            raise ConfigError(
                f"MODEL.SEMICONV.{key} is {value}, but {name} does not know it. For the stock "
                "model with this option, take SemiConvROIHeads and merge "
                "configs/presets/stock.yaml over the config."
            )


def check_weights(cfg: CfgNode, start: Start) -> None:
    """MODEL.WEIGHTS exists if it is a local file, and is not empty for an evaluation. Code in it
    does not run unless the user asked for that."""
    weights = cfg.MODEL.WEIGHTS
    resumes = start.resume and newest_checkpoint(Path(cfg.OUTPUT_DIR)) is not None
    if start.eval_only and not weights and not resumes:
        raise ConfigError(
            "MODEL.WEIGHTS is empty: an untrained model finds nothing. Name a checkpoint: "
            "MODEL.WEIGHTS PATH."
        )
    if not resumes and not start.run_code and runs_code(weights):
        raise ConfigError(
            f"MODEL.WEIGHTS is {weights}: loading a pickle runs any code that is in it. If you "
            "trust its source, add --run-code."
        )
    if not weights and not resumes:
        _check_random_weights(cfg)
    if not weights or "://" in weights or resumes or PathManager.isfile(weights):
        return
    if weights.startswith("checkpoints/"):
        raise ConfigError(
            f"MODEL.WEIGHTS is {weights}, a file of the repository that an installed package does "
            "not have: take it from there, or start from random weights: MODEL.WEIGHTS ''."
        )
    raise ConfigError(
        f"MODEL.WEIGHTS is {weights}, and there is no file {Path(weights).absolute()}. If it is "
        "the model of stage 1, train that first: its config has mask_rcnn in its name instead of "
        "semiconv. Or name another checkpoint: MODEL.WEIGHTS PATH."
    )


def _check_random_weights(cfg: CfgNode) -> None:
    """Raises `ConfigError` if layers with random weights would never be trained."""
    name, frozen = cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT
    random = "resnet" in name or ("timm" in name and not cfg.MODEL.TIMM.WEIGHTS)
    if frozen > 0 and random:
        raise ConfigError(
            f"MODEL.WEIGHTS is empty, but MODEL.BACKBONE.FREEZE_AT is {frozen}: the first layers "
            "of the backbone would stay random. Name a checkpoint, MODEL.WEIGHTS PATH, or train "
            "all layers: MODEL.BACKBONE.FREEZE_AT 0 (and MODEL.RESNETS.NORM BN for a ResNet)."
        )


def check_tests(cfg: CfgNode, start: Start) -> None:
    """There is something to evaluate a model on."""
    if start.eval_only and not cfg.DATASETS.TEST:
        raise ConfigError("DATASETS.TEST is empty: there is nothing to evaluate the model on.")


def check_batch(cfg: CfgNode, start: Start) -> None:
    """The images of a step can be shared out among the processes."""
    if start.eval_only:
        return
    images = cfg.SOLVER.IMS_PER_BATCH
    # With SOLVER.REFERENCE_WORLD_SIZE, Detectron2 fits the batch to the number of processes itself.
    processes = max(1, cfg.SOLVER.REFERENCE_WORLD_SIZE or start.processes)
    if images < 1 or images % processes:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH is {images}. It counts the images of a step in all processes "
            f"together, and must be a multiple of the number of processes, {processes}, and at "
            "least 1."
        )


def check_schedule(cfg: CfgNode, start: Start) -> None:
    """The learning rate rises to SOLVER.BASE_LR, and falls before the training ends."""
    if start.eval_only:
        return
    steps, rising, end = cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.MAX_ITER
    if end in steps:
        raise ConfigError(
            f"SOLVER.STEPS is {tuple(steps)}, but the training ends at SOLVER.MAX_ITER {end}: "
            "leave that step out, or take a smaller one."
        )
    if cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupMultiStepLR" and min((end, *steps)) <= rising < end:
        raise ConfigError(
            f"SOLVER.STEPS is {tuple(steps)}, and the warm-up takes SOLVER.WARMUP_ITERS {rising}: "
            "the learning rate would fall before it has risen to SOLVER.BASE_LR. Take a shorter "
            f"warm-up: SOLVER.WARMUP_ITERS {min(steps) // 10}."
        )
    if rising >= end:
        logger.warning(
            "SOLVER.WARMUP_ITERS is %d, and the training ends at SOLVER.MAX_ITER %d: the learning "
            "rate does not rise to SOLVER.BASE_LR.",
            rising,
            end,
        )


def check_writers(cfg: CfgNode, start: Start) -> None:
    """Weights & Biases is installed, if it is asked for."""
    if start.eval_only:
        return
    if cfg.WANDB.PROJECT and not has_wandb():
        raise ConfigError(
            f"WANDB.PROJECT is {cfg.WANDB.PROJECT}, but Weights & Biases is not installed: "
            "`pip install wandb`, or leave the key empty."
        )


def check_chosen_measures(cfg: CfgNode, start: Start) -> None:
    """The measures are known, and the model has what they need."""
    try:
        check_measures(cfg.EVALUATION.MEASURES)
    except MeasureError as error:
        raise ConfigError(f"EVALUATION.MEASURES: {error}") from error
    if not cfg.MODEL.MASK_ON and set(cfg.EVALUATION.MEASURES) != {"coco"}:
        raise ConfigError(
            f"EVALUATION.MEASURES is {cfg.EVALUATION.MEASURES}, but MODEL.MASK_ON is False, and "
            "only 'coco' can be computed without masks."
        )


def check_reading(cfg: CfgNode, start: Start) -> None:
    """The keys that say how image files are read make sense."""
    Reading.of(cfg.INPUT)


def check_datasets(cfg: CfgNode, start: Start) -> None:
    """Datasets are registered, have annotations, and can be evaluated."""
    threshold = cfg.EVALUATION.THRESHOLD_DATASET
    if threshold in cfg.DATASETS.TEST:
        raise ConfigError(
            f"EVALUATION.THRESHOLD_DATASET is {threshold}, which is also in DATASETS.TEST: a score "
            "that is chosen on tested images makes results look too good. Name the training data."
        )
    for name in all_datasets(cfg, needs_training_data(cfg, start.eval_only)):
        try:
            _check_dataset(name)
        except (ConfigError, DatasetError) as error:
            if name != threshold or name in cfg.DATASETS.TRAIN:
                raise
            raise ConfigError(
                f"EVALUATION.THRESHOLD_DATASET: {error}. The score from which detections count in "
                'S is chosen on this dataset. For a fixed score: EVALUATION.THRESHOLD_DATASET "".'
            ) from error
    for name in cfg.DATASETS.TEST:
        kind = MetadataCatalog.get(name).get("evaluator_type", "coco")
        if kind != "coco":
            raise ConfigError(
                f"The dataset {name} is evaluated as {kind!r}; this trainer evaluates datasets in "
                "COCO format."
            )


def _check_dataset(name: str) -> None:
    """Raises an error if a dataset is not registered, or its JSON is missing."""
    if name not in DatasetCatalog:
        raise ConfigError(
            f"The dataset {name} is not registered. Registered by this package: "
            f"{', '.join(d.name for d in PREPARED_DATASETS)}. For data of your own, set "
            "OWN_DATA.TRAIN_JSON and OWN_DATA.TRAIN_IMAGES, or call semiconv_d2.data.register."
        )
    annotations = MetadataCatalog.get(name).get("json_file")
    if annotations and not Path(annotations).is_file():
        DatasetCatalog.get(name)  # says how to prepare it


def check_output(cfg: CfgNode, start: Start) -> None:
    """A run has an output folder of its own, or continues the run in that folder."""
    if start.writes_run:
        check_run_folder(cfg, resume=start.resume, eval_only=start.eval_only)


CHECKS: tuple[Callable[[CfgNode, Start], None], ...] = (
    check_architecture,
    check_mask_options,
    check_weights,
    check_tests,
    check_writers,
    check_batch,
    check_schedule,
    check_chosen_measures,
    check_reading,
    check_datasets,
    check_output,
)
"""Each raises a `ConfigError`; its message is for the author of the config."""
