"""Compares a stock model, the same model with the plugin just attached, and both after the same
fine-tuning."""

from __future__ import annotations

import contextlib
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase, hooks
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import ROI_HEADS_REGISTRY, build_model
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from experiments.comparison import draw_comparison, view_crowded_region
from experiments.dataset_dicts import record_masks
from semiconv_d2.config import read_preset
from semiconv_d2.errors import ConfigError
from semiconv_d2.evaluation.evaluation import Difference, compare
from semiconv_d2.evaluation.evaluation import evaluate as evaluate_results
from semiconv_d2.evaluation.measures import Detections
from semiconv_d2.evaluation.reading import find_truth, read_results
from semiconv_d2.inference.explanation import can_explain
from semiconv_d2.modeling import SemiConvMixin
from semiconv_d2.training.checks import EVALUATION, check_tests, check_weights
from semiconv_d2.training.loading import build_checked, load_trained
from semiconv_d2.training.trainer import Trainer
from semiconv_d2.writing import write_json

STOCK, SEMICONV, PAPER = "stock", "semiconv", "paper"
"""Mask R-CNN without the plugin; with the plugin, as in the config; with ŝ = s + log K instead."""

SEED = 1  # if the config has no random seed: both models see the same images in the same order


class Row(NamedTuple):
    """A model of the table. AP in percent; seconds are the median over images."""

    model: str
    ap: float
    ap50: float
    ap75: float
    seconds_per_image: float | None
    parameters: int
    sigma: float | None = None
    gain: float | None = None
    variant: str = SEMICONV
    """`STOCK`, `SEMICONV` or `PAPER`."""
    tuned: bool = False
    """Whether it has been fine-tuned; if not, the plugin is just attached."""
    sigma_init: float | None = None
    """σ at the start of fine-tuning, in cells."""


def compare_drop_in(
    cfg: CfgNode, output: Path, sigmas: Sequence[float] = ()
) -> tuple[list[Row], Difference]:
    """Runs the comparison, and writes table, JSON, log, checkpoints and a picture.

    Args:
        cfg: config of the semi-convolutional model; MODEL.WEIGHTS is the stock model to attach to.
        output: folder to write to. The fine-tuned models are run folders in it, "stock" and
            "semiconv", which `semiconv report` compares.
        sigmas: for each of these σ, also evaluates the just attached model with the paper's
            rescoring, ŝ = s + log K.

    Returns:
        One row for each model, and the gain of fine-tuned SemiConv over fine-tuned stock in mask
        AP, with its interval.

    Raises:
        ConfigError: the config is not one of such a model, or does not measure mask AP; also see
            `check_weights` and `load_trained`.
    """
    check_weights(cfg, EVALUATION)
    check_tests(cfg, EVALUATION)
    heads = cfg.MODEL.ROI_HEADS.NAME
    if heads not in ROI_HEADS_REGISTRY or not issubclass(
        ROI_HEADS_REGISTRY.get(heads), SemiConvMixin
    ):
        raise ConfigError(
            f"MODEL.ROI_HEADS.NAME is {heads}; the comparison needs semi-convolutional ROI heads, "
            "such as SemiConvROIHeads."
        )
    if "coco" not in cfg.EVALUATION.MEASURES or not cfg.MODEL.MASK_ON:
        raise ConfigError(
            "The comparison uses mask AP, so EVALUATION.MEASURES must have 'coco' and "
            f"MODEL.MASK_ON must be True; they are {cfg.EVALUATION.MEASURES} and "
            f"{cfg.MODEL.MASK_ON}."
        )
    output.mkdir(parents=True, exist_ok=True)
    for name in ("detectron2", "fvcore", "semiconv_d2"):
        setup_logger(str(output / "log.txt"), name=name, configure_stdout=False)
    stock_cfg = _changed(cfg, read_preset("stock"))
    untrained = [
        ("stage 1: stock Mask R-CNN", STOCK, stock_cfg),
        ("SemiConv, just attached", SEMICONV, cfg),
    ]
    paper = read_preset("paper") | {"MODEL.SEMICONV.MASK_SCORE": cfg.MODEL.SEMICONV.MASK_SCORE}
    for sigma in sigmas:
        attached = _changed(cfg, paper | {"MODEL.SEMICONV.SIGMA_INIT": float(sigma)})
        untrained.append((f"just attached, s + log K, σ = {sigma:g}", PAPER, attached))

    steps = iter(range(1, len(untrained) + 6))

    def announce(what: str) -> None:
        print(f"[{next(steps)}/{len(untrained) + 5}] {what}", file=sys.stderr, flush=True)

    rows = []
    for name, variant, one in untrained:
        announce(f"evaluating: {name}")
        row = _row(name, one, _load(one), output)
        rows.append(row._replace(variant=variant))
    models = {}
    for name, variant, one in (("stock Mask R-CNN", STOCK, stock_cfg), ("SemiConv", SEMICONV, cfg)):
        announce(f"fine-tuning: {name}")
        models[name] = fine_tune(_changed(one, {"OUTPUT_DIR": str(output / variant)}))
        announce(f"evaluating: {name}")
        row = _row(f"{name}, fine-tuned", one, models[name], output / variant)
        rows.append(row._replace(variant=variant, tuned=True))
    announce("timing both, and drawing")
    seconds = time_per_image(list(models.values()), _inputs(cfg), cfg.MODEL.DEVICE)
    rows[-2:] = [r._replace(seconds_per_image=s) for r, s in zip(rows[-2:], seconds, strict=True)]
    gain = measure_gain(cfg.DATASETS.TEST[0], output)
    content = {
        "kind": "drop_in",
        "rows": [r._asdict() for r in rows],
        "gain": gain.to_json(),
        "config": cfg.dump(),
    }
    write_json(content, output / "drop_in.json")
    (output / "table.txt").write_text(f"{format_rows(rows)}\n", encoding="utf-8")
    _draw(cfg, models, output / "comparison.png")
    return rows, gain


def measure_gain(dataset: str, output: Path) -> Difference:
    """The difference in mask AP of the two fine-tuned models, and its interval over the images.

    Args:
        dataset: the name of the test dataset.
        output: folder that `compare_drop_in` writes.
    """
    results = "inference/coco_instances_results.json"
    truth = find_truth(dataset)
    stock, semiconv = (
        evaluate_results(
            Detections(truth, read_results(output / variant / results, truth)), ["coco"]
        )
        for variant in (STOCK, SEMICONV)
    )
    [gain] = [d for d in compare(stock, semiconv) if (d.title, d.value) == ("mask AP", "AP")]
    return gain


def draw_twins(cfg: CfgNode, stock: Path, semiconv: Path, path: Path) -> None:
    """Draws the picture of a comparison from two checkpoints.

    Args:
        cfg: config of the semi-convolutional model.
    """
    models = {
        "stock Mask R-CNN": _load(
            _changed(cfg, read_preset("stock") | {"MODEL.WEIGHTS": str(stock)})
        ),
        "SemiConv": _load(_changed(cfg, {"MODEL.WEIGHTS": str(semiconv)})),
    }
    _draw(cfg, models, path)


def read_rows(content: Mapping) -> list[Row]:
    """The rows of a drop_in.json.

    In older files rows have no `variant`, `tuned` and `sigma_init`. These are then read from the
    names of the models.
    """
    return [
        Row(**(row if "variant" in row else row | _read_name(row["model"])))
        for row in content["rows"]
    ]


def _read_name(model: str) -> dict:
    """Fields from the name of a model, such as "g = 1, σ = 20 at the start, fine-tuned"."""
    sigma = re.search(r"σ = (\d+(?:\.\d+)?)", model)
    return {
        "variant": STOCK if "stock" in model else PAPER if sigma else SEMICONV,
        "tuned": model.endswith("fine-tuned"),
        "sigma_init": float(sigma[1]) if sigma else None,
    }


def format_rows(rows: Sequence[Row]) -> str:
    """The rows as a table of text."""
    return tabulate(
        [
            (
                r.model,
                r.ap,
                r.ap50,
                r.ap75,
                r.seconds_per_image,
                f"{r.parameters:,}",
                r.sigma,
                r.gain,
            )
            for r in rows
        ],
        headers=("model", "AP", "AP50", "AP75", "s/image", "parameters", "σ", "gain"),
        floatfmt=("", ".1f", ".1f", ".1f", ".3f", "", ".2f", ".3f"),
        colalign=("left", *["right"] * 7),
        missingval="–",
    )


def fine_tune(cfg: CfgNode) -> nn.Module:
    """Trains the model of `cfg` from its weights, with a progress bar.

    OUTPUT_DIR becomes a run folder, like one of `semiconv train`.
    """
    seed = cfg.SEED if cfg.SEED >= 0 else SEED
    seed_all_rng(seed)
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
    trainer = _QuietTrainer(cfg)
    trainer.resume_or_load(resume=False)
    seed_all_rng(seed)  # the same images for all models, however many parameters they have
    trainer.train()
    return trainer.model


def evaluate(cfg: CfgNode, model: nn.Module, output: Path) -> dict[str, float]:
    """Mask AP of a model on the first test dataset, with a progress bar."""
    name = cfg.DATASETS.TEST[0]
    loader = Trainer.build_test_loader(cfg, name)
    output.mkdir(parents=True, exist_ok=True)
    with _stdout_to(output / "log.txt"):
        evaluator = Trainer.build_evaluator(cfg, name, str(output / "inference"))
        bar = tqdm(loader, desc="images", unit="image", leave=False)
        results = inference_on_dataset(model, bar, evaluator)
    return results["segm"]


@torch.no_grad()
def time_per_image(
    models: Sequence[nn.Module], inputs: Sequence[dict], device: str, warmup: int = 3
) -> list[float | None]:
    """Median seconds per image of each model; the models take turns on each image.

    None if there are no more images than those for warming up.
    """
    seconds: list[list[float]] = [[] for _ in models]
    for model in models:
        model.eval()
    for number, image in enumerate(inputs):
        for model, taken in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model([image])
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if number >= warmup:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) if taken else None for taken in seconds]


class _ProgressBar(HookBase):
    """Shows iterations, remaining time and loss on one line."""

    def before_train(self) -> None:
        self._bar = tqdm(total=self.trainer.max_iter, desc="iterations", unit="it", leave=False)

    def after_step(self) -> None:
        self._bar.update()
        if self.trainer.iter % 10 == 9:
            history = self.trainer.storage.history("total_loss")
            self._bar.set_postfix(loss=f"{history.median(20):.3f}")

    def after_train(self) -> None:
        self._bar.close()


class _QuietTrainer(Trainer):
    """A trainer with a progress bar and without evaluation, which the caller does."""

    def build_hooks(self) -> list[HookBase]:
        kept = [h for h in super().build_hooks() if not isinstance(h, hooks.EvalHook)]
        return [*kept, _ProgressBar()]


def _changed(cfg: CfgNode, keys: Mapping[str, object]) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list([x for pair in keys.items() for x in pair])
    cfg.freeze()
    return cfg


def _load(cfg: CfgNode) -> nn.Module:
    seed_all_rng(SEED)  # for the initial weights of the subnet
    model = build_checked(lambda: build_model(cfg), "MODEL")
    load_trained(model, cfg.MODEL.WEIGHTS)
    return model.eval()


def _row(name: str, cfg: CfgNode, model: nn.Module, output: Path) -> Row:
    results = evaluate(cfg, model, output)
    branch = model.roi_heads.mask_branch
    kernel = None if branch is None else branch.seed_kernel
    rescores = kernel is not None and kernel.rescore
    gain = None if not rescores else 1.0 if kernel.gain is None else kernel.gain().item()
    return Row(
        name,
        results["AP"],
        results["AP50"],
        results["AP75"],
        None,
        sum(p.numel() for p in model.parameters()),
        None if kernel is None else kernel.sigma.item(),
        gain,
        sigma_init=None if kernel is None else cfg.MODEL.SEMICONV.SIGMA_INIT,
    )


def _inputs(cfg: CfgNode, count: int = 33) -> list[dict]:
    loader = Trainer.build_test_loader(cfg, cfg.DATASETS.TEST[0])
    return [batch[0] for batch in islice(loader, count)]


def _draw(cfg: CfgNode, models: dict[str, nn.Module], path: Path) -> None:
    """Draws the test image with the most pixels that several instances share."""
    from PIL import Image

    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    record = max(records, key=lambda r: (record_masks(r).sum(axis=0) > 1).sum())
    loader = Trainer.build_test_loader(cfg, cfg.DATASETS.TEST[0])
    image = next(b[0] for b in loader if b[0]["image_id"] == record["image_id"])
    with torch.no_grad():
        found = {name: m.eval()([image])[0]["instances"] for name, m in models.items()}
    ours = models["SemiConv"]
    draw_comparison(
        path,
        np.asarray(Image.open(record["file_name"]).convert("RGB")),
        record_masks(record),
        found,
        view_crowded_region(ours, image) if can_explain(ours) else None,
    )


@contextlib.contextmanager
def _stdout_to(path: Path) -> Iterator[None]:
    """Writes what pycocotools prints to the log."""
    with path.open("a") as file, contextlib.redirect_stdout(file):
        yield
