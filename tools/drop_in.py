"""Attaches the plugin to a trained stock model, fine-tunes both equally long, and compares them.

    python tools/drop_in.py --config-file configs/demo_semiconv.yaml --output output/demo

Writes a table, JSON, log, checkpoints and a picture to the output folder.
"""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.files import DatasetError
from semiconv_d2.engine import ConfigError, load_checked_config
from semiconv_d2.engine.drop_in import compare_drop_in, format_rows
from semiconv_d2.engine.outputs import check_folder
from semiconv_d2.engine.setup import hush_pytorch


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="config of the model of stage 2")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--sigmas",
        type=float,
        nargs="+",
        default=(),
        help="evaluate the attached model with the paper's rescoring at these σ too",
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    parser.set_defaults(resume=False)
    args = parser.parse_args()
    hush_pytorch()
    try:
        check_folder(args.output, "--output")
        cfg = load_checked_config(args)
        rows = compare_drop_in(cfg, args.output, args.sigmas)
    except (ConfigError, DatasetError) as error:
        sys.exit(f"error: {error}")
    print(f"\n{format_rows(rows)}\n")
    print(f"Mask AP on {cfg.DATASETS.TEST[0]}. A single seed: differences of a point mean nothing.")
    if cfg.MODEL.SEMICONV.MASK_SCORE:
        print("Scores are those of MASK_SCORE in all rows.")
    print("Seconds are medians, both models by turns on the same images.")
    print(f"Picture: {args.output / 'comparison.png'}")


if __name__ == "__main__":
    main()
