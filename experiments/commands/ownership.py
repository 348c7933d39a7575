"""Measures how much mask IoU a Mask R-CNN loses to confusion with neighbours.

    python tools/ownership.py --config-file configs/bbbc010_semiconv.yaml \\
        MODEL.WEIGHTS output/bbbc010_semiconv/model_final.pth

It uses the ground-truth boxes of the first test dataset, and prints two kinds of values in percent,
by the share of an outline that other instances touch. First, the mean IoU of masks: as they are;
after removing the pixels of other instances; after also adding all own pixels. Second, how well
these separate own pixels from those of other instances, as area under the ROC curve (50 is chance):
the mask logits s; the kernel, or with competition the seed's share among the true instances; and
the rescored logits ŝ.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.ownership import columns, format_ownership, measure_ownership
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.data.files import check_file
from semiconv_d2.training import EVALUATION, load_checked_config, show_messages
from semiconv_d2.writing import write_json


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("ownership", __doc__)
    parser.add_argument("--config-file", required=True, help="YAML config of the model")
    parser.add_argument("--output", type=Path, help="JSON with the values of all instances")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    arguments = parser.parse_args(argv)
    show_messages()
    return finish(lambda: measure(arguments))


def measure(arguments):
    if arguments.output:
        check_file(arguments.output, "--output")
    cfg = load_checked_config(arguments.config_file, arguments.opts, EVALUATION)
    measured = measure_ownership(cfg)
    print(format_ownership(measured))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        content = {"kind": "ownership", "weights": cfg.MODEL.WEIGHTS, "data": cfg.DATASETS.TEST[0]}
        write_json(content | columns(measured), arguments.output)
