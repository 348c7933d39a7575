"""Prepare the instance masks of a PASCAL VOC year; see the README beside this script."""

import argparse
from pathlib import Path

from semiconv_d2.data.command_line import run
from semiconv_d2.data.voc import YEARS, prepare_voc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder of a year, such as VOCdevkit/VOC2012")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to write (default: voc_<year> in the folder DETECTRON2_DATASETS)",
    )
    parser.add_argument(
        "--year", type=int, choices=YEARS, help="where the folder of the year does not tell"
    )
    args = parser.parse_args()
    run(lambda: prepare_voc(args.root, args.output, args.year))


if __name__ == "__main__":
    main()
