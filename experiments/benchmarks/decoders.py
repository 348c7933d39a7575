"""Measures time and memory of decoders, depending on the number of instances."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from semiconv_d2.inference.measuring import PeakMemory
from semiconv_d2.modeling.coloring import (
    DECODER_REGISTRY,
    Pixels,
    Segment,
    decode,
    radius,
)

PEER = "MeanShift of scikit-learn"
DIMENSION = 8
SPACING = 4.0  # distance between centres of instances, in radii
NOISE = 0.1  # standard deviation in each channel, in radii
WARM_UP = (1000, 2)  # pixels and instances of a first run, for imports that happen late


class Case(NamedTuple):
    """The size of a problem."""

    pixels: int
    instances: int


def benchmark_decoders(cases: Sequence[Case], *, repeats: int = 3, limit: float = 100.0) -> dict:
    """Measures every decoder, and scikit-learn's mean shift, in turn, on synthetic embeddings.

    Each run has its own process, so that its memory can be measured alone.

    Args:
        limit: largest number of seconds for a process, start included. A decoder that takes longer
            is not run again.

    Returns:
        The content of a JSON file, for `format_decoders`: medians of the seconds and of the peak of
        memory above that of the pixels (MiB; only with glibc), and the number of instances that are
        found exactly. None for a decoder that reached the limit.

    Raises:
        ChildProcessError: a decoder failed.
    """
    names = [*(name for name, _ in DECODER_REGISTRY), PEER]
    runs = {(case, name): [] for case in cases for name in names}
    with tqdm(total=repeats * len(runs), desc="runs", unit="run", leave=False) as progress:
        for _ in range(repeats):
            for (case, name), results in runs.items():
                if None not in results:
                    results.append(_run_in_process(name, case, limit))
                progress.update()
    return {
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "limit": limit,
        "cases": [
            case._asdict() | {"decoders": {name: _summarise(runs[case, name]) for name in names}}
            for case in cases
        ],
    }


def format_decoders(content: dict) -> str:
    """The results as tables of text."""
    cases = content["cases"]
    names = list(cases[0]["decoders"])
    tables = [
        tabulate(
            [
                (
                    f"{case['pixels']:,}",
                    case["instances"],
                    *((case["decoders"][name] or {}).get(key) for name in names),
                )
                for case in cases
            ],
            headers=("pixels", "instances", *names),
            floatfmt=number_format,
            colalign=("right",) * (2 + len(names)),
            missingval="–",
            disable_numparse=[0],
        )
        for key, number_format in (("seconds", ".2f"), ("mebibytes", ".0f"), ("exact", ".0f"))
    ]
    titles = (
        "Seconds, medians of {repeats}, {threads} threads (–: over {limit:g} with the start)",
        "Peak memory above what the pixels take, MiB",
        "Instances found exactly",
    )
    return "\n\n".join(
        f"{title.format(**content)}\n\n{table}" for title, table in zip(titles, tables, strict=True)
    )


def draw_pixels(case: Case, seed: int = 0) -> tuple[Pixels, Tensor]:
    """Draws an image that is all foreground; its instances are blocks of about the same size.

    In the geometric channels the centres of instances are on a grid. In the other channels they are
    random in [0, 1], where 1 is the radius.

    Returns:
        The pixels, and the number of the instance that each belongs to, (P,).
    """
    generator = torch.Generator().manual_seed(seed)
    grid = math.isqrt(case.instances - 1) + 1
    index = torch.arange(case.instances)
    centres = torch.rand(case.instances, DIMENSION, generator=generator)
    centres[:, 0], centres[:, 1] = SPACING * (index % grid), SPACING * (index // grid)

    width = math.isqrt(case.pixels - 1) + 1
    place = torch.arange(case.pixels)
    row, column = (place // width) * grid // width, (place % width) * grid // width
    owner = (row * grid + column) % case.instances
    embedding = torch.randn(case.pixels, DIMENSION, generator=generator)
    embedding.mul_(NOISE).add_(centres.index_select(0, owner))
    sigma = 1 / radius(1.0, "laplacian")
    return Pixels(embedding, torch.ones(case.pixels), sigma, "laplacian"), owner


def measure_decoder(name: str, case: Case) -> dict:
    """Measures seconds, mebibytes and the number of instances found exactly, in this process."""
    run = _mean_shift_of_scikit_learn if name == PEER else _decoder(name)
    run(draw_pixels(Case(*WARM_UP))[0], WARM_UP[1])
    pixels, owner = draw_pixels(case)
    memory = PeakMemory()
    start = time.perf_counter()
    segments = run(pixels, case.instances)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "mebibytes": memory.mebibytes(),
        "exact": _count_exact(segments, owner),
    }


def _decoder(name: str) -> Callable[[Pixels, int], list[Segment]]:
    return lambda pixels, count: decode(pixels, name, max_instances=count, count=count)


def _mean_shift_of_scikit_learn(pixels: Pixels, count: int) -> list[Segment]:
    from sklearn.cluster import MeanShift

    bandwidth = radius(pixels.sigma, pixels.kernel)
    fit = MeanShift(bandwidth=bandwidth, bin_seeding=True).fit(pixels.embedding.numpy())
    labels = torch.from_numpy(fit.labels_)
    groups = labels.argsort(stable=True).split(torch.bincount(labels).tolist())
    return [Segment(group, 1.0) for group in groups]


def _count_exact(segments: Sequence[Segment], owner: Tensor) -> int:
    sizes = torch.bincount(owner)
    owners = [owner[segment.pixels] for segment in segments]
    return sum(bool((o == o[0]).all()) and len(o) == int(sizes[o[0]]) for o in owners)


def _run_in_process(name: str, case: Case, limit: float) -> dict | None:
    """Runs `measure_decoder` in a new process; None if it takes longer than the limit."""
    command = [sys.executable, "-W", "ignore", "-m", __name__, name, *map(str, case)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise ChildProcessError(f"{name} on {case}: {reason[-1]}")
    return json.loads(result.stdout)


def _summarise(results: Sequence[dict | None]) -> dict | None:
    """Medians over runs; None if one of the runs, or one of the values, is None."""
    if None in results:
        return None
    columns = {key: [result[key] for result in results] for key in results[0]}
    return {k: None if None in v else statistics.median(v) for k, v in columns.items()}


if __name__ == "__main__":
    print(json.dumps(measure_decoder(sys.argv[1], Case(*map(int, sys.argv[2:])))))
