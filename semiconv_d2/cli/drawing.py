"""Options of the commands that draw datasets, one for each field of the settings."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from ..data.datasets import dots, synthetic_worms
from ..data.datasets.prepared import Summary

_ONE = {"metavar": "N"}
_RANGE = {"nargs": 2, "metavar": ("MIN", "MAX")}
_SIZE = {"nargs": 2, "metavar": ("HEIGHT", "WIDTH")}

_COMMON = {
    "seed": (int, _ONE, "random seed: another seed draws other images"),
    "train_images": (int, _ONE, "number of images in train"),
    "val_images": (int, _ONE, "number of images in val"),
}


class Drawn(NamedTuple):
    """A dataset that is drawn."""

    prepare: Callable[..., Summary]
    """Takes the output, the settings, a random seed and the numbers of images of train and val."""
    settings: type
    """A dataclass; its defaults are also the defaults of the options."""
    options: Mapping[str, tuple[type, Mapping[str, Any], str]]
    """For each field that is an option: type of a value, further arguments of `add_argument`, and
    help."""


WORMS = Drawn(
    synthetic_worms.prepare_synthetic_worms,
    synthetic_worms.WormSettings,
    {
        "size": (int, _SIZE, "size of an image, px"),
        "worms": (int, _RANGE, "number of worms in an image"),
        "width": (float, _RANGE, "width of a worm's body, px"),
        "length": (float, _RANGE, "length of a worm, px"),
        "crowding": (float, _ONE, "probability that a worm touches another one"),
        "crossing": (float, _ONE, "probability that such a worm crosses the other one"),
        "overlap": (float, _ONE, "largest part of a worm that others may cover"),
    },
)
DOTS = Drawn(
    dots.prepare_dots,
    dots.DotSettings,
    {
        "rows": (int, _RANGE, "number of rows of dots in an image"),
        "columns": (int, _RANGE, "number of dots in a row"),
        "radius": (int, _ONE, "radius of a dot, px"),
        "spacing": (int, _ONE, "distance between the centres of two dots of a column, px"),
        "length": (int, _ONE, "dots, and their distances in a row, are this much longer, px"),
        "rings": (int, _ONE, "rows and columns of dots around the grid that are no instances"),
        "margin": (int, _ONE, "least distance from a dot to the border of the image, px"),
        "offset": (int, _ONE, "largest random shift of the grid on each axis, px"),
        "size": (int, _SIZE, "size of an image, px (default: what the largest grid needs)"),
        "background": (str, {"choices": dots.BACKGROUNDS}, "what is behind the dots"),
        "noise": (float, _ONE, "standard deviation of the background noise, grey levels"),
    },
)


def draw(parser: ArgumentParser, drawn: Drawn, argv: Sequence[str] | None) -> None:
    """Reads the command line, draws the dataset, and prints what was written."""
    defaults: dict[str, Any] = {"seed": 0, "train_images": 1000, "val_images": 60}
    defaults |= {field.name: field.default for field in fields(drawn.settings)}
    for name, (kind, form, text) in (_COMMON | dict(drawn.options)).items():
        shown = "" if defaults[name] is None else " (default: %(default)s)"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=defaults[name],
            help=text + shown,
            **form,
        )
    args = parser.parse_args(argv)
    values = {name: getattr(args, name) for name in drawn.options}
    settings = drawn.settings(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    )
    print(drawn.prepare(args.output, settings, args.seed, args.train_images, args.val_images))
