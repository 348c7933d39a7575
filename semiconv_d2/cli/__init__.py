"""The command `semiconv` and its subcommands: one module each, with `main(argv=None) -> int`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from ..errors import UserError
from .commands import Main, dispatch, finish

COMMANDS = {
    "train": "train or evaluate a model; arguments as for Detectron2's train_net.py",
    "predict": "show and write what a model finds in images, videos and cameras",
    "evaluate": "measure results that any model wrote, or compare two",
    "check": "find what is wrong with a dataset, and mend it",
    "convert": "write annotations of other tools in COCO's format",
    "prepare": "prepare, draw or split datasets",
    "export": "write a model as TorchScript or ONNX, and compare it with PyTorch",
    "report": "make an HTML report of training runs",
    "benchmark": "measure what the plugin costs on this machine",
}
"""Names of the modules here, and what they do."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command `semiconv`. `--import MODULE` before the command imports a module of the user's
    project, which may register datasets or parts of models."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments == ["--version"]:
        print(f"semiconv_d2 {__version__}")
        return 0
    commands = {name: (_importer(name), text) for name, text in COMMANDS.items()}
    description = (
        "Semi-convolutional instance segmentation with Detectron2.\n\n"
        "semiconv --import MODULE COMMAND … first imports a module of your project, which may "
        "register datasets."
    )

    def run() -> int:
        rest = arguments
        while rest[:1] == ["--import"]:
            _import_module(rest[1:2])
            rest = rest[2:]
        return dispatch("semiconv", description, commands, rest)

    return finish(run)


def _import_module(names: Sequence[str]) -> None:
    """Imports a module from the current folder or the environment."""
    if not names:
        raise UserError("--import needs the name of a module")
    sys.path.insert(0, os.getcwd())
    try:
        import_module(names[0])
    except ModuleNotFoundError as error:
        if error.name != names[0].partition(".")[0]:
            raise
        raise UserError(f"--import {names[0]}: there is no such module in {os.getcwd()}") from error


def _importer(name: str) -> Callable[[], Main]:
    return lambda: import_module(f"{__name__}.{name}").main
