"""Draws the embeddings and instances of an InstanceColoring model on its test images.

    python tools/view_coloring.py --config-file configs/bbbc010_coloring.yaml \\
        --output output/bbbc010_coloring/views \\
        --opts MODEL.WEIGHTS output/bbbc010_coloring/model_final.pth

Writes pictures of the best and worst images, with their embeddings and votes, and a picture of the
points where the embeddings of an instance meet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.documents.coloring_views import describe_meetings, view_colorings
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.data.files import check_folder
from semiconv_d2.training import EVALUATION, load_checked_config


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("view_coloring", __doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--images", type=int, default=3, help="images in a picture (default: 3)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    args = parser.parse_args(argv)
    if args.images < 1:
        parser.error("--images must be at least 1")
    return finish(lambda: view(args))


def view(args):
    check_folder(args.output, "--output")
    cfg = load_checked_config(args.config_file, args.opts, EVALUATION)
    meetings = view_colorings(cfg, args.output, args.images)
    print(describe_meetings(meetings))
    print(f"Pictures: {args.output}")
