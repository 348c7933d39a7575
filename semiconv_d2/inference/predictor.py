"""A trained model that takes images as they come."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.data import MetadataCatalog, transforms
from detectron2.data.detection_utils import read_image
from detectron2.modeling import build_model
from detectron2.structures import Instances
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import log_first_n
from torch import nn

from .. import get_config_file
from ..data.formats.mask_files import DEEP_MODES
from ..data.formats.own import STRETCH, read_8bit
from ..errors import ConfigError
from ..training.loading import build_checked, load_trained
from ..training.run_folder import noted_checkpoint
from ..training.setup import COUNTED_BY_ROI_HEADS, check_weights, load_config
from .explanation import Explanation, can_explain, explain

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageLike = np.ndarray | Image | str | Path

logger = logging.getLogger(__name__)

SCORE_THRESHOLD = 0.5
_CHECKPOINTS = (".pth", ".pkl")
_CONFIGS = (".yaml", ".yml", ".py")


class Predictor:
    """Image in, instances out.

        predictor = semiconv_d2.Predictor("output/bbbc010_semiconv")
        instances = predictor("well.png")
        names = [predictor.classes[i] for i in instances.pred_classes]

    Any model of Detectron2 with masks or boxes will do; `explain` needs one of this package.

    Attributes:
        model: in evaluation mode.
        classes: names in the order of `pred_classes`.
        score_threshold: instances below it are left out.
        trained_embedding: whether the weights had one; False of a stock model's in a
            semi-convolutional config, whose embedding is then untrained.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        weights: str | Path | None = None,
        score_threshold: float = SCORE_THRESHOLD,
        device: str | torch.device | None = None,
        classes: Sequence[str] | None = None,
        overrides: Sequence[str] = (),
    ):
        """
        Args:
            model: the folder of a run; a checkpoint with its `config.yaml` beside it; a config,
                YAML or LazyConfig (`.py`, which is run); or the name of one of this package.
            weights: a checkpoint. By default that of the run, or the one that the config names.
            score_threshold: from 0 to 1. What the model itself leaves out stays out.
            device: "cpu", "cuda", "cuda:1", …; by default the config's, which is the CPU after
                training on one, or the CPU where that is missing.
            classes: names; by default those of the run, or of the config's datasets.
            overrides: KEY, VALUE, KEY, VALUE, … of a YAML config; "key=value", … of a LazyConfig.

        Raises:
            ConfigError: the config or the weights are missing or do not fit.
        """
        if not isinstance(score_threshold, Real) or not 0 <= score_threshold <= 1:
            raise ConfigError(f"The score threshold is {score_threshold!r}; a number from 0 to 1.")
        if isinstance(classes, str):
            raise ConfigError(f"classes is {classes!r}; give a list: [{classes!r}].")
        device = None if device is None else str(device)
        config, found = find_config(model)
        load = _load_lazy if config.suffix == ".py" else _load_yaml
        loaded = load(config, str(weights or found or ""), device, list(overrides))
        self.model = loaded.model.eval()
        self.score_threshold = score_threshold
        self.trained_embedding = can_explain(self.model) and loaded.complete
        self.classes = _class_names(classes, config.parent, loaded)
        self._resize = transforms.AugmentationList(loaded.augmentations)
        self._format = loaded.image_format

    def __call__(self, image: ImageLike) -> Instances:
        """Instances, best first, on the CPU: `pred_boxes`, `scores`, `pred_classes`, `pred_masks`
        (N, H, W).

        Args:
            image: file, Pillow image, or uint8 array: (H, W, 3) RGB, or (H, W) grey.
                See `read_rgb`.

        Raises:
            ValueError: the array has another shape or type, or the image too many bits or too
                unlike sides.
            OSError: the file is missing or no image.
        """
        with torch.no_grad():
            [output] = self.model([self._input(image)])
        return self._confident(output["instances"])

    def explain(self, image: ImageLike) -> Explanation:
        """The same instances, and how the model came to them.

        Raises:
            ValueError: as above, or the model has no embedding.
        """
        found = explain(self.model, self._input(image), self.score_threshold)
        labels = self.labels(found.instances)
        views = [v._replace(label=label) for v, label in zip(found.views, labels, strict=True)]
        return found._replace(views=views)

    def labels(self, instances: Instances) -> list[str]:
        """What to write beside instances: class and score."""
        found = zip(instances.pred_classes.tolist(), instances.scores.tolist(), strict=True)
        return [f"{self._name(index)} {score:.0%}" for index, score in found]

    def _name(self, index: int) -> str:
        return self.classes[index] if index < len(self.classes) else f"class {index}"

    def _input(self, image: ImageLike) -> dict:
        pixels = read_rgb(image)
        height, width = pixels.shape[:2]
        name = str(image) if isinstance(image, (str, Path)) else ""
        if self._format == "BGR":
            pixels = pixels[..., ::-1]
        seen = transforms.AugInput(np.ascontiguousarray(pixels))
        try:
            self._resize(seen)
        except ValueError as error:  # of Pillow, where a side would have no pixel
            raise ValueError(
                f"The image has {width} × {height} pixels, of which the shorter side vanishes at "
                "the size that the model sees."
            ) from error
        tensor = torch.from_numpy(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))
        return {"image": tensor, "height": height, "width": width, "file_name": name}

    def _confident(self, instances: Instances) -> Instances:
        instances = instances.to("cpu")
        return instances[instances.scores >= self.score_threshold]


def read_rgb(image: ImageLike) -> np.ndarray:
    """An image as (H, W, 3) uint8, RGB; files the way their EXIF data turn them.

    Grey files of more than 8 bits are stretched as `prepare_custom.py` does it with those that are
    trained on, and of several pages the first one is taken; both is said.

    Raises:
        ValueError: an array has another shape or type, or something that is no file more than 8
            bits.
        OSError: a file is missing or no image.
    """
    if isinstance(image, (str, Path)):
        return _read_file(str(image))
    from PIL.Image import Image

    if not isinstance(image, (np.ndarray, Image)):
        raise ValueError(
            f"The image is a {type(image).__name__}; it must be a file, a Pillow image or an array."
        )
    if isinstance(image, Image):
        if image.mode in DEEP_MODES:
            raise ValueError(
                f"The image has the mode {image.mode}, more than 8 bits, of which Pillow cuts off "
                "what is bright: name its file, which is stretched, or convert it to 8 bits."
            )
        return np.asarray(image.convert("RGB"))
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not fits or not image.size:
        raise ValueError(
            f"The image is an array of {image.dtype} with the shape {image.shape}; it must be "
            "uint8, (height, width, 3) in RGB or (height, width)."
        )
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _read_file(name: str) -> np.ndarray:
    from PIL import Image

    path = PathManager.get_local_path(name)
    with Image.open(path) as header:
        deep = header.mode in DEEP_MODES
        # MPO, a JPEG of some cameras, has a preview as its second page.
        pages = 1 if header.format == "MPO" else getattr(header, "n_frames", 1)
    if deep:
        log_first_n(
            logging.WARNING,
            f"{name} has more than 8 bits. Such images are stretched to 8, each between its "
            f"{STRETCH[0]} and {STRETCH[1]} percentile, as prepare_custom.py does it. If the model "
            "has learned from images that were converted in another way, convert them so too.",
            name=__name__,
        )
        return np.repeat(read_8bit(Path(path))[..., None], 3, axis=2)
    if pages > 1:
        logger.warning("%s has %d pages, of which the first one is taken.", name, pages)
    return read_image(path, "RGB")


def find_config(model: str | Path) -> tuple[Path, Path | None]:
    """The config that a model is named by, and its checkpoint where that is not the config's.

    Args:
        model: see `Predictor`.

    Raises:
        ConfigError: it cannot be found.
    """
    path = Path(model)
    if path.is_dir():
        config = path / "config.yaml"
        if not config.is_file():
            raise ConfigError(f"{path} has no config.yaml, which the folder of a run has.")
        checkpoint = _last_checkpoint(path)
        if checkpoint is None:
            raise ConfigError(f"{path} has no checkpoint yet: neither last_checkpoint nor one.")
        return config, checkpoint
    if path.suffix in _CHECKPOINTS:
        config = path.parent / "config.yaml"
        if not path.is_file() or not config.is_file():
            raise ConfigError(
                f"There is no {path}."
                if not path.is_file()
                else f"There is no config.yaml beside {path}: name the config, and the checkpoint "
                "as its weights."
            )
        return config, path
    if path.suffix in _CONFIGS and path.is_file():
        # A run writes down its config with the weights that it started from.
        return path, _last_checkpoint(path.parent) if path.name == "config.yaml" else None
    try:
        return Path(get_config_file(str(model))), None
    except ValueError as error:
        raise ConfigError(
            f"{model} is neither a run's folder, nor a checkpoint, nor a config. {error}"
        ) from error


class _Loaded(NamedTuple):
    """What a config says, whatever its kind."""

    model: nn.Module
    augmentations: list
    image_format: str
    datasets: Sequence[str]
    num_classes: int
    """0: not known."""
    complete: bool
    """Whether the weights had all that is attached."""


def _load_yaml(config: Path, weights: str, device: str | None, overrides: list[str]) -> _Loaded:
    if weights:
        overrides = [*overrides, "MODEL.WEIGHTS", weights]
    if device:
        overrides = [*overrides, "MODEL.DEVICE", device]
    cfg = load_config(str(config), overrides)
    counted = cfg.MODEL.META_ARCHITECTURE in COUNTED_BY_ROI_HEADS
    if counted and cfg.MODEL.ROI_HEADS.NUM_CLASSES == 0:
        raise ConfigError(
            f"{config}: MODEL.ROI_HEADS.NUM_CLASSES is 0, which takes the number from the data in "
            "training. Name the folder of the run, whose config has the number, or set it: "
            "MODEL.ROI_HEADS.NUM_CLASSES N."
        )
    check_weights(cfg, resume=False, needed=True)
    _check_device(cfg.MODEL.DEVICE, device)
    model = build_checked(lambda: build_model(cfg), str(config))
    complete = load_trained(model, cfg.MODEL.WEIGHTS)
    low, high = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    return _Loaded(
        model,
        [transforms.ResizeShortestEdge([low, low], high)] if low else [],
        cfg.INPUT.FORMAT,
        [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN],
        cfg.MODEL.ROI_HEADS.NUM_CLASSES if counted else 0,
        complete,
    )


def _load_lazy(config: Path, weights: str, device: str | None, overrides: list[str]) -> _Loaded:
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
            f"{config}: train.init_checkpoint is {weights!r}, which is not there: name the "
            "trained checkpoint."
        )
    if used.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("There is no CUDA device: running on the CPU.")
        used = "cpu"
    _check_device(used, device)
    model = build_checked(lambda: instantiate(cfg.model).to(used), str(config))
    complete = load_trained(model, weights)
    return _Loaded(
        model,
        augmentations,
        image_format,
        [names] if isinstance(names, str) else list(names),
        getattr(getattr(model, "roi_heads", model), "num_classes", 0),
        complete,
    )


def _check_device(used: str, asked: str | None) -> None:
    """Raises `ConfigError` where a device is not there; says so where a better one was not asked
    for, since the config of a run on a CPU has the CPU in it."""
    try:
        torch.empty(0, device=used)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"There is no device {used!r} (--device, MODEL.DEVICE): take cpu, cuda, or cuda:1 for "
            "the second of several."
        ) from error
    if used == "cpu" and not asked and torch.cuda.is_available():
        logger.warning("Running on the CPU, as the config has it; --device cuda takes the GPU.")


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that is there."""
    path = noted_checkpoint(folder) or folder / "model_final.pth"
    return path if path.is_file() else None


def _recorded_classes(folder: Path) -> list[str]:
    """As a run has noted them."""
    try:
        return list(json.loads((folder / "run.json").read_text(encoding="utf-8"))["classes"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _dataset_classes(datasets: Sequence[str]) -> list[str]:
    """Of the first dataset that tells."""
    for name in datasets:
        metadata = MetadataCatalog.get(name)
        if metadata.get("thing_classes"):
            return list(metadata.thing_classes)
        try:
            content = json.loads(Path(metadata.get("json_file", "")).read_text(encoding="utf-8"))
            return [c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def _class_names(given: Sequence[str] | None, folder: Path, loaded: _Loaded) -> list[str]:
    """A name for each class of the model, made up where it is unknown."""
    count = loaded.num_classes
    if given and count and len(given) != count:
        raise ConfigError(
            f"classes has {len(given)} names; the model has {count} classes: give a name for each, "
            "or none."
        )
    found = given or _recorded_classes(folder) or _dataset_classes(loaded.datasets)
    # The config's datasets may be others than the model was trained with.
    known = found and len(found) == (count or len(found))
    return list(found) if known else [f"class {i}" for i in range(count)]
