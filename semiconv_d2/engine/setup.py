"""From the command line to a config that can run on this machine."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_setup
from detectron2.utils.file_io import PathManager

from ..config import add_semiconv_config

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
    except (KeyError, ValueError, AssertionError) as error:
        where = f"{config_file} {' '.join(overrides or [])}".strip()
        raise ConfigError(f"{where}: {error}") from error
    adapt_to_machine(cfg)
    cfg.freeze()
    return cfg


def adapt_to_machine(cfg: CfgNode) -> None:
    """Without CUDA: MODEL.DEVICE becomes "cpu", and SOLVER.AMP.ENABLED is ignored, both said."""
    if torch.cuda.is_available():
        return
    if cfg.MODEL.DEVICE.startswith("cuda"):
        logger.warning("There is no CUDA device: running on the CPU.")
        cfg.MODEL.DEVICE = "cpu"
    if cfg.SOLVER.AMP.ENABLED:
        logger.warning("SOLVER.AMP.ENABLED needs CUDA and is ignored.")
        cfg.SOLVER.AMP.ENABLED = False


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of Detectron2's standard arguments, checked; logging and seeds are set up.

    Raises:
        ConfigError: see `load_config`; or MODEL.WEIGHTS names a file that is not there.
    """
    cfg = load_config(args.config_file, args.opts)
    check_weights(cfg, args.resume)
    default_setup(cfg, args)
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
