"""Makes a config that can run on this machine from the command line, and registers its datasets."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from fvcore.common.config import BASE_KEY

from .. import get_config_file
from ..config import add_semiconv_config, explain_unknown
from ..data.datasets.catalog import register
from ..errors import ConfigError
from ..modeling.fast import has_mixed_precision
from .checks import TRAINING, Start, check_config
from .data_fit import adapt_to_data, needs_training_data
from .run_folder import checkpoint_of
from .run_json import recorded_classes

logger = logging.getLogger(__name__)


class OwnDataset(NamedTuple):
    """Files of OWN_DATA."""

    split: str
    """Key of DATASETS: "TRAIN" or "TEST"."""
    name: str
    """Name in Detectron2's catalogs: the path of the JSON."""
    images: str
    """Folder of the images."""


def load_config(
    config_file: str, overrides: list[str] | None = None, *, of_a_run: bool = False
) -> CfgNode:
    """A frozen config: Detectron2's and the plugin's defaults, a YAML file, overrides, and a
    device that exists.

    The files of OWN_DATA become its datasets; `register_own_data` registers them.

    Args:
        config_file: path of a YAML file, or the name of a config of this package, such as
            "voc_semiconv"; "" for none.
        overrides: KEY VALUE KEY VALUE …
        of_a_run: the file was written by a training, which another program may have started. Its
            nodes that only that program knows are kept.

    Raises:
        ConfigError: the file is missing, a key is unknown, a value has the wrong type, or a JSON of
            OWN_DATA is named without its folder of images.
    """
    options = [word for word in overrides or [] if str(word).startswith("--")]
    if options:
        raise ConfigError(
            f"{options[0]} comes after the config keys: put options before KEY VALUE."
        )
    cfg = get_cfg()
    add_semiconv_config(cfg)
    config_file = find_config_file(config_file) if config_file else ""
    if config_file.endswith(".py"):
        raise ConfigError(
            f"{config_file} is a LazyConfig; this command takes YAML. Train a LazyConfig with "
            "Detectron2's own tools/lazyconfig_train_net.py."
        )
    try:
        if config_file and of_a_run:
            _add_unknown_nodes(cfg, config_file)
        if config_file:
            cfg.merge_from_file(config_file, allow_unsafe=False)
        cfg.merge_from_list(overrides or [])
    except (
        *(KeyError, TypeError, ValueError, AssertionError, AttributeError),
        *(OSError, yaml.YAMLError),
    ) as error:
        where = f"{config_file} {' '.join(overrides or [])}".strip()
        unknown = re.search(r"Non-existent (?:config )?key: ([\w.]+)", str(error))
        reason = (unknown and explain_unknown(unknown[1])) or error
        if "python/object:detectron2" in str(error):
            reason = (
                "this is the config of a LazyConfig's run, which runs code when it is read. Name "
                "the LazyConfig instead, and the checkpoint: --weights CHECKPOINT --run-code"
            )
        raise ConfigError(f"{where}: {reason}") from error
    cfg.MODEL.WEIGHTS = find_weights(cfg.MODEL.WEIGHTS)
    adapt_to_machine(cfg)
    for dataset in own_datasets(cfg):
        cfg.DATASETS[dataset.split] = (dataset.name,)
    cfg.freeze()
    return cfg


def _add_unknown_nodes(cfg: CfgNode, config_file: str) -> None:
    """Adds the top-level nodes of a file that `cfg` does not have, and logs their names."""
    content = yaml.safe_load(Path(config_file).read_text(encoding="utf-8")) or {}
    unknown = [name for name in content if name not in cfg and name != BASE_KEY]
    for name in unknown:
        value = content[name]
        cfg[name] = CfgNode(value) if isinstance(value, dict) else value
    if unknown:
        logger.info("%s has keys of another program: %s.", config_file, ", ".join(unknown))


def find_config_file(config_file: str) -> str:
    """The path of a YAML file, or of a config of this package by its name.

    Raises:
        ConfigError: there is no such file or config; the message lists the package's configs.
    """
    if Path(config_file).is_file():
        return config_file
    try:
        return get_config_file(config_file)
    except ValueError as error:
        raise ConfigError(f"There is no config file {config_file}. {error}") from error


def find_weights(weights: str) -> str:
    """The path of a checkpoint that ships with the repository, such as
    "checkpoints/demo_mask_rcnn.pth", from any folder; other weights as they are."""
    shipped = Path(get_config_file("Base-RCNN-FPN")).parents[1] / weights
    known = weights.startswith("checkpoints/") and shipped.is_file()
    return str(shipped) if known and not Path(weights).exists() else weights


def adapt_to_machine(cfg: CfgNode) -> None:
    """Sets MODEL.DEVICE to "cpu" without CUDA, and SOLVER.AMP.ENABLED to False on a CPU that does
    not compute bfloat16 in hardware; logs a warning for each."""
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("There is no CUDA device: running on the CPU.")
        cfg.MODEL.DEVICE = "cpu"
    if cfg.SOLVER.AMP.ENABLED and not has_mixed_precision(torch.device(cfg.MODEL.DEVICE)):
        logger.warning(
            "SOLVER.AMP.ENABLED is ignored: it needs CUDA, or a CPU that computes bfloat16."
        )
        cfg.SOLVER.AMP.ENABLED = False


def own_datasets(cfg: CfgNode) -> list[OwnDataset]:
    """The datasets that OWN_DATA names.

    Raises:
        ConfigError: a JSON is named without its folder of images.
    """
    own, found = cfg.OWN_DATA, []
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
            found.append(OwnDataset(split, json_file, images))
    return found


def register_own_data(cfg: CfgNode) -> None:
    """Registers the datasets of OWN_DATA with Detectron2, in this process. They replace datasets of
    the same name from an earlier config, which may have other images."""
    for dataset in own_datasets(cfg):
        if dataset.name in DatasetCatalog:
            DatasetCatalog.remove(dataset.name)
            MetadataCatalog.remove(dataset.name)
        register(dataset.name, dataset.name, dataset.images)


def load_checked_config(
    config_file: str, overrides: Sequence[str] = (), start: Start = TRAINING
) -> CfgNode:
    """`load_config` and `fit_config` in one.

    Raises:
        ConfigError, DatasetError: see there.
    """
    return fit_config(load_config(config_file, list(overrides)), start)


def fit_config(cfg: CfgNode, start: Start = TRAINING) -> CfgNode:
    """Registers the datasets of a config, checks the config and fits it to its data, all quickly.

    Args:
        cfg: of `load_config`.
        start: how the command was started.

    Returns:
        The same config.

    Raises:
        ConfigError: see `checks.CHECKS`.
        DatasetError: a dataset is missing or broken.
    """
    register_own_data(cfg)
    check_config(cfg, start)
    cfg.defrost()
    adapt_to_data(cfg, needs_training_data(cfg, start.eval_only), _trained_classes(cfg, start))
    cfg.freeze()
    return cfg


def _trained_classes(cfg: CfgNode, start: Start) -> list[str]:
    """Classes of the model that is evaluated or resumed, if the run.json of its run has them."""
    checkpoint = Path(checkpoint_of(cfg, start.resume))
    known = (start.eval_only or start.resume) and checkpoint.is_file()
    return recorded_classes(checkpoint.parent) if known else []
