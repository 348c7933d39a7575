"""Messages while a command runs."""

from __future__ import annotations

import logging
import warnings

from detectron2.utils import comm
from detectron2.utils.logger import setup_logger


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


def hush_pytorch() -> None:
    """Hides PyTorch's warnings about Detectron2's code: users cannot mend it."""
    for start in ("torch.meshgrid", "The given NumPy array is not writable"):
        warnings.filterwarnings("ignore", start, UserWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
