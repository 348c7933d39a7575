"""What the prepare scripts share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from semiconv_d2.data.files import DatasetError
from semiconv_d2.data.prepared import Summary

Settings = TypeVar("Settings")

ONE = {"metavar": "N"}
RANGE = {"nargs": 2, "metavar": ("MIN", "MAX")}
SIZE = {"nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
"""How an option is given: one number, a range, or the size of an image."""


def run(prepare: Callable[[], Summary]) -> None:
    """Prepare a dataset and print what was written; errors are one line and exit status 1."""
    try:
        print(prepare())
    except (DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing is prepared")


def run_drawing(
    description: str | None,
    folder: str,
    prepare: Callable[[Path | None, Settings, int, int, int], Summary],
    settings: type[Settings],
    options: Mapping[str, tuple[type, Mapping[str, Any], str]],
) -> None:
    """The whole of a script that draws a dataset: read the command line, prepare and print.

    Args:
        description: what the script is for.
        folder: name of the folder that is written by default.
        prepare: takes the output, settings, seed and the numbers of images of train and val.
        settings: a dataclass whose defaults are the options' too.
        options: for each field of the settings that can be given: the type of a value, how it is
            given, such as `RANGE`, and what it means.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder to write (default: {folder} in the folder DETECTRON2_DATASETS)",
    )
    defaults = {"seed": 0, "train_images": 1000, "val_images": 60}
    defaults |= {field.name: field.default for field in fields(settings)}
    common = {
        "seed": (int, ONE, "another seed, other images"),
        "train_images": (int, ONE, "number of images"),
        "val_images": (int, ONE, "number of images"),
    }
    for name, (kind, form, text) in (common | dict(options)).items():
        shown = "" if defaults[name] is None else " (default: %(default)s)"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=defaults[name],
            help=text + shown,
            **form,
        )
    args = parser.parse_args()

    def draw() -> Summary:
        values = {name: getattr(args, name) for name in options}
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return prepare(
            args.output, settings(**values), args.seed, args.train_images, args.val_images
        )

    run(draw)
