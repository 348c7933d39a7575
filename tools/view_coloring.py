"""Draws what a model of InstanceColoring sees on its test images.

    python tools/view_coloring.py --config-file configs/bbbc010_coloring.yaml \\
        --output output/bbbc010_coloring/views \\
        --opts MODEL.WEIGHTS output/bbbc010_coloring/model_final.pth

Writes the images that come out best and worst, with their embeddings and votes, and a picture of
where the embeddings of an instance meet.
"""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.files import DatasetError
from semiconv_d2.engine import ConfigError, load_checked_config
from semiconv_d2.engine.coloring_views import describe_meetings, view_colorings
from semiconv_d2.engine.outputs import check_folder


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--images", type=int, default=3, help="in a picture (default: 3)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    parser.set_defaults(resume=False, eval_only=True)
    args = parser.parse_args()
    if args.images < 1:
        parser.error("--images must be at least 1")
    try:
        check_folder(args.output, "--output")
        meetings = view_colorings(load_checked_config(args), args.output, args.images)
    except (ConfigError, DatasetError) as error:
        sys.exit(f"error: {error}")
    print(describe_meetings(meetings))
    print(f"Pictures: {args.output}")


if __name__ == "__main__":
    main()
