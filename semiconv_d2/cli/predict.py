"""Find instances in images, folders, videos and cameras; draw them and write them to files.

    semiconv predict --model output/bbbc010_semiconv --input images/ --output pictures
    semiconv predict --model configs/voc_semiconv.yaml --weights model.pth --input "*.jpg" \\
        --output pictures --show all
    semiconv predict --model output/bbbc010_semiconv --input worms.mp4 --output pictures
    semiconv predict --model output/bbbc010_semiconv --input 0

    semiconv predict --model output/own_semiconv --input "wells/**/*.tif" --labels labels

Without --output, --labels and --json, windows show the pictures. "--input 0" opens the first
camera.
A pattern such as "wells/**/*.tif" finds the files of all subfolders. --labels writes a 16-bit PNG
for each image: 0 is background, and each instance has a number.
If a file cannot be read, the command names it, continues, and ends with exit status 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data.files import check_file, check_folder
from ..errors import DatasetError
from ..inference.options import AUTO, SCORE_THRESHOLD, SHOWS
from .commands import finish, parser_of, say


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return finish(lambda: predict(arguments), interrupted="stopped")


def parse_arguments(argv):
    parser = parser_of("predict", __doc__)
    parser.add_argument(
        "--model",
        "--config-file",
        required=True,
        help="folder of a run, checkpoint with its config.yaml beside it, or config (YAML or "
        "LazyConfig)",
    )
    parser.add_argument("--weights", help="checkpoint to use instead of the model's own")
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        help="images, folders, patterns, videos, addresses of streams, numbers of cameras",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for the pictures; without --output, --labels and --json, windows show them",
    )
    parser.add_argument(
        "--show",
        nargs="+",
        choices=(*SHOWS, "all"),
        default=["masks"],
        help="what the pictures show (default: masks)",
    )
    parser.add_argument(
        "--format",
        choices=("png", "jpg", "webp", "svg", "pdf"),
        default="png",
        help="file format of the pictures of images (default: png)",
    )
    parser.add_argument(
        "--scale", type=float, default=1, help="scale of the pictures, such as 2 for papers"
    )
    parser.add_argument(
        "--same-colours",
        action="store_true",
        help="colour the embeddings of all images by the same axes",
    )
    parser.add_argument("--json", type=Path, help="file for COCO results")
    parser.add_argument("--labels", type=Path, help="folder for label images")
    parser.add_argument(
        "--annotations",
        type=Path,
        help="JSON in COCO's format from which --json takes its ids; inputs that are not in it are "
        "left out",
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=SCORE_THRESHOLD,
        help="leave out instances with a lower score (default: %(default)s)",
    )
    parser.add_argument(
        "--tile",
        nargs="?",
        const=AUTO,
        type=_size_of_tile,
        metavar="SIZE",
        help="cut larger images into tiles of SIZE × SIZE pixels, and join what is found in them "
        "(default of SIZE: the longer side of the training images)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="PIXELS",
        help="what tiles share (default: one and a half times the length of most training "
        "instances)",
    )
    parser.add_argument(
        "--scale-factor",
        type=float,
        metavar="FACTOR",
        help="resize tiles by it for the model (default: as training images are resized)",
    )
    parser.add_argument(
        "--classes", nargs="+", help="names of the classes, instead of the model's own"
    )
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="also load LazyConfigs and pickles, which can run any code; only if you trust them",
    )
    parser.add_argument("--device", help='"cpu", "cuda", "cuda:1", … (default: the config\'s)')
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE … (LazyConfig: key=value)"
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.scale <= 10:
        parser.error("--scale must be above 0 and at most 10")
    if arguments.annotations and not arguments.json:
        parser.error("--annotations needs --json")
    return arguments


def _size_of_tile(text: str) -> int | str:
    return text if text == AUTO else int(text)


def predict(arguments):
    from ..inference.demo import (
        Demo,
        Drawing,
        check_shows,
        check_windows,
        shared_axes,
        write_results,
    )
    from ..inference.explanation import can_explain
    from ..inference.outputs.labels import check_labels
    from ..inference.predictor import Predictor
    from ..inference.sources import find_sources
    from ..training.messages import show_messages

    show_messages()
    sources = find_sources(arguments.input)
    for folder, option in ((arguments.output, "--output"), (arguments.labels, "--labels")):
        if folder:
            check_folder(folder, option)
    if arguments.json:
        check_file(arguments.json, "--json")
    if arguments.labels:
        check_labels(sources)
    draws = arguments.output or not (arguments.labels or arguments.json)
    if draws and arguments.output is None:
        check_windows()
    predictor = Predictor.load(
        arguments.model,
        weights=arguments.weights,
        score_threshold=arguments.score_threshold,
        device=arguments.device,
        classes=arguments.classes,
        overrides=arguments.opts,
        run_code=arguments.run_code,
        tile=arguments.tile,
        overlap=arguments.overlap,
        scale_factor=arguments.scale_factor,
    )
    every = SHOWS if can_explain(predictor.model) else ("masks",)
    wanted = {*arguments.show, *(every if "all" in arguments.show else ())}
    shows = [s for s in SHOWS if draws and s in wanted]
    check_shows(predictor, sources, shows)
    drawing = Drawing(shows, f".{arguments.format}", arguments.scale)
    collect = arguments.json is not None
    demo = Demo(
        predictor, drawing, arguments.output, arguments.annotations, arguments.labels, collect
    )
    chosen = demo.known(sources)
    if arguments.same_colours and "embedding" in shows:
        demo.drawing = drawing._replace(axes=shared_axes(predictor, chosen))
    try:
        demo.run(chosen)
    finally:
        if arguments.json:
            write_results(demo.results, arguments.json)
    read = len(sources) - len(demo.failed) - len(demo.left_out)
    if demo.left_out:
        say(f"{len(demo.left_out)} inputs are not in {arguments.annotations}: left out.")
    say(f"{read} of {len(sources)} inputs, {demo.found} instances.")
    written = {
        "Pictures": arguments.output,
        "Label images": arguments.labels,
        "Results": arguments.json,
    }
    for what, path in written.items():
        if path and path.exists():
            say(f"{what}: {path}")
    if demo.failed:
        names = "\n".join(f"  {name}: {reason}" for name, reason in demo.failed)
        raise DatasetError(f"these inputs could not be read:\n{names}")
