"""From the command line to a config that can run on this machine."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager
from yaml import YAMLError

from ..config import add_semiconv_config
from ..data.registration import PREPARED_DATASETS

logger = logging.getLogger(__name__)


class ConfigError(ValueError):
    """A config that cannot run, with a message for whoever wrote it."""


def load_config(config_file: str, overrides: list[str] | None = None) -> CfgNode:
    """A frozen config: Detectron2's and the plugin's defaults, a YAML file, overrides, and a
    device that exists.

    Args:
        config_file: path of a YAML file, or of none with "".
        overrides: KEY VALUE KEY VALUE …

    Raises:
        ConfigError: the file is missing, a key is unknown or a value has the wrong type.
    """
    cfg = get_cfg()
    add_semiconv_config(cfg)
    if config_file and not Path(config_file).is_file():
        raise ConfigError(f"There is no config file {config_file}.")
    try:
        if config_file:
            cfg.merge_from_file(config_file)
        cfg.merge_from_list(overrides or [])
    except (KeyError, ValueError, AssertionError, AttributeError, OSError, YAMLError) as error:
        where = f"{config_file} {' '.join(overrides or [])}".strip()
        raise ConfigError(f"{where}: {error}") from error
    adapt_to_machine(cfg)
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
    """The config of Detectron2's standard arguments, checked as far as that takes no time.

    Raises:
        ConfigError: see `load_config`, `check_weights` and `check_datasets`.
    """
    cfg = load_config(args.config_file, args.opts)
    check_weights(cfg, args.resume)
    check_datasets(cfg)
    return cfg


def check_weights(cfg: CfgNode, resume: bool) -> None:
    """Raises `ConfigError` where MODEL.WEIGHTS is a local file that is missing and needed."""
    weights = cfg.MODEL.WEIGHTS
    resumes = resume and (Path(cfg.OUTPUT_DIR) / "last_checkpoint").is_file()
    if not weights or "://" in weights or resumes or PathManager.isfile(weights):
        return
    raise ConfigError(
        f"MODEL.WEIGHTS is {weights}, which is not there. If it is the model of stage 1, train "
        "that first, with the config that has mask_rcnn in its name in the place of semiconv; or "
        "name another checkpoint: MODEL.WEIGHTS PATH."
    )


def check_datasets(cfg: CfgNode) -> None:
    """Raises `ConfigError` where a dataset is not registered or cannot be evaluated, and whatever
    reading it raises where its annotations are missing."""
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        if name not in DatasetCatalog:
            raise ConfigError(
                f"The dataset {name} is not registered. Registered by this package: "
                f"{', '.join(d.name for d in PREPARED_DATASETS)}."
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
