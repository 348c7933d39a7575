"""Arguments of `semiconv predict`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ...inference.options import AUTO, SCORE_THRESHOLD, SHIPPED, SHOWS
from ..commands import parser_of


def parse_arguments(argv: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    """Reads the command line; ends the process with a message if it is wrong."""
    parser = parser_of("predict", description)
    parser.add_argument(
        "--model",
        "--config-file",
        required=True,
        help="folder of a run, checkpoint with its config.yaml beside it, config (YAML or "
        f"LazyConfig), or shipped model ({', '.join(SHIPPED)})",
    )
    parser.add_argument("--weights", help="checkpoint to use instead of the model's own")
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        help="images, folders, patterns, videos, addresses of streams, numbers of cameras",
    )
    _add_model_options(parser)
    _add_pictures(parser.add_argument_group("pictures"))
    _add_results(parser.add_argument_group("results"))
    _add_tiles(parser.add_argument_group("large images"))
    _add_many(parser.add_argument_group("many images"))
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE … (LazyConfig: key=value)"
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.scale <= 10:
        parser.error("--scale must be above 0 and at most 10")
    if arguments.annotations and not arguments.coco:
        parser.error("--annotations needs --coco")
    for option, numbers in (("--channel", arguments.channel), ("--plane", arguments.plane)):
        if numbers and (len(numbers) not in (1, 3) or min(numbers) < 0):
            parser.error(f"{option} takes one number from 0 on, or three for red, green and blue")
    if arguments.pixel_size is not None and not 0 < arguments.pixel_size < float("inf"):
        parser.error("--pixel-size must be above 0")
    if (arguments.pixel_size is None) != (arguments.unit is None):
        parser.error("--pixel-size and --unit need each other: --pixel-size 0.65 --unit um")
    if arguments.unit is not None and not arguments.unit.strip():
        parser.error('--unit must have a name, such as "um"')
    if arguments.pixel_size and not arguments.table:
        parser.error("--pixel-size needs --table")
    if arguments.processes < 1:
        parser.error("--processes must be at least 1")
    return arguments


def _add_model_options(parser) -> None:
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=SCORE_THRESHOLD,
        help="leave out instances with a lower score (default: %(default)s)",
    )
    parser.add_argument(
        "--classes", nargs="+", help="names of the classes, instead of the model's own"
    )
    parser.add_argument(
        "--channel",
        type=int,
        nargs="+",
        metavar="N",
        help="which channel of the images to read, from 0 on; three become red, green and blue "
        "(default: as in the training)",
    )
    parser.add_argument(
        "--plane",
        type=int,
        nargs="+",
        metavar="N",
        help="which page of a stack to read, from 0 on; three become red, green and blue (default: "
        "as in the training)",
    )
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="also load LazyConfigs and pickles, which can run any code; only if you trust them",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="take less time for an image; results change slightly",
    )
    parser.add_argument("--device", help='"cpu", "cuda", "cuda:1", … (default: the config\'s)')


def _add_pictures(group) -> None:
    group.add_argument(
        "--output",
        type=Path,
        help="folder for the pictures; without it and without results, windows show them",
    )
    group.add_argument(
        "--show",
        nargs="+",
        choices=(*SHOWS, "all"),
        default=["masks"],
        help="what the pictures show (default: masks)",
    )
    group.add_argument(
        "--format",
        choices=("png", "jpg", "webp", "svg", "pdf"),
        default="png",
        help="file format of the pictures of images (default: png)",
    )
    group.add_argument(
        "--scale", type=float, default=1, help="scale of the pictures, such as 2 for papers"
    )
    group.add_argument(
        "--same-colours",
        action="store_true",
        help="colour the embeddings of all images by the same axes",
    )


def _add_results(group) -> None:
    group.add_argument("--coco", "--json", type=Path, help="file for COCO results")
    group.add_argument(
        "--annotations",
        type=Path,
        help="JSON in COCO's format from which --coco takes its ids; inputs that are not in it are "
        "left out",
    )
    group.add_argument(
        "--table", type=Path, help="file for a row of measures for each instance: .csv or .parquet"
    )
    group.add_argument(
        "--pixel-size", type=float, metavar="SIDE", help="side of a pixel, for --table"
    )
    group.add_argument("--unit", help='unit of --pixel-size, such as "um"')
    group.add_argument(
        "--labels",
        type=Path,
        help="folder for label images: 0 is background, and each instance has a number",
    )
    group.add_argument(
        "--labels-format",
        choices=("png", "tif"),
        default="png",
        help="file format of label images (default: png)",
    )
    group.add_argument(
        "--labels-overlap",
        choices=("best", "layers"),
        default="best",
        help="where masks overlap: the better score has the pixel, or a TIFF has layers that "
        "together keep all pixels (default: best)",
    )
    group.add_argument("--rois", type=Path, help="folder for regions of ImageJ, a zip for an image")
    group.add_argument("--geojson", type=Path, help="folder for GeoJSON, as QuPath reads it")


def _add_tiles(group) -> None:
    group.add_argument(
        "--tile",
        nargs="?",
        const=AUTO,
        type=_tile_size,
        metavar="SIZE",
        help="cut larger images into tiles of SIZE × SIZE pixels, and join what is found in them "
        "(default of SIZE: the longer side of the training images)",
    )
    group.add_argument(
        "--overlap",
        type=int,
        metavar="PIXELS",
        help="what tiles share (default: one and a half times the length of most training "
        "instances)",
    )
    group.add_argument(
        "--scale-factor",
        type=float,
        metavar="FACTOR",
        help="resize tiles by it for the model (default: as training images are resized)",
    )


def _tile_size(text: str) -> int | str:
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pixels") from None


def _add_many(group) -> None:
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with a command that was stopped, and join what several processes have done",
    )
    group.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="number of processes on this machine, each with a model of its own (default: 1)",
    )
    group.add_argument(
        "--shard",
        metavar="K/N",
        help="only every N-th input from the K-th on, such as 3/16; other machines do the others "
        "(default: everything, or the part of a process of torchrun)",
    )
