"""Weights & Biases: shows what TensorBoard shows, which is what it reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from ..writing import write_text

logger = logging.getLogger(__name__)

RUN_ID_FILE = "wandb_run_id.txt"  # in the output folder, for those who resume


def has_wandb() -> bool:
    """Whether the package can be imported; a folder of that name, as it leaves behind, cannot."""
    try:
        import wandb
    except ImportError:
        return False
    return hasattr(wandb, "init")


@contextmanager
def wandb_run(cfg: CfgNode, resumed: bool) -> Iterator[None]:
    """All that is written for TensorBoard meanwhile goes to the project WANDB.PROJECT too. Where
    the run cannot start, a warning says so and training goes on without.

    Args:
        resumed: whether the training goes on from a checkpoint; if so, the run of its folder does.
    """
    import wandb

    folder = Path(cfg.OUTPUT_DIR)
    id_file = folder / RUN_ID_FILE
    known = id_file.read_text().strip() if resumed and id_file.is_file() else None
    try:
        run = wandb.init(
            project=cfg.WANDB.PROJECT,
            name=folder.resolve().name,
            dir=str(folder),
            config=yaml.safe_load(cfg.dump()),
            id=known,
            resume="allow" if known else None,
            sync_tensorboard=True,
        )
        write_text(f"{run.id}\n", id_file)
    except Exception as error:  # no network, no key, no such project: no reason to stop
        logger.warning("Weights & Biases cannot be used: %s Training goes on without.", error)
        yield
        return
    try:
        yield
    finally:
        run.finish()
