"""Prepare the worms of BBBC010; see the README beside this script."""

import argparse
from pathlib import Path

from semiconv_d2.data.bbbc010 import prepare_bbbc010
from semiconv_d2.data.command_line import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with the two unpacked zips")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to write (default: bbbc010 in the folder DETECTRON2_DATASETS)",
    )
    args = parser.parse_args()
    run(lambda: prepare_bbbc010(args.root, args.output))


if __name__ == "__main__":
    main()
