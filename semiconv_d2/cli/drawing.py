"""Options of datasets that are drawn, one for each field of their settings."""

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
    "seed": (int, _ONE, "random seed: another one, other images"),
    "train_images": (int, _ONE, "number of images"),
    "val_images": (int, _ONE, "number of images"),
}


class Drawn(NamedTuple):
    """A dataset that is drawn."""

    prepare: Callable[..., Summary]
    """Takes the output, the settings, a random seed and the numbers of images of train and val."""
    settings: type
    """A dataclass whose defaults are the options' too."""
    options: Mapping[str, tuple[type, Mapping[str, Any], str]]
    """For each field that can be given: the type of a value, how it is given, what it means."""


WORMS = Drawn(
    synthetic_worms.prepare_synthetic_worms,
    synthetic_worms.WormSettings,
    {
        "size": (int, _SIZE, "of an image, px"),
        "worms": (int, _RANGE, "number in an image"),
        "width": (float, _RANGE, "of a worm's body, px"),
        "length": (float, _RANGE, "of a worm, px"),
        "crowding": (float, _ONE, "probability to lie across or beside one"),
    },
)
DOTS = Drawn(
    dots.prepare_dots,
    dots.DotSettings,
    {
        "rows": (int, _RANGE, "number of rows of dots in an image"),
        "columns": (int, _RANGE, "number of dots in a row"),
        "radius": (int, _ONE, "of a dot, px"),
        "spacing": (int, _ONE, "from a dot's centre to the next one's in its column, px"),
        "length": (int, _ONE, "how far a dot and the spacing in its row are stretched, px"),
        "rings": (int, _ONE, "rows and columns of dots around the grid that are no instances"),
        "margin": (int, _ONE, "from the outermost dots to the border of the image, at least, px"),
        "offset": (int, _ONE, "how far the grid is moved at random on each axis, at most, px"),
        "size": (int, _SIZE, "of an image, px (default: what the largest grid needs)"),
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
