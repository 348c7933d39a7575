"""Weights & Biases: it reads what is written for TensorBoard, and shows the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from ..writing import write_text

logger = logging.getLogger(__name__)

RUN_ID_FILE = "wandb_run_id.txt"  # in the output folder, for resuming


def has_wandb() -> bool:
    """Whether the package is installed; a folder `wandb` that runs leave behind does not count."""
    try:
        import wandb
    except ImportError:
        return False
    return hasattr(wandb, "init")


@contextmanager
def wandb_run(cfg: CfgNode, resumed: bool) -> Iterator[None]:
    """Within the context, all that is written for TensorBoard also goes to the project
    WANDB.PROJECT. If the run cannot start, a warning says so, and training continues without it.

    Args:
        resumed: whether the training is resumed from a checkpoint. If so, the run whose id is in
            the output folder is continued.
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
        logger.warning("Weights & Biases cannot be used: %s Training continues without it.", error)
        yield
        return
    try:
        yield
    finally:
        run.finish()
