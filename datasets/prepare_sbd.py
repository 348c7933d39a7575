"""Prepare SBD's instance masks, or its union with VOC 2012; see the README beside this script."""

import argparse
from pathlib import Path

from semiconv_d2.data.command_line import run
from semiconv_d2.data.prepared import Summary
from semiconv_d2.data.sbd import prepare_sbd, prepare_union


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder benchmark_RELEASE/dataset")
    parser.add_argument(
        "--voc",
        type=Path,
        metavar="VOC2012",
        help="folder VOCdevkit/VOC2012: prepare the union with its train split instead, without "
        "the images of its val split",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to write (default: sbd, or with --voc sbd_voc_2012, in the folder "
        "DETECTRON2_DATASETS)",
    )
    args = parser.parse_args()

    def prepare() -> Summary:
        if args.voc is None:
            return prepare_sbd(args.root, args.output)
        return prepare_union(args.root, args.voc, args.output)

    run(prepare)


if __name__ == "__main__":
    main()
