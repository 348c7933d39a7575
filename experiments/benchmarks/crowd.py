"""Measures `semiconv predict --json` on a large, crowded image, by several checkouts in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from semiconv_d2.data.datasets.synthetic_worms import WormSettings, draw_worms

SIDE = 2048
_TILE = 146  # pixels; worms do not cross the seams between tiles
_WORMS = WormSettings(size=(_TILE, _TILE), worms=(5, 6), width=(6, 9), length=(45, 82))
_MODEL = ("demo_semiconv", "checkpoints/crossing_worms.pth")
_OVERRIDES = (
    *("TEST.DETECTIONS_PER_IMAGE", "1000", "MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.8"),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", "4000", "MODEL.RPN.POST_NMS_TOPK_TEST", "4000"),
    *("MODEL.RPN.NMS_THRESH", "0.9", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"),
)  # a shipped model, with overlapping detections, so that there are a thousand

# Runs in a process of its own. It works with any version of the package that has `Demo`.
_PROGRAM = """
import json, sys, time
from pathlib import Path
from detectron2.modeling.roi_heads import ROIHeads
from torch.nn.modules import module as hooks
from semiconv_d2.cli.predict import main
from semiconv_d2.inference.demo import Demo

times, run = {}, Demo.run

def watched(*arguments, **keys):
    times["start"] = time.perf_counter()
    return run(*arguments, **keys)

def before(layer, *_):
    times.setdefault("network", time.perf_counter())

def after(layer, *_):
    if isinstance(layer, ROIHeads):
        times["found"] = time.perf_counter()

Demo.run = watched
hooks.register_module_forward_pre_hook(before)
hooks.register_module_forward_hook(after)
status = main(sys.argv[1:])
end = time.perf_counter()
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
network = times["found"] - times["network"]
print(json.dumps({
    "status": status, "seconds": end - times["start"], "network": network, "mebibytes": peak / 1024,
}))
"""


def draw_crowd(side: int = SIDE, seed: int = 0) -> tuple[np.ndarray, int]:
    """An image full of synthetic worms, (side, side) uint8, and their number."""
    rng, number = np.random.default_rng(seed), 0
    image = np.zeros((side, side), dtype=np.uint8)
    for top in range(0, side - _TILE + 1, _TILE):
        for left in range(0, side - _TILE + 1, _TILE):
            drawn, masks = draw_worms(_WORMS, rng)
            image[top : top + _TILE, left : left + _TILE] = drawn
            number += len(masks)
    return image, number


class Program(NamedTuple):
    """A command to measure."""

    checkout: Path
    """Folder of the package to run."""
    options: Sequence[str] = ()
    """More options of `semiconv predict`."""


def benchmark_crowd(programs: Mapping[str, Program], repeats: int, side: int = SIDE) -> dict:
    """Measures all programs in turn, each time in a process of its own.

    Args:
        programs: by name; the first one is what the others are compared with.
        side: of the image, in pixels.

    Returns: a table for documents, with what it was made of. Seconds are from the image's file to
        the written JSON, without the start of Python and the loading of the model.
    """
    runs: dict[str, list[dict]] = {name: [] for name in programs}
    results: dict[str, list] = {}
    with tempfile.TemporaryDirectory() as folder:
        image, worms = draw_crowd(side)
        Image.fromarray(image).save(Path(folder, "crowd.png"))
        for _ in range(repeats):
            for name, program in programs.items():
                output = Path(folder, "results.json")
                runs[name].append(_predict(program, folder, output, side))
                results[name] = json.loads(output.read_text())
    first = next(iter(programs))
    medians = {
        name: {key: statistics.median(run[key] for run in runs[name]) for key in runs[name][0]}
        for name in programs
    }
    return {
        "kind": "table",
        "headers": ["", "seconds", "of the network", "of the rest", "peak of memory, MiB"],
        "rows": [
            [name, *(round(x, 1) for x in _row(m)), round(m["mebibytes"])]
            for name, m in medians.items()
        ],
        "side": side,
        "worms": worms,
        "instances": len(results[first]),
        "same": [name for name in programs if results[name] == results[first]],
        "repeats": repeats,
        "runs": runs,
    }


def _row(median: Mapping[str, float]) -> tuple[float, float, float]:
    return median["seconds"], median["network"], median["seconds"] - median["network"]


def _predict(program: Program, folder: str, output: Path, side: int) -> dict:
    config, weights = _MODEL
    checkout = program.checkout.resolve()
    size = ("INPUT.MIN_SIZE_TEST", str(side), "INPUT.MAX_SIZE_TEST", str(side))
    arguments = [
        *("--model", config, "--weights", str(checkout / weights)),
        *("--input", f"{folder}/crowd.png", "--json", str(output), "--score-threshold", "0"),
        *program.options,
        *("--opts", *size, *_OVERRIDES),
    ]
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(ended.stdout.splitlines()[-1])
    if measured.pop("status"):
        raise RuntimeError(ended.stderr)
    return measured
