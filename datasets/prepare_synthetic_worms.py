"""Draw images of worms that cross and touch; see the README beside this script."""

import argparse
from pathlib import Path

from semiconv_d2.data.command_line import run
from semiconv_d2.data.prepared import Summary
from semiconv_d2.data.synthetic_worms import WormSettings, prepare_synthetic_worms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to write (default: synthetic_worms in the folder DETECTRON2_DATASETS)",
    )
    defaults = WormSettings()
    one, two = {"metavar": "N"}, {"nargs": 2, "metavar": ("MIN", "MAX")}
    for option, kind, form, default, text in (
        ("--seed", int, one, 0, "another seed, other worms"),
        ("--train-images", int, one, 1000, "number of images"),
        ("--val-images", int, one, 60, "number of images"),
        ("--size", int, two | {"metavar": ("HEIGHT", "WIDTH")}, defaults.size, "of an image, px"),
        ("--worms", int, two, defaults.worms, "number in an image"),
        ("--width", float, two, defaults.width, "of a worm's body, px"),
        ("--length", float, two, defaults.length, "of a worm, px"),
        ("--crowding", float, one, defaults.crowding, "probability to lie across or beside one"),
    ):
        parser.add_argument(
            option, type=kind, default=default, help=f"{text} (default: %(default)s)", **form
        )
    args = parser.parse_args()

    def prepare() -> Summary:
        settings = WormSettings(
            size=tuple(args.size),
            worms=tuple(args.worms),
            width=tuple(args.width),
            length=tuple(args.length),
            crowding=args.crowding,
        )
        return prepare_synthetic_worms(
            args.output, settings, args.seed, args.train_images, args.val_images
        )

    run(prepare)


if __name__ == "__main__":
    main()
