"""Attaches the plugin to a trained stock model, fine-tunes both models for the same time, and
compares them.

    python tools/drop_in.py --config-file configs/demo_semiconv.yaml --output output/demo

Writes a table, JSON, log, a picture and the two runs to the output folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.attaching import SEMICONV, STOCK, compare_drop_in, format_rows
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.data.files import check_folder
from semiconv_d2.evaluation.tables import format_change
from semiconv_d2.training import load_checked_config
from semiconv_d2.training.messages import hush_pytorch


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("drop_in", __doc__)
    parser.add_argument("--config-file", required=True, help="config of the model of stage 2")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--sigmas",
        type=float,
        nargs="+",
        default=(),
        help="also evaluate the attached model with the paper's rescoring, at these σ",
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    args = parser.parse_args(argv)
    hush_pytorch()
    return finish(lambda: compare(args))


def compare(args):
    check_folder(args.output, "--output")
    cfg = load_checked_config(args.config_file, args.opts)
    rows, gain = compare_drop_in(cfg, args.output, args.sigmas)
    print(f"\n{format_rows(rows)}\n")
    print(
        f"Mask AP on {cfg.DATASETS.TEST[0]}. SemiConv gains {format_change(gain.difference)}; 95 % "
        f"interval over the images {format_change(gain.low)} … {format_change(gain.high)}."
    )
    if cfg.MODEL.SEMICONV.MASK_SCORE:
        print("All rows have scores with MASK_SCORE.")
    print("Seconds are medians; both models take turns on the same images.")
    print(f"Picture: {args.output / 'comparison.png'}")
    runs = " ".join(str(args.output / variant) for variant in (STOCK, SEMICONV))
    print(f"All images of both: semiconv report {runs} --output {args.output / 'report.html'}")
