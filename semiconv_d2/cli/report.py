"""Make a report of one training run, or of several side by side.

    semiconv report output/voc_semiconv --output report.html
    semiconv report output/voc_mask_rcnn output/voc_semiconv --output report.html

A run is an output folder of `semiconv train`. The report is one HTML file that opens from disk
and needs nothing else: results, training curves, errors, and a gallery of what changed most.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .commands import finish, parser_of, say


def parse_arguments(argv):
    parser = parser_of("report", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="HTML to write")
    parser.add_argument(
        "--names", nargs="+", help="names of the runs (default: those of their folders)"
    )
    parser.add_argument(
        "--dataset", help="dataset to show (default: the first that all runs were evaluated on)"
    )
    parser.add_argument(
        "--image-root", type=Path, help="folder of the images, if the dataset does not name it"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=300,
        metavar="N",
        help="show at most N images in the gallery: those that changed most (default: %(default)s)",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=1000,
        help="bootstrap resamples for the intervals (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    if arguments.pictures < 0 or arguments.resamples < 0:
        parser.error("--pictures and --resamples must be 0 or more")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return finish(lambda: write_report(arguments))


def write_report(arguments):
    from ..data.files import check_file
    from ..report.content import build_page
    from ..report.finished_runs import read_runs
    from ..report.page import render
    from ..writing import write_text

    check_file(arguments.output, "--output")
    runs = read_runs(arguments.runs, arguments.names)
    page = build_page(
        runs, arguments.dataset, arguments.image_root, arguments.pictures, arguments.resamples
    )
    html = render(page)
    for note in page.notes:
        say(f"note: {note}", file=sys.stderr)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(html, arguments.output)
    say(f"wrote {arguments.output}, {len(html.encode()) / 1e6:.1f} MB")
