"""The output folder of a run: its files are not lost, and not mixed with those of another run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import yaml
from detectron2.config import CfgNode

from ..data.files import check_folder
from ..errors import ConfigError
from ..writing import write_whole
from .checkpoints import NOTE, newest_checkpoint

logger = logging.getLogger(__name__)

CONFIG, LOCK = "config.yaml", "lock"
_OF_A_TRAINING = (NOTE, "model_final.pth", "metrics.json")
_SET_ANEW = ("WEIGHTS", "DEVICE")
"""Keys of MODEL that may have changed when a run is resumed."""


def check_run_folder(cfg: CfgNode, *, resume: bool, eval_only: bool = False) -> None:
    """Checks OUTPUT_DIR before anything is written there.

    Raises:
        ConfigError: the folder cannot be written to; it holds another run that is not resumed; or
            the resumed run has another model, or has lost its checkpoint.
    """
    folder = Path(cfg.OUTPUT_DIR)
    check_folder(folder, "OUTPUT_DIR")
    if resume:
        _check_resumed(cfg, folder, eval_only)
    elif not eval_only and any(_is_filled(folder / name) for name in _OF_A_TRAINING):
        raise ConfigError(
            f"OUTPUT_DIR {folder} already holds a run. To continue it, add --resume before the "
            "config keys. To start another run, name another folder: OUTPUT_DIR FOLDER."
        )


def _is_filled(path: Path) -> bool:
    """Whether a file has content. A training that ends before its first step leaves empty ones."""
    return path.is_file() and path.stat().st_size > 0


@contextmanager
def config_kept(cfg: CfgNode) -> Iterator[None]:
    """Keeps the config file of a run, which Detectron2's set-up overwrites: for evaluating a model
    with other keys."""
    path = Path(cfg.OUTPUT_DIR, CONFIG)
    written = path.read_bytes() if path.is_file() else None
    yield
    if written is not None:
        with write_whole(path, "wb") as file:
            file.write(written)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder of a run against other processes, within the context. Half-written files
    that a killed process has left there are removed.

    Raises:
        ConfigError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _lock(file):
            file.seek(0)
            raise ConfigError(
                f"OUTPUT_DIR {folder} is in use by process {file.read().strip() or 'unknown'}: "
                "wait for it, or take another folder."
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        for left in folder.glob(".*.tmp"):
            left.unlink()
        yield


def _lock(file: IO[str]) -> bool:
    """Locks a file until it is closed. Returns False if another process has locked it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def checkpoint_of(cfg: CfgNode, resume: bool) -> str:
    """The checkpoint that a run starts from, or is evaluated with: the newest one of its folder if
    the run is resumed and has one, otherwise MODEL.WEIGHTS."""
    newest = newest_checkpoint(Path(cfg.OUTPUT_DIR)) if resume else None
    return str(newest or cfg.MODEL.WEIGHTS)


def _check_resumed(cfg: CfgNode, folder: Path, eval_only: bool) -> None:
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None and _has_checkpoints(folder):
        raise ConfigError(
            f"There is nothing to resume: {folder} has no undamaged checkpoint. Start from another "
            "checkpoint in another folder: MODEL.WEIGHTS CHECKPOINT OUTPUT_DIR FOLDER."
        )
    if checkpoint is None:
        logger.info("There is nothing to resume in %s: starting from MODEL.WEIGHTS.", folder)
        return
    other = "" if eval_only else _first_difference(cfg, folder / CONFIG)
    if other:
        raise ConfigError(
            f"The run in {folder} cannot be resumed, because it has another model: {other}. Start "
            "from its checkpoint in another folder: "
            f"MODEL.WEIGHTS {checkpoint} OUTPUT_DIR FOLDER."
        )


def _has_checkpoints(folder: Path) -> bool:
    return (folder / NOTE).exists() or any(folder.glob("model_*.pth"))


def _first_difference(cfg: CfgNode, trained: Path) -> str:
    """The first key of MODEL whose value differs from that of the trained run, with both values;
    "" if there is none. Keys that only one version of the package has do not count."""
    if not trained.is_file():
        return ""
    try:
        before = flatten(yaml.safe_load(trained.read_text(encoding="utf-8"))["MODEL"])
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        logger.warning("%s is damaged and will be overwritten.", trained)
        return ""
    now = flatten(yaml.safe_load(cfg.dump())["MODEL"])
    different = (k for k in now if k in before and now[k] != before[k] and k not in _SET_ANEW)
    key = next(different, None)
    return f"MODEL.{key} is {now[key]} and was {before[key]}" if key else ""


def flatten(content: dict, prefix: str = "") -> dict:
    """A nested config as a flat dictionary, with dots in its keys."""
    flat: dict[str, object] = {}
    for key, value in content.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
