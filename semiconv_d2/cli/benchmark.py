"""Measure what the plugin costs on this machine: time and memory of inference and of a training
step, on drawn images. Mask R-CNN, SemiConv, PointRend and Cascade Mask R-CNN take turns.

    semiconv benchmark
    semiconv benchmark --config-file your_mask_rcnn.yaml --sizes 1024 --masks 300
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .. import get_config_file
from .commands import finish, parser_of, say


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return finish(lambda: benchmark(arguments))


def parse_arguments(argv):
    parser = parser_of("benchmark", __doc__)
    for name, default, what in (
        ("--sizes", (800, 400), "shorter sides of the images"),
        ("--masks", (100, 20), "numbers of masks in an image"),
        ("--resolutions", (28, 56), "side lengths of the mask logits"),
        ("--batches", (1,), "numbers of images in a batch"),
    ):
        parser.add_argument(
            name,
            type=positive_number,
            nargs="+",
            default=default,
            help=f"{what}: the first is the base case, each other one is measured on its own "
            "(default: %(default)s)",
        )
    parser.add_argument(
        "--crowded",
        type=positive_number,
        nargs="*",
        default=(100, 1000),
        metavar="N",
        help="numbers of masks in images whose boxes lie on top of each other "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--config-file",
        default=get_config_file("Base-RCNN-FPN"),
        help="config of the models (default: R-50-FPN)",
    )
    parser.add_argument(
        "--repeats", type=positive_number, default=3, help="of each case (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="JSON to write")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    return parser.parse_args(argv)


def positive_number(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def benchmark(arguments):
    from ..inference.cost import Setting, benchmark_models, format_costs
    from ..training.messages import hush_pytorch
    from ..writing import write_json

    hush_pytorch()
    first = Setting(
        arguments.sizes[0], arguments.masks[0], arguments.resolutions[0], arguments.batches[0]
    )
    settings = [first._replace(size=size) for size in arguments.sizes]
    settings += [first._replace(instances=count) for count in arguments.masks[1:]]
    settings += [first._replace(resolution=side) for side in arguments.resolutions[1:]]
    settings += [first._replace(images=count) for count in arguments.batches[1:]]
    settings += [first._replace(instances=count, crowded=True) for count in arguments.crowded]
    content = benchmark_models(
        arguments.config_file, arguments.opts, settings, repeats=arguments.repeats
    )
    say(format_costs(content))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(content, arguments.output)
