"""What is wrong with a config, found before any long work: one list of checks, all called alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.utils.file_io import PathManager

from ..config import add_semiconv_config
from ..data.datasets.catalog import PREPARED_DATASETS
from ..data.pixels import Reading
from ..errors import ConfigError, MeasureError
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
    """A run goes on from its last checkpoint, where it has one."""
    eval_only: bool = False
    """A trained model is evaluated, or looked at."""
    processes: int = 1
    """That share the images of a step, on all machines together."""
    writes_run: bool = False
    """A run is written into OUTPUT_DIR."""
    run_code: bool = False
    """Files that can run code are loaded too."""


TRAINING, EVALUATION = Start(), Start(eval_only=True)


def check_config(cfg: CfgNode, start: Start) -> None:
    """All of `CHECKS`.

    Raises:
        ConfigError: one of them has found something.
        DatasetError: a dataset has no annotations.
    """
    for check in CHECKS:
        check(cfg, start)


def check_architecture(cfg: CfgNode, start: Start) -> None:
    """A model is not asked for what it cannot do."""
    if cfg.MODEL.META_ARCHITECTURE != "InstanceColoring":
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


def check_mask_options(cfg: CfgNode, start: Start) -> None:
    """Options of masks are set for ROI heads that know them: a stock model without them must not be
    compared with one that has them."""
    if cfg.MODEL.META_ARCHITECTURE == "InstanceColoring":
        return
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
                "with it is SemiConvROIHeads and configs/presets/stock.yaml, merged over the rest."
            )


def check_weights(cfg: CfgNode, start: Start) -> None:
    """MODEL.WEIGHTS is there, where it is a local file, and is not empty for an evaluation; and no
    code in it is run that nobody has asked for."""
    weights = cfg.MODEL.WEIGHTS
    resumes = start.resume and newest_checkpoint(Path(cfg.OUTPUT_DIR)) is not None
    if start.eval_only and not weights and not resumes:
        raise ConfigError(
            "MODEL.WEIGHTS is empty: an untrained model finds nothing. Name its checkpoint: "
            "MODEL.WEIGHTS PATH."
        )
    if not resumes and not start.run_code and runs_code(weights):
        raise ConfigError(
            f"MODEL.WEIGHTS is {weights}: loading a pickle runs any code that is in it. If you "
            "trust where it comes from, --run-code loads it."
        )
    if not weights or "://" in weights or resumes or PathManager.isfile(weights):
        return
    raise ConfigError(
        f"MODEL.WEIGHTS is {weights}, which is not there. If it is the model of stage 1, train "
        "that first, with the config that has mask_rcnn in its name in the place of semiconv; or "
        "name another checkpoint: MODEL.WEIGHTS PATH."
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
    # With a reference Detectron2 fits the batch to the number of processes itself.
    processes = max(1, cfg.SOLVER.REFERENCE_WORLD_SIZE or start.processes)
    if images < 1 or images % processes:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH is {images}, the images of a step in all processes together: it "
            f"must be a multiple of their number, {processes}, and at least 1."
        )


def check_schedule(cfg: CfgNode, start: Start) -> None:
    """The learning rate rises to SOLVER.BASE_LR, and falls before the training ends."""
    if start.eval_only:
        return
    steps, rising, end = cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.MAX_ITER
    if end in steps:
        raise ConfigError(
            f"SOLVER.STEPS is {tuple(steps)}, and the training ends at SOLVER.MAX_ITER {end}: "
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
    """Weights & Biases is installed, where it is asked for."""
    if start.eval_only:
        return
    if cfg.WANDB.PROJECT and not has_wandb():
        raise ConfigError(
            f"WANDB.PROJECT is {cfg.WANDB.PROJECT}, and Weights & Biases is not installed: "
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
            f"EVALUATION.MEASURES is {cfg.EVALUATION.MEASURES}, of which only 'coco' can be "
            "computed without masks, and MODEL.MASK_ON is False."
        )


def check_reading(cfg: CfgNode, start: Start) -> None:
    """The keys that say how image files are read make sense."""
    Reading.of(cfg.INPUT)


def check_datasets(cfg: CfgNode, start: Start) -> None:
    """Datasets are registered, have annotations, and can be evaluated."""
    threshold = cfg.EVALUATION.THRESHOLD_DATASET
    if threshold in cfg.DATASETS.TEST:
        raise ConfigError(
            f"EVALUATION.THRESHOLD_DATASET is {threshold}, which is tested on: a score that is "
            "chosen there flatters the model."
        )
    for name in all_datasets(cfg, needs_training_data(cfg, start.eval_only)):
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


def check_output(cfg: CfgNode, start: Start) -> None:
    """A run goes into a folder of its own, or goes on with the one that it belongs to."""
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
"""Each raises a `ConfigError`, with a message for whoever wrote the config."""
