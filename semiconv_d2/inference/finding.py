"""Finds a model: its config, its checkpoint and the names of its classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import MetadataCatalog

from .. import get_config_file
from ..errors import ConfigError
from ..training.checkpoints import newest_checkpoint
from ..training.configs import find_weights
from .options import SHIPPED

_CHECKPOINTS = (".pth", ".pkl")
_CONFIGS = (".yaml", ".yml", ".py")


def find_config(model: str | Path) -> tuple[Path, Path | None]:
    """The config of a named model, and its checkpoint; None: the checkpoint that the config names.

    Args:
        model: see `Predictor.load`.

    Raises:
        ConfigError: the config or the checkpoint cannot be found.
    """
    path = Path(model)
    if str(model) in SHIPPED and not path.exists():
        return _find_shipped(str(model))
    if path.is_dir():
        config = path / "config.yaml"
        if not config.is_file():
            raise ConfigError(f"{path} has no config.yaml, so it is not the folder of a run.")
        checkpoint = newest_checkpoint(path)
        if checkpoint is None:
            raise ConfigError(f"{path} has no complete checkpoint yet.")
        return config, checkpoint
    if path.suffix in _CHECKPOINTS:
        config = path.parent / "config.yaml"
        if not path.is_file() or not config.is_file():
            raise ConfigError(
                f"There is no {path}."
                if not path.is_file()
                else f"There is no config.yaml beside {path}: name a config as the model, and this "
                "checkpoint as its weights."
            )
        return config, path
    if path.suffix in _CONFIGS and path.is_file():
        # The config.yaml of a run names the weights that the run started from.
        return path, newest_checkpoint(path.parent) if path.name == "config.yaml" else None
    try:
        return Path(get_config_file(str(model))), None
    except ValueError as error:
        raise ConfigError(
            f"{model} is neither a run's folder, nor a checkpoint, nor a shipped model "
            f"({', '.join(SHIPPED)}), nor a config. {error}"
        ) from error


def _find_shipped(name: str) -> tuple[Path, Path]:
    config, weights = SHIPPED[name]
    checkpoint = Path(find_weights(weights))
    if not checkpoint.is_file():
        raise ConfigError(
            f"The model {name} needs {weights}, which the repository has, but not the installed "
            f"package: clone the repository, or give the file as weights, and {config} as model."
        )
    return Path(get_config_file(config)), checkpoint


def dataset_classes(datasets: Sequence[str]) -> list[str]:
    """The class names of the first dataset that has them."""
    for name in datasets:
        metadata = MetadataCatalog.get(name)
        if metadata.get("thing_classes"):
            return list(metadata.thing_classes)
        try:  # the name of a user's own dataset is the path of its JSON file
            path = Path(metadata.get("json_file", name))
            content = json.loads(path.read_text(encoding="utf-8"))
            return [c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []
