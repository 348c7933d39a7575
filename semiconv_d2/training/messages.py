"""Messages while a command runs."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import Namespace
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

_LONG = (
    *("Environment info:", "Contents of args", "Running with full config", "Model:"),
    *("Evaluation results for", "copypaste:"),  # the same numbers as in our table
)


def show_messages(output_dir: str | None = None, *, first: bool | None = None) -> None:
    """Sends messages of this package to stdout and to a folder's log.txt, like Detectron2's own.

    Args:
        output_dir: the folder.
        first: whether this is the process whose messages are shown; by default the main one.
    """
    hush_pytorch()
    name = __name__.partition(".")[0]
    logger = logging.getLogger(name)
    fresh = not logger.handlers
    if first is False:
        logger.addHandler(logging.NullHandler())
    elif fresh or output_dir:
        setup_logger(output_dir, comm.get_rank(), name=name, configure_stdout=fresh)


def set_up(cfg: CfgNode, args: Namespace) -> None:
    """Detectron2's `default_setup`. Its long messages go to log.txt only: the environment, the
    config, and later the model and results for spreadsheets."""
    logger = setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank())  # as it does itself
    for handler in logger.handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(_is_short)
    default_setup(cfg, args)
    logger.info("Environment, config and model are in %s.", Path(cfg.OUTPUT_DIR, "log.txt"))


def _is_short(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_LONG)


def hush_pytorch() -> None:
    """Hides PyTorch's warnings about Detectron2's code: users cannot mend it."""
    for start in ("torch.meshgrid", "The given NumPy array is not writable"):
        warnings.filterwarnings("ignore", start, UserWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
