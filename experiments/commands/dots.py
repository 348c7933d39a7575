"""The paper's experiment with dots (section 4.1, figure 3): which operator can tell copies apart?

    python tools/dots.py

Writes a table, JSON and a picture to the output folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.dots.experiment import SIZES, compare_operators
from experiments.dots.showing import format_results
from semiconv_d2 import get_config_file
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.training import load_config
from semiconv_d2.training.checks import TRAINING, check_weights


def grid(text: str) -> tuple[int, int]:
    """Reads rows and columns from a text such as "5x20"."""
    rows, columns = map(int, text.split("x"))
    if min(rows, columns) < 1:
        raise ValueError(text)
    return rows, columns


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("dots", __doc__)
    parser.add_argument("--config-file", default=get_config_file("dots_coloring"), help="YAML")
    parser.add_argument("--output", type=Path, default=Path("output/dots"), help="folder")
    parser.add_argument(
        "--sizes",
        type=grid,
        nargs="+",
        default=SIZES,
        metavar="ROWSxCOLUMNS",
        help=f"grids to test on (default: {' '.join(f'{r}x{c}' for r, c in SIZES)})",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=(0, 1, 2),
        metavar="N",
        help="random seeds of the models (default: 0 1 2)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        metavar="N",
        help="number of processes at the same time, with one thread each (default: 2)",
    )
    parser.add_argument(
        "--weights", default="", help="weights of a ResNet-50 to start from (default: random)"
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    args = parser.parse_args(argv)
    return finish(lambda: compare(args))


def compare(args):
    cfg = load_config(args.config_file, ["MODEL.WEIGHTS", args.weights, *args.opts])
    check_weights(cfg, TRAINING)
    content = compare_operators(cfg, args.output, args.sizes, args.seeds, args.processes)
    print(f"\n{format_results(content)}\n")
    print(
        f"k-means with the true number of copies; {len(args.seeds)} random seeds, mean ± deviation."
    )
    print(f"The backbone started from {content['weights']} weights. {content['seconds']:.0f} s.")
    print(f"Picture: {args.output / 'dots.png'}")
