"""Loads trained models from their configs, YAML or LazyConfig."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.data import transforms
from detectron2.modeling import build_model
from torch import nn

from ..data.pixels import Reading
from ..errors import ConfigError
from ..training.checks import EVALUATION, check_weights
from ..training.configs import load_config
from ..training.data_fit import COUNTED_BY_ROI_HEADS
from ..training.loading import build_checked, load_trained
from ..training.run_json import recorded_classes
from .finding import dataset_classes, find_config
from .tiling.layout import UNKNOWN, TrainedScale

logger = logging.getLogger(__name__)


class LoadedModel(NamedTuple):
    """A trained model, and how its input images are prepared."""

    model: nn.Module
    """In evaluation mode."""
    classes: list[str]
    """Names, in the order of the model's classes."""
    augmentations: list
    """Detectron2's augmentations for test images."""
    image_format: str
    """Order of the channels: "RGB", "BGR", …"""
    reading: Reading
    """How image files are read."""
    complete: bool
    """Whether the weights had all the parameters that the plugin adds to a stock model."""
    trained_scale: TrainedScale = UNKNOWN
    """The scale of the training images."""


def load_model(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    classes: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    run_code: bool = False,
) -> LoadedModel:
    """Finds and loads a trained model.

    Args:
        model, weights, device, classes, overrides, run_code: see `Predictor.load`.

    Raises:
        ConfigError: the config or the weights are missing or do not fit.
    """
    if isinstance(classes, str):
        raise ConfigError(f"classes is {classes!r}; it must be a list: [{classes!r}].")
    config, found = find_config(model)
    if config.suffix == ".py" and not run_code:
        raise ConfigError(
            f"{config} is a LazyConfig, a program: to read it is to run it. If you trust its "
            "source, use run_code=True, or --run-code."
        )
    read = _load_lazy if config.suffix == ".py" else _load_yaml
    asked = None if device is None else str(device)
    loaded, told = read(config, str(weights or found or ""), asked, list(overrides), run_code)
    loaded.model.eval()
    return loaded._replace(classes=_class_names(classes, config.parent, told))


class _Classes(NamedTuple):
    """What a config says about its classes."""

    datasets: Sequence[str]
    number: int
    """Number of classes; 0: not known."""


def _load_yaml(
    config: Path, weights: str, device: str | None, overrides: list[str], run_code: bool
) -> tuple[LoadedModel, _Classes]:
    if weights:
        overrides = [*overrides, "MODEL.WEIGHTS", weights]
    if device:
        overrides = [*overrides, "MODEL.DEVICE", device]
    cfg = load_config(str(config), overrides, of_a_run=config.name == "config.yaml")
    counted = cfg.MODEL.META_ARCHITECTURE in COUNTED_BY_ROI_HEADS
    if counted and cfg.MODEL.ROI_HEADS.NUM_CLASSES == 0:
        raise ConfigError(
            f"{config}: MODEL.ROI_HEADS.NUM_CLASSES is 0, so training takes the number of classes "
            "from the data. Name the folder of the run, whose config has the number, or add the "
            "override MODEL.ROI_HEADS.NUM_CLASSES N."
        )
    check_weights(cfg, EVALUATION._replace(run_code=run_code))
    _check_device(cfg.MODEL.DEVICE, device)
    model = build_checked(lambda: build_model(cfg), str(config))
    complete = load_trained(model, cfg.MODEL.WEIGHTS)
    low, high = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    resize = [transforms.ResizeShortestEdge([low, low], high)] if low else []
    reading = Reading.of(cfg.INPUT)
    return (
        LoadedModel(
            model, [], resize, cfg.INPUT.FORMAT, reading, complete, TrainedScale.of(cfg.INPUT)
        ),
        _Classes(
            [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN],
            cfg.MODEL.ROI_HEADS.NUM_CLASSES if counted else 0,
        ),
    )


def _load_lazy(
    config: Path, weights: str, device: str | None, overrides: list[str], run_code: bool
) -> tuple[LoadedModel, _Classes]:
    try:
        cfg = LazyConfig.apply_overrides(LazyConfig.load(str(config)), overrides)
        loader = cfg.dataloader.test
        weights = weights or cfg.train.init_checkpoint
        augmentations = [instantiate(a) for a in loader.mapper.augmentations]
        image_format = cfg.model.get("input_format") or loader.mapper.image_format
        names = loader.dataset.names
        used = device or cfg.train.get("device", "cuda")
    except Exception as error:  # a LazyConfig is a program: it may fail in any way
        raise ConfigError(f"{config}: {type(error).__name__}: {error}") from error
    if not weights or ("://" not in weights and not Path(weights).is_file()):
        raise ConfigError(
            f"{config}: the checkpoint {weights!r} (train.init_checkpoint, or the weights given) "
            "does not exist: name a trained checkpoint."
        )
    if used.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("There is no CUDA device: running on the CPU.")
        used = "cpu"
    _check_device(used, device)
    model = build_checked(lambda: instantiate(cfg.model).to(used), str(config))
    complete = load_trained(model, weights)
    return (
        LoadedModel(model, [], augmentations, image_format, Reading(), complete),
        _Classes(
            [names] if isinstance(names, str) else list(names),
            getattr(getattr(model, "roi_heads", model), "num_classes", 0),
        ),
    )


def _check_device(used: str, asked: str | None) -> None:
    """Raises `ConfigError` if the device does not exist. Warns if the config names the CPU and
    there is a GPU: the config of a run that was trained on a CPU names the CPU."""
    try:
        torch.empty(0, device=used)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"There is no device {used!r} (--device, MODEL.DEVICE): use cpu, cuda, or cuda:1 for "
            "the second GPU."
        ) from error
    if used == "cpu" and not asked and torch.cuda.is_available():
        logger.warning("Running on the CPU, as the config says. To use the GPU: --device cuda.")


def _class_names(given: Sequence[str] | None, folder: Path, told: _Classes) -> list[str]:
    """A name for each class of the model; "class 0", "class 1", … if the names are unknown."""
    count = told.number
    if given and count and len(given) != count:
        raise ConfigError(
            f"classes has {len(given)} names; the model has {count} classes: give a name for each "
            "class, or leave out classes."
        )
    found = given or recorded_classes(folder) or dataset_classes(told.datasets)
    # The datasets of the config may not be those that the model was trained with.
    known = found and len(found) == (count or len(found))
    return list(found) if known else _numbered(count)


def unnamed(classes: Sequence[str]) -> bool:
    """Whether the names of a model's classes were unknown when it was loaded."""
    return list(classes) == _numbered(len(classes))


def _numbered(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]
