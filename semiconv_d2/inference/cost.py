"""Compares the cost of a semi-convolutional Mask R-CNN with that of the stock one and of others:
time and memory of inference and of a training step, with synthetic images and random weights.

The models share the config, the input and the random seed. They differ in their ROI heads.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.projects.point_rend import add_pointrend_config
from detectron2.solver import build_optimizer
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import ConfigError
from ..modeling import SemiConvMixin
from ..training.configs import load_config
from .measuring import PeakMemory, busy_seconds, count_operations

STOCK, SEMICONV = "Mask R-CNN", "SemiConv"

_MATCHED = 0.3  # IoU of proposals with instances: at 0.5, few untrained proposals would match

MODELS: dict[str, Sequence] = {
    STOCK: ("MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
    SEMICONV: ("MODEL.ROI_HEADS.NAME", "SemiConvROIHeads"),
    "PointRend": (
        *("MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
        *("MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead", "MODEL.ROI_MASK_HEAD.POOLER_TYPE", ""),
        *("MODEL.ROI_MASK_HEAD.FC_DIM", 1024, "MODEL.ROI_MASK_HEAD.NUM_FC", 2),
        *("MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION", 7),
        *("MODEL.ROI_MASK_HEAD.IN_FEATURES", ["p2"]),
        *("MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", True),
    ),
    "Cascade Mask R-CNN": (
        *("MODEL.ROI_HEADS.NAME", "CascadeROIHeads"),
        *("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
        *("MODEL.ROI_BOX_CASCADE_HEAD.IOUS", (_MATCHED,) * 3),
    ),
}
"""The overrides of the config for each model."""

PHASES = ("inference", "training step")
_CROWDED = 0.98  # threshold of non-maximum suppression, to keep boxes on top of each other
_OWN_PARTS = ("subnet", "pooling", "seed and kernel")

_COLUMNS = (
    ("phase", "", ""),
    ("model", "model", ""),
    ("seconds", "seconds", ".3f"),
    ("ratio", "ratio", ".3f"),
    ("busy_seconds", "of the GPU", ".4f"),
    ("mebibytes", "MiB", ",.0f"),
    ("memory_ratio", "ratio", ".3f"),
    ("operations", "operations", ","),
    ("parameters", "parameters", ","),
)  # key, header and format; a column without values is left out


class Setting(NamedTuple):
    """The size of the input and the masks that is measured."""

    size: int
    """Shorter side of the image, in pixels; the longer one is a third longer."""
    instances: int
    """Number of masks per image at inference, and of instances per image in training."""
    resolution: int
    """Side of the mask head's logits. For PointRend: twice the side of the features that its coarse
    head gets, because PointRend always refines masks to the same size."""
    images: int = 1
    """Images per batch, at inference and in a training step."""
    crowded: bool = False
    """Whether boxes lie on top of each other, so that every region has as many competitors as
    possible. Training then has at most a hundred instances per image."""

    def __str__(self) -> str:
        crowded = "crowded " if self.crowded else ""
        text = f"{self.size} px, {self.instances} {crowded}instances, masks {self.resolution}²"
        return text if self.images == 1 else f"{text}, {self.images} images"


def setting_of(case: dict) -> Setting:
    """The setting of a case that was read from JSON."""
    return Setting(**{name: case[name] for name in Setting._fields if name in case})


def benchmark_models(
    config_file: str,
    overrides: Sequence[str],
    settings: Sequence[Setting],
    repeats: int = 5,
    names: Sequence[str] = tuple(MODELS),
) -> dict:
    """Measures all models in turn, for each setting.

    Returns:
        The content of a JSON file, for `format_costs`: medians of the seconds and of the peak of
        memory beyond the model's own (MiB); their ratios to the first model; the number of
        operations and the seconds that the GPU is busy with them; and the time of each part that
        only the semi-convolutional model has.
    """
    cases, device = [], None
    for setting in settings:
        own = [n for n in names if n in (STOCK, SEMICONV)] if setting.crowded else names
        cfgs = {name: _config(config_file, overrides, setting, name) for name in own}
        device = cfgs[names[0]].MODEL.DEVICE
        models = {name: _build(cfg) for name, cfg in cfgs.items()}
        costs = {
            "inference": _measure_inference(models, setting, device, repeats),
            "training step": _measure_training(models, cfgs, setting, device, repeats),
        }
        parameters = {name: _count_parameters(model) for name, model in models.items()}
        case = setting._asdict() | {"parameters": parameters, "costs": costs}
        if SEMICONV in models:
            case["parts"] = _measure_parts(models[SEMICONV], setting, device, repeats)
            case["competitors"] = _count_competitors(models[SEMICONV], setting)
        cases.append(case)
    return {
        "kind": "cost",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU",
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "config": Path(config_file).name,
        "overrides": list(overrides),
        "cases": cases,
    }


def format_costs(content: dict) -> str:
    """The results as tables of text."""
    tables = []
    for case in content["cases"]:
        setting = setting_of(case)
        rows = [
            {"phase": phase, "model": name, "parameters": case["parameters"][name]} | cost
            for phase in PHASES
            for name, cost in case["costs"][phase].items()
        ]
        columns = [c for c in _COLUMNS if any(row.get(c[0]) is not None for row in rows)]
        keys, headers, formats = zip(*columns, strict=True)
        values = [[row.get(key) for key in keys] for row in rows]
        table = tabulate(values, headers, floatfmt=formats, intfmt=",", missingval="–")
        lines = [f"{setting}, {content['device']}, {content['threads']} threads", "", table]
        if "parts" in case:
            total = case["costs"]["inference"][SEMICONV]["seconds"]
            parts = ", ".join(
                f"{name} {1000 * seconds:.1f} ms ({seconds / total:.1%})"
                for name, seconds in case["parts"].items()
            )
            lines += ["", f"SemiConv's own, of inference: {parts}"]
        if "competitors" in case:
            lines.append(f"Competitors of a region: {case['competitors']:.1f}")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _config(config_file: str, overrides: Sequence[str], setting: Setting, name: str) -> CfgNode:
    own = [
        *("MODEL.WEIGHTS", "", "MODEL.MASK_ON", True),
        *("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", setting.resolution // 2),
        *("MODEL.ROI_HEADS.IOU_THRESHOLDS", [_MATCHED]),
        *("TEST.DETECTIONS_PER_IMAGE", setting.instances),
    ]
    if setting.crowded:
        own += [
            *("MODEL.RPN.NMS_THRESH", _CROWDED, "MODEL.ROI_HEADS.NMS_THRESH_TEST", _CROWDED),
            *("MODEL.ANCHOR_GENERATOR.SIZES", [[setting.size / 3]] * 5),
            *("MODEL.RPN.PRE_NMS_TOPK_TEST", 4000),
            *("MODEL.RPN.POST_NMS_TOPK_TEST", 2 * setting.instances),
        ]
    cfg = load_config(config_file, list(overrides))
    cfg.defrost()
    add_pointrend_config(cfg)
    cfg.MODEL.POINT_HEAD.NUM_CLASSES = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    cfg.merge_from_list([*own, *MODELS[name]])
    cfg.freeze()
    return cfg


def _build(cfg: CfgNode) -> nn.Module:
    seed_all_rng(0)
    model = build_model(cfg)
    # An untrained model detects nothing with confidence, and its boxes are random. With these
    # weights one class is likely everywhere and boxes are the anchors, so there are enough
    # detections.
    predictor = model.roi_heads.box_predictor
    for one in predictor if isinstance(predictor, nn.ModuleList) else [predictor]:
        nn.init.zeros_(one.cls_score.weight)
        nn.init.constant_(one.cls_score.bias[:1], 5.0)
        nn.init.zeros_(one.bbox_pred.weight)
    nn.init.zeros_(model.proposal_generator.rpn_head.anchor_deltas.weight)
    return model


def _measure_inference(models, setting: Setting, device: str, repeats: int) -> dict:
    inputs = [_draw_image(setting)] * setting.images

    def run(model: nn.Module) -> None:
        with torch.no_grad():
            outputs = model.eval()(inputs)
        if len(outputs[0]["instances"]) != setting.instances:
            raise ConfigError(
                f"The model predicted {len(outputs[0]['instances'])} masks instead of "
                f"{setting.instances}: an image of {setting.size} pixels has no room for more. "
                "Choose larger images or fewer instances."
            )

    return _by_turns({n: lambda m=m: run(m) for n, m in models.items()}, device, repeats, "infer")


def _measure_training(models, cfgs, setting: Setting, device: str, repeats: int) -> dict:
    if setting.crowded:  # a thousand masks per image would be another benchmark
        setting = setting._replace(instances=min(100, setting.instances))
    inputs = [_draw_image(setting, with_instances=True)] * setting.images
    optimizers = {name: build_optimizer(cfgs[name], model) for name, model in models.items()}

    def run(name: str) -> None:
        seed_all_rng(1)  # so that all models sample the same proposals
        with EventStorage():
            losses = models[name].train()(inputs)
            optimizers[name].zero_grad()
            sum(losses.values()).backward()
        for group in optimizers[name].param_groups:
            group["lr"] = 0.0  # the step costs as much, and weights stay the same
        optimizers[name].step()

    return _by_turns({n: lambda n=n: run(n) for n in models}, device, repeats, "train")


def _by_turns(
    runs: dict[str, Callable[[], None]], device: str, repeats: int, description: str
) -> dict:
    """Runs all of them in turn. Returns medians of seconds and mebibytes, and their ratios to the
    first one."""
    seconds = {name: [] for name in runs}
    memory = {name: [] for name in runs}
    rounds = tqdm(range(repeats + 1), desc=description, unit="round", leave=False, file=sys.stderr)
    for number in rounds:
        for name, run in runs.items():
            peak = PeakMemory(device)
            taken = _time(run, device)
            if number:  # the first round warms up
                seconds[name].append(taken)
                memory[name].append(peak.mebibytes())
    first = next(iter(runs))
    costs = {}
    for name in runs:
        ratios = [a / b for a, b in zip(seconds[name], seconds[first], strict=True)]
        known = None not in memory[name]
        own, stock = (statistics.median(memory[n]) if known else None for n in (name, first))
        costs[name] = {
            "seconds": statistics.median(seconds[name]),
            "ratio": statistics.median(ratios),
            "mebibytes": own,
            "memory_ratio": own / stock if known else None,
            "operations": count_operations(runs[name]),
        }
        if device.startswith("cuda"):
            costs[name]["busy_seconds"] = busy_seconds(runs[name])
    return costs


def _count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def _measure_parts(model: nn.Module, setting: Setting, device: str, repeats: int) -> dict:
    """Median seconds of each part that the stock model does not have."""
    heads: SemiConvMixin = model.eval().roi_heads
    inputs = [_draw_image(setting)] * setting.images
    features = model.backbone(model.preprocess_image(inputs).tensor)
    found = model.inference(inputs, do_postprocess=False)
    boxes = [x.pred_boxes for x in found]
    branch, levels = heads.mask_branch, [features[f] for f in heads.mask_in_features]
    scene = branch.scene(levels)
    embedding = branch.region_embedding(scene.maps, boxes)
    logits = torch.randn_like(embedding[:, 0])
    runs = (
        lambda: branch.scene(levels),
        lambda: branch.region_embedding(scene.maps, boxes),
        lambda: branch.seed_kernel(logits, embedding, heads.competitors(scene, found)),
    )
    return {
        name: statistics.median(_time(run, device) for _ in range(repeats + 1))
        for name, run in zip(_OWN_PARTS, runs, strict=True)
    }


@torch.no_grad()
def _count_competitors(model: nn.Module, setting: Setting) -> float:
    """The mean number of seeds that compete with the seed of a detection."""
    heads: SemiConvMixin = model.eval().roi_heads
    found = model.inference([_draw_image(setting)] * setting.images, do_postprocess=False)
    competitors = heads.competitors(None, found)
    if competitors is None:
        return 0.0
    # No two of these seeds are similar, so all detections that overlap compete.
    seeds = torch.arange(float(sum(map(len, found))), device=competitors.overlap.device)
    weights = competitors.seeds_against(
        seeds[:, None], torch.ones_like(seeds[0]), "laplacian"
    ).weights
    return (weights > 0).sum(dim=1).float().mean().item()


def _time(run: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _draw_image(setting: Setting, with_instances: bool = False) -> dict:
    """An image of noise. For training it has ellipses of all sizes as instances."""
    generator = torch.Generator().manual_seed(0)
    height, width = setting.size, setting.size * 4 // 3
    pixels = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    image = {"image": pixels, "height": height, "width": width}
    if with_instances:
        centres = torch.rand(setting.instances, 2, generator=generator)
        radii = 0.03 + 0.12 * torch.rand(setting.instances, 2, generator=generator)
        masks = _ellipses(centres, radii * height, height, width)
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(BitMasks(masks).get_bounding_boxes().tensor)
        instances.gt_classes = torch.zeros(setting.instances, dtype=torch.long)
        instances.gt_masks = BitMasks(masks)
        image["instances"] = instances
    return image


def _ellipses(centres: Tensor, radii: Tensor, height: int, width: int) -> Tensor:
    """Masks of ellipses, (N, H, W) boolean. Centres, (N, 2), are shares of width and height."""
    x = torch.arange(width) + 0.5
    y = torch.arange(height) + 0.5
    across = (x - centres[:, :1] * width) / radii[:, :1]
    down = (y - centres[:, 1:] * height) / radii[:, 1:]
    return across[:, None].square() + down[:, :, None].square() <= 1
