"""Prepare known datasets, draw synthetic ones, or split a dataset.

docs/how_to/datasets.md describes them and says where to get them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .commands import dispatch, finish, parser_of, say
from .drawing import DOTS, WORMS, draw

_STOPPED = "interrupted; nothing is prepared"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    return dispatch("semiconv prepare", __doc__, COMMANDS, arguments)


def bbbc010(argv: Sequence[str] | None = None) -> int:
    """Prepare the worms of BBBC010."""
    parser = _parser(bbbc010, "bbbc010", "bbbc010, or bbbc010_bright_field,")
    parser.add_argument("root", type=Path, help="folder with the unpacked zips")
    parser.add_argument(
        "--bright-field",
        action="store_true",
        help="use the microscope's images of 16 bits instead of the binary foreground",
    )
    args = parser.parse_args(argv)

    def run() -> None:
        from ..data.datasets.bbbc010 import prepare_bbbc010, prepare_bright_field

        prepare = prepare_bright_field if args.bright_field else prepare_bbbc010
        say(prepare(args.root, args.output))

    return finish(run, _STOPPED)


def cvppp_a1(argv: Sequence[str] | None = None) -> int:
    """Prepare the leaves of CVPPP A1."""
    parser = _parser(cvppp_a1, "cvppp_a1")
    parser.add_argument("root", type=Path, help="folder A1 of the Leaf Segmentation Challenge")
    args = parser.parse_args(argv)

    def run() -> None:
        from ..data.datasets.cvppp import prepare_cvppp_a1

        say(prepare_cvppp_a1(args.root, args.output))

    return finish(run, _STOPPED)


def dsb2018(argv: Sequence[str] | None = None) -> int:
    """Prepare the nuclei of the 2018 Data Science Bowl."""
    parser = _parser(dsb2018, "dsb2018")
    parser.add_argument("root", type=Path, help="the unpacked stage1_train of the challenge")
    args = parser.parse_args(argv)

    def run() -> None:
        from ..data.datasets.dsb2018 import prepare_dsb2018

        say(prepare_dsb2018(args.root, args.output))

    return finish(run, _STOPPED)


def voc(argv: Sequence[str] | None = None) -> int:
    """Prepare the instance masks of a PASCAL VOC year."""
    from ..data.datasets.voc import YEARS, prepare_voc

    parser = _parser(voc, "voc", "voc_<year>")
    parser.add_argument("root", type=Path, help="folder of a year, such as VOCdevkit/VOC2012")
    parser.add_argument(
        "--year", type=int, choices=YEARS, help="needed if the name of the folder has no year"
    )
    args = parser.parse_args(argv)
    return finish(lambda: say(prepare_voc(args.root, args.output, args.year)), _STOPPED)


def sbd(argv: Sequence[str] | None = None) -> int:
    """Prepare SBD's instance masks, or its union with VOC 2012."""
    parser = _parser(sbd, "sbd", "sbd, or with --voc sbd_voc_2012,")
    parser.add_argument("root", type=Path, help="the folder benchmark_RELEASE/dataset")
    parser.add_argument(
        "--voc",
        type=Path,
        metavar="VOC2012",
        help="folder VOCdevkit/VOC2012: prepare the union of SBD and its train split instead, "
        "without the images of its val split",
    )
    args = parser.parse_args(argv)

    def run() -> None:
        from ..data.datasets.sbd import prepare_sbd, prepare_union

        if args.voc is None:
            say(prepare_sbd(args.root, args.output))
        else:
            say(prepare_union(args.root, args.voc, args.output))

    return finish(run, _STOPPED)


def synthetic_worms(argv: Sequence[str] | None = None) -> int:
    """Draw images of worms that touch."""
    parser = _parser(synthetic_worms, "synthetic_worms")
    return finish(lambda: draw(parser, WORMS, argv), _STOPPED)


def dots(argv: Sequence[str] | None = None) -> int:
    """Draw images of identical dots in a regular grid."""
    parser = _parser(dots, "dots")
    return finish(lambda: draw(parser, DOTS, argv), _STOPPED)


def hold_out(argv: Sequence[str] | None = None) -> int:
    """Hold out every n-th image of a training set in COCO's format, for choosing settings."""
    parser = parser_of("prepare hold_out", hold_out.__doc__)
    parser.add_argument("json", type=Path, help="annotations of the training set")
    parser.add_argument(
        "--every", type=int, default=5, metavar="N", help="hold out every N-th (default: 5)"
    )
    args = parser.parse_args(argv)

    def run() -> None:
        from ..data.coco.derived import hold_out

        for path, (images, instances) in hold_out(args.json, args.every).items():
            say(f"{path}: {images} images, {instances} instances")

    return finish(run)


def merge_classes(argv: Sequence[str] | None = None) -> int:
    """Put all instances of a dataset in COCO's format into one class."""
    parser = parser_of("prepare merge_classes", merge_classes.__doc__)
    parser.add_argument("json", type=Path, help="annotations")
    parser.add_argument("output", type=Path, help="JSON to write")
    parser.add_argument("--name", default="object", help="name of the class (default: %(default)s)")
    args = parser.parse_args(argv)

    def run() -> None:
        from ..data.coco.derived import merge_classes

        written = merge_classes(args.json, args.output, args.name)
        images, instances = len(written["images"]), len(written["annotations"])
        say(f"{args.output}: {images} images, {instances} instances")

    return finish(run)


COMMANDS = {
    command.__name__: (lambda command=command: command, (command.__doc__ or "").rstrip("."))
    for command in (
        bbbc010,
        cvppp_a1,
        dsb2018,
        voc,
        sbd,
        synthetic_worms,
        dots,
        hold_out,
        merge_classes,
    )
}


def _parser(command, name: str, folder: str | None = None):
    """A parser with the option --output. Its default is a folder in DETECTRON2_DATASETS."""
    parser = parser_of(f"prepare {name}", command.__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder to write (default: {folder or name} in the folder DETECTRON2_DATASETS)",
    )
    return parser
