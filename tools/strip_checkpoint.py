"""Keeps the weights of a training checkpoint and drops optimizer, scheduler and iteration.

python tools/strip_checkpoint.py output/demo_mask_rcnn/model_final.pth output/demo.pth
python tools/strip_checkpoint.py --half output/demo_mask_rcnn/model_final.pth output/demo.pth
"""

import sys
from pathlib import Path

import torch

from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.errors import UserError


def main(argv=None):
    parser = parser_of("strip_checkpoint", __doc__)
    parser.add_argument("source", type=Path, help="checkpoint")
    parser.add_argument("target", type=Path, help="file to write")
    parser.add_argument(
        "--half", action="store_true", help="write half precision: half the size, rounded numbers"
    )
    arguments = parser.parse_args(argv)
    return finish(lambda: strip(arguments.source, arguments.target, arguments.half))


def strip(source, target, half):
    if not source.is_file():
        raise UserError(f"there is no checkpoint {source}")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # for damaged files, any error is possible
        raise UserError(
            f"{source} is damaged, or is not a checkpoint ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict) or "model" not in content:
        raise UserError(f"{source} is not a Detectron2 checkpoint: it has no weights under 'model'")
    weights = content["model"]
    if half:
        weights = {k: w.half() if w.is_floating_point() else w for k, w in weights.items()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": weights}, target)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{target} cannot be written: {error}") from error
    size = target.stat().st_size / 1e6
    print(f"{target}: {sum(w.numel() for w in weights.values()):,} numbers, {size:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
