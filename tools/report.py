"""Makes a report of one training run, or of several beside each other.

    python tools/report.py output/voc_semiconv --output report.html
    python tools/report.py output/voc_mask_rcnn output/voc_semiconv --output report.html

A run is an output folder of tools/train_net.py. The report is one HTML file that opens from disk
and needs nothing else: results, training curves, errors, and a gallery of what changed most.
"""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.files import DatasetError
from semiconv_d2.evaluation import MeasureError


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="HTML to write")
    parser.add_argument("--names", nargs="+", help="of the runs (default: those of the folders)")
    parser.add_argument(
        "--dataset", help="evaluated on (default: the first that all runs were evaluated on)"
    )
    parser.add_argument(
        "--image-root", type=Path, help="folder of the images, where the dataset does not tell it"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=300,
        metavar="N",
        help="images in the gallery at most, those that changed most (default: %(default)s)",
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="draws for the intervals (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if arguments.pictures < 0 or arguments.resamples < 0:
        parser.error("--pictures and --resamples are 0 or more")
    return arguments


def main():
    arguments = parse_arguments()
    from semiconv_d2.engine import ConfigError
    from semiconv_d2.engine.outputs import check_file
    from semiconv_d2.engine.report import build_page
    from semiconv_d2.engine.runs import ReportError, read_runs
    from semiconv_d2.visualization.report.page import render

    try:
        check_file(arguments.output, "--output")
        runs = read_runs(arguments.runs, arguments.names)
        page = build_page(
            runs, arguments.dataset, arguments.image_root, arguments.pictures, arguments.resamples
        )
        html = render(page)
    except (ConfigError, ReportError) as error:
        sys.exit(f"error: {error}")
    for note in page.notes:
        print(f"note: {note}", file=sys.stderr)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(html, encoding="utf-8")
    print(f"wrote {arguments.output}, {len(html.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except (DatasetError, MeasureError, OSError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}; install it by: pip install {error.name}")
