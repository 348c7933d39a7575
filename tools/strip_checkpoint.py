"""Keeps the weights of a training checkpoint and drops optimizer, scheduler and iteration.

python tools/strip_checkpoint.py output/demo_mask_rcnn/model_final.pth checkpoints/demo.pth
"""

import sys
from pathlib import Path

import torch


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    if not source.is_file():
        sys.exit(f"error: there is no checkpoint {source}")
    weights = torch.load(source, map_location="cpu", weights_only=True)["model"]
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": weights}, target)
    size = target.stat().st_size / 1e6
    print(f"{target}: {sum(w.numel() for w in weights.values()):,} numbers, {size:.1f} MB")


if __name__ == "__main__":
    main()
