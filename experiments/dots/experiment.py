"""The paper's experiment with dots (section 4.1, figure 3): identical instances, coloured with and
without position.

Every model is trained on small grids, and tested on grids with more and more copies. k-means gets
the true number of copies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from platform import python_version
from typing import NamedTuple

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer, hooks
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.structures import BitMasks
from detectron2.utils.env import seed_all_rng
from torch import nn
from tqdm import tqdm

from experiments.dots.agreement import adjusted_rand_index, match_clusters, matched_accuracy
from experiments.dots.grids import (
    LENGTHS,
    RADIUS,
    SPACING,
    draw_input,
    grid_settings,
    label_map,
)
from experiments.dots.picture import Panel
from experiments.dots.showing import draw_results, encode_panel, format_results
from semiconv_d2.data.datasets.dots import draw_stamp
from semiconv_d2.errors import ConfigError
from semiconv_d2.modeling import InstanceColoring
from semiconv_d2.ops import segment_means
from semiconv_d2.writing import write_json

TRAINING_GRIDS = (4, 7)
"""Smallest and largest number of rows, and of columns, of the grids for training."""
SIZES = ((4, 4), (8, 8), (5, 20), (15, 15), (20, 20))
"""Rows and columns of the grids for testing."""
PICTURED = 64
"""The picture shows the test grid whose number of copies is closest to this."""
WINDOW = (96, 108)
"""Largest height and width, in pixels, of the part of that grid in the picture: whole dots or
bars."""

COORDINATES = "coordinates alone"
OPERATORS = {
    COORDINATES: ("MODEL.SEMICONV.MIXING", "additive"),
    "convolutional": ("MODEL.SEMICONV.MIXING", "none"),
    "convolutional + margin": (
        *("MODEL.SEMICONV.MIXING", "none"),
        *("MODEL.COLORING.MARGIN_LOSS_WEIGHT", 1.0),
    ),
    "semi-convolutional": ("MODEL.SEMICONV.MIXING", "additive"),
}
"""The operators, and their overrides of the config. The first one is not trained: its Φ is 0."""
CHANCE = "random labels"


class Variant(NamedTuple):
    """One of the models that are compared."""

    object: str
    """A key of `LENGTHS`."""
    operator: str
    """A key of `OPERATORS`."""
    padding: bool | None
    """Whether Φ of the dots can see the border of the image, where the network pads with zeros.
    None if the operator does not use the image."""


class Run(NamedTuple):
    """One model, trained and tested."""

    accuracy: list[float]
    """Pixel accuracy at each size."""
    ari: list[float]
    """Adjusted Rand index at each size."""
    losses: dict[str, float]
    """Medians over the last iterations."""
    seconds: float
    border: dict[int, float]
    """`measure_border` at the largest size; empty if Ψ is not Φ."""
    colouring: np.ndarray
    """The predicted instance of each pixel, −1: none, in the window of the picture."""


VARIANTS = [
    *(Variant(shape, COORDINATES, None) for shape in LENGTHS),
    *(Variant(s, o, False) for s in LENGTHS for o in OPERATORS if o != COORDINATES),
    *(Variant("dots", o, True) for o in OPERATORS if o != COORDINATES),
]


def compare_operators(
    cfg: CfgNode,
    output: Path,
    sizes: Sequence[tuple[int, int]] = SIZES,
    seeds: Sequence[int] = (0, 1, 2),
    processes: int = 2,
) -> dict:
    """Trains and tests every variant with every seed, and writes table, JSON and a picture.

    Args:
        cfg: config of the model; this function sets the keys that differ between operators.
        output: folder to write to.
        sizes: rows and columns of the grids to test on.
        seeds: random seeds.
        processes: number of processes at the same time, with one thread each.

    Returns:
        The content of the JSON.

    Raises:
        ConfigError: the config is that of another model.
    """
    if cfg.MODEL.META_ARCHITECTURE != "InstanceColoring":
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}; this experiment needs "
            "InstanceColoring."
        )
    started = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    sizes = [tuple(size) for size in sizes]
    runs = _run_all(cfg, sizes, seeds, processes)
    rows = [_row(v, [runs[v, s] for s in seeds if (v, s) in runs]) for v in VARIANTS]
    rows += [_chance_row(shape, sizes, seeds) for shape in LENGTHS]
    order = [*OPERATORS, CHANCE]
    rows.sort(key=lambda r: (list(LENGTHS).index(r["object"]), order.index(r["operator"])))
    packages = ("detectron2", "numpy", "scikit-learn", "scipy", "torch")
    content = {
        "sizes": sizes,
        "seeds": list(seeds),
        "weights": cfg.MODEL.WEIGHTS or "random",
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "processes": processes,
        "versions": {"python": python_version()} | {name: version(name) for name in packages},
        "config": cfg.dump(),
        "panels": [encode_panel(p) for p in _panels(runs, sizes, seeds[0])],
    }
    write_json(content, output / "dots.json")
    (output / "table.txt").write_text(f"{format_results(content)}\n", encoding="utf-8")
    draw_results(output / "dots.png", content)
    return content


def train(cfg: CfgNode, variant: Variant, seed: int) -> tuple[nn.Module, dict[str, float]]:
    """Trains a model on random grids; returns it, and the medians of its losses over the last
    iterations."""
    seed_all_rng(seed)
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    if variant.operator == COORDINATES:
        nn.init.zeros_(model.embedding_head.embedding.weight)  # Φ = 0
        return model.eval(), {}
    optimizer = build_optimizer(cfg, model)
    trainer = SimpleTrainer(model, _batches(cfg, variant, seed), optimizer)
    trainer.register_hooks([hooks.LRScheduler(optimizer, build_lr_scheduler(cfg, optimizer))])
    trainer.train(0, cfg.SOLVER.MAX_ITER)
    histories = trainer.storage.histories()
    losses = {k: float(h.median(20)) for k, h in histories.items() if "loss" in k}
    return model.eval(), losses


def measure_border(model: InstanceColoring, image: dict) -> dict[int, float]:
    """How much the border changes the embedding of dots.

    For each dot it takes the distance between its mean embedding and that of the dot in the middle.
    These are averaged over the dots with the same number of pixels between dot and border.

    Args:
        image: an image of `draw_input`.

    Returns:
        The mean distance, by the number of pixels to the border.
    """
    masks = image["instances"].gt_masks.tensor
    height, width = masks.shape[1:]
    where = image["foreground"]
    labels = torch.from_numpy(label_map(masks))[where]
    [coloring] = model.color([image])
    means = segment_means(coloring.embedding[:, where].T.cpu(), labels, len(masks))

    boxes = BitMasks(masks).get_bounding_boxes().tensor
    ends = torch.tensor([width, height])
    to_border = torch.cat([boxes[:, :2], ends - boxes[:, 2:]], dim=1).amin(dim=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = (centres - ends / 2).norm(dim=1).argmin()
    distance = (means - means[middle]).norm(dim=1)
    return {int(b): float(distance[to_border == b].mean()) for b in to_border.unique()}


def _run_all(
    cfg: CfgNode, sizes: Sequence[tuple[int, int]], seeds: Sequence[int], processes: int
) -> dict[tuple[Variant, int], Run]:
    # Coordinates learn nothing, so one seed is enough. The longest jobs come first.
    jobs = [(v, s) for v in VARIANTS for s in (seeds[:1] if v.operator == COORDINATES else seeds)]
    jobs.sort(key=lambda job: LENGTHS[job[0].object], reverse=True)
    runs = {}
    # "spawn", because a process that is forked after PyTorch has started threads may hang.
    with ProcessPoolExecutor(processes, get_context("spawn"), _use_one_thread) as pool:
        futures = {pool.submit(_run, cfg, *job, sizes): job for job in jobs}
        try:
            for future in tqdm(as_completed(futures), "models", len(futures), unit="model"):
                runs[futures[future]] = future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return runs


def _use_one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are not loaded yet
    torch.set_num_threads(1)


def _run(cfg: CfgNode, variant: Variant, seed: int, sizes: Sequence[tuple[int, int]]) -> Run:
    started = time.perf_counter()
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(
        [
            *OPERATORS[variant.operator],
            *("MODEL.COLORING.DECODER", "kmeans"),
            *("TEST.DETECTIONS_PER_IMAGE", max(rows * columns for rows, columns in sizes)),
        ]
    )
    model, losses = train(cfg, variant, seed)
    accuracy, ari, border = [], [], {}
    for size in sizes:
        image = draw_input(grid_settings(variant.object, *size, variant.padding))
        [found] = model([image])
        where = image["foreground"].numpy()
        truth = label_map(image["instances"].gt_masks.tensor)[where]
        clusters = label_map(found["instances"].pred_masks)[where]
        accuracy.append(matched_accuracy(truth, clusters))
        ari.append(adjusted_rand_index(truth, clusters))
        if size == _drawn_size(sizes):
            colouring = np.full(where.shape, -1)
            colouring[where] = match_clusters(truth, clusters)
            colouring = colouring[_window(where)]
        if size == max(sizes, key=np.prod) and model.mixing == "none":
            border = measure_border(model, image)
    return Run(accuracy, ari, losses, time.perf_counter() - started, border, colouring)


def _batches(cfg: CfgNode, variant: Variant, seed: int) -> Iterator[list[dict]]:
    rng = np.random.default_rng(seed)
    while True:
        grids = rng.integers(*TRAINING_GRIDS, (cfg.SOLVER.IMS_PER_BATCH, 2), endpoint=True)
        yield [
            draw_input(grid_settings(variant.object, *grid, variant.padding))
            for grid in grids.tolist()
        ]


def _row(variant: Variant, runs: Sequence[Run]) -> dict:
    """The results of a variant, with the numbers of all seeds side by side."""
    row = variant._asdict() | {
        "accuracy": [list(values) for values in zip(*(r.accuracy for r in runs), strict=True)],
        "ari": [list(values) for values in zip(*(r.ari for r in runs), strict=True)],
        "losses": [r.losses for r in runs],
        "seconds": [r.seconds for r in runs],
    }
    if runs[0].border:
        pixels = list(runs[0].border)
        row["border"] = {
            "pixels": pixels,
            "distance": [[r.border[p] for r in runs] for p in pixels],
        }
    return row


def _chance_row(shape: str, sizes: Sequence[tuple[int, int]], seeds: Sequence[int]) -> dict:
    """The results of chance: each pixel gets a random cluster, with as many clusters as
    instances."""
    pixels = int(draw_stamp(RADIUS, LENGTHS[shape]).sum())
    row = {"object": shape, "operator": CHANCE, "padding": None, "accuracy": [], "ari": []}
    for rows, columns in sizes:
        truth = np.repeat(np.arange(rows * columns), pixels)
        drawn = [np.random.default_rng(s).integers(rows * columns, size=len(truth)) for s in seeds]
        row["accuracy"].append([matched_accuracy(truth, clusters) for clusters in drawn])
        row["ari"].append([adjusted_rand_index(truth, clusters) for clusters in drawn])
    return row


def _drawn_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(sizes, key=lambda size: abs(np.prod(size) - PICTURED))


def _window(foreground: np.ndarray) -> tuple[slice, slice]:
    """The part of an image for the picture: whole periods of its instances, from the first one on.

    Args:
        foreground: the pixels of instances, (H, W) boolean.
    """
    gap = SPACING // 2 - RADIUS
    window = []
    for axis, most in ((1, WINDOW[0]), (0, WINDOW[1])):
        covered = np.flatnonzero(foreground.any(axis=axis))
        first, last = int(covered[0]) - gap, int(covered[-1]) + 1 + gap
        window.append(slice(first, min(last, first + most)))
    return tuple(window)


def _panels(
    runs: dict[tuple[Variant, int], Run], sizes: Sequence[tuple[int, int]], seed: int
) -> list[Panel]:
    panels = []
    for shape, padding in (("dots", True), ("dots", False), ("bars", False)):
        image = draw_input(grid_settings(shape, *_drawn_size(sizes), padding))
        window = _window(image["foreground"].numpy())
        colourings = {"truth": label_map(image["instances"].gt_masks.tensor)[window]}
        for operator in OPERATORS:
            variant = Variant(shape, operator, None if operator == COORDINATES else padding)
            colourings[operator] = runs[variant, seed].colouring
        title = f"{shape}, {'with' if padding else 'without'} padding"
        panels.append(Panel(title, image["image"][0].numpy()[window], colourings))
    return panels
