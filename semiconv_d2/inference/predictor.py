"""A trained model that takes images from files, Pillow or arrays."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.data import transforms
from detectron2.structures import Instances
from torch import nn
from tqdm import tqdm

from ..data.limits import tell_too_large
from ..data.pixels import Reading
from ..errors import ConfigError, DatasetError
from ..modeling.fast import make_fast
from ..modeling.masks.postprocessing import has_regions, postprocess
from .detections import Detections, label
from .explanation import Explanation, can_explain, explain
from .images import open_image, read_rgb
from .loading import load_model
from .options import SCORE_THRESHOLD
from .tiling.joining import join
from .tiling.layout import MOST_SHRUNK, UNKNOWN, ResizeByFactor, Tiling, TrainedScale

if TYPE_CHECKING:
    from .images import ImageLike

logger = logging.getLogger(__name__)

_PATIENCE = 5  # seconds before a bar shows how many tiles are left


class Predictor:
    """Runs a trained model on images: image in, instances out.

        predictor = semiconv_d2.Predictor.load("output/bbbc010_semiconv")
        instances = predictor("well.png")
        names = [predictor.classes[i] for i in instances.pred_classes]

    It works with any Detectron2 model for masks or boxes. `explain` needs a model of this package.

    Attributes:
        model: in evaluation mode.
        classes: names, in the order of `pred_classes`.
        score_threshold: instances with a lower score are left out.
        reading: how image files are read.
        trained_embedding: whether the weights had an embedding. False if a stock model's weights
            were loaded with a semi-convolutional config: the embedding is then untrained.
        tiling: how large images are cut into tiles; None: every image is looked at in one piece.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: Sequence[str] = (),
        score_threshold: float = SCORE_THRESHOLD,
        augmentations: Sequence[transforms.Augmentation] = (),
        image_format: str = "BGR",
        reading: Reading = Reading(),
        trained_embedding: bool = True,
        tile: int | str | None = None,
        overlap: int | None = None,
        scale_factor: float | None = None,
        trained_scale: TrainedScale = UNKNOWN,
    ):
        """
        Args:
            model: a trained Detectron2 model; it is put into evaluation mode.
            classes: names, in the order of the model's classes.
            score_threshold: from 0 to 1. The model's own threshold applies too.
            augmentations: changes to an image before the model gets it, such as
                `ResizeShortestEdge(800, 1333)`; none by default.
            image_format: order of the channels that the model takes, "BGR" or "RGB".
            reading: how image files are read, as under INPUT in a config: which page and channel
                to use, and how to scale more than 8 bits.
            trained_embedding: False if the weights had no embedding.
            tile: greatest height and width of a tile, in pixels of the image. Larger images are
                cut into tiles of this size. "auto": the longer side of the training images. None:
                images are looked at in one piece.
            overlap: pixels that two tiles beside each other share, up to half of a tile. By
                default one and a half times the length of most training instances.
            scale_factor: each tile is resized by it for the model, in place of `augmentations`.
                By default it is the factor by which a training image is resized.
            trained_scale: the scale of the training images.

        Raises:
            ConfigError: `model` is not a model, the threshold is not a number from 0 to 1, or the
                tiles cannot be as they are said to be.
        """
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"Predictor takes a loaded model, and {model!r} is not one: "
                f"Predictor.load({str(model)!r}) finds and loads one."
            )
        if not _is_probability(score_threshold):
            raise ConfigError(
                f"The score threshold is {score_threshold!r}; it must be from 0 to 1."
            )
        self.model = model.eval()
        self.classes = list(classes)
        self.score_threshold = score_threshold
        self.trained_embedding = trained_embedding and can_explain(model)
        self._resize = transforms.AugmentationList(list(augmentations))
        self._format = image_format
        self.reading = reading
        self._trained_scale = trained_scale
        self._warned = False
        if tile is None and (overlap is not None or scale_factor is not None):
            raise ConfigError("An overlap and a scale factor are of tiles: give tile (--tile) too.")
        self.tiling = (
            None if tile is None else Tiling.choose(tile, overlap, scale_factor, trained_scale)
        )

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        weights: str | Path | None = None,
        score_threshold: float = SCORE_THRESHOLD,
        device: str | torch.device | None = None,
        classes: Sequence[str] | None = None,
        overrides: Sequence[str] = (),
        run_code: bool = False,
        tile: int | str | None = None,
        overlap: int | None = None,
        scale_factor: float | None = None,
        fast: bool = False,
    ) -> Predictor:
        """Finds and loads a trained model.

        Args:
            model: the folder of a run; a checkpoint with its `config.yaml` beside it; a config,
                YAML or LazyConfig (`.py`); the name of a shipped model (`options.SHIPPED`), or that
                of a config of this package.
            weights: a checkpoint. By default that of the run, or the one that the config names.
            score_threshold: see `__init__`.
            device: "cpu", "cuda", "cuda:1", …; by default the device of the config, or the CPU if
                there is no such device. After training on a CPU, the config names the CPU.
            classes: names; by default those of the run, or of the config's datasets.
            overrides: KEY, VALUE, KEY, VALUE, … for a YAML config; "key=value", … for a LazyConfig.
            run_code: also load files that can run any code: LazyConfigs, and pickles (`.pkl`) that
                are not from Detectron2's model zoo. Only for files that you trust.
            tile, overlap, scale_factor: see `__init__`.
            fast: make the model faster by `make_fast`. Results change slightly.

        Raises:
            ConfigError: the config or the weights are missing or do not fit.
        """
        loaded = load_model(
            model,
            weights=weights,
            device=device,
            classes=classes,
            overrides=overrides,
            run_code=run_code,
        )
        return cls(
            make_fast(loaded.model) if fast else loaded.model,
            classes=loaded.classes,
            score_threshold=score_threshold,
            augmentations=loaded.augmentations,
            image_format=loaded.image_format,
            reading=loaded.reading,
            trained_embedding=loaded.complete,
            tile=tile,
            overlap=overlap,
            scale_factor=scale_factor,
            trained_scale=loaded.trained_scale,
        )

    def __call__(self, image: ImageLike) -> Instances:
        """Finds the instances of an image: `pred_boxes`, `scores`, `pred_classes`, `pred_masks`
        (N, H, W). They are on the CPU, the highest score first. The masks need N times the
        memory of the image: for large images use `detect`.

        Args:
            image: file, Pillow image, or uint8 array: (H, W, 3) RGB, or (H, W) grey.
                See `read_rgb`.

        Raises:
            ValueError: the array has another shape or type, or the image has more than 8 bits, or
                one side is so much shorter that it would vanish when the image is resized.
            DatasetError: the file is missing or cannot be read. Also a `ValueError`.
        """
        if self.tiling is not None:
            return self.detect(image).instances()
        return self._run(self._input(image))

    def detect(self, image: ImageLike) -> Detections:
        """Finds the same instances as `__call__`. Their masks are windows, so that time and memory
        do not grow with the number of instances times the size of the image. With tiles, memory
        does not grow with the image at all: a TIFF is read tile by tile.

        With a model that is not Detectron2's GeneralizedRCNN, whole masks are made first. On a GPU
        a pixel of a mask's outline can differ from that of `__call__`: see `paste_windows`.

        Raises:
            ValueError, DatasetError: as in `__call__`.
        """
        tiling = self.tiling
        if tiling is None:
            return self._find(self._input(image))
        with open_image(image, self.reading) as regions:
            tiles = tiling.tiles(regions.size)
            if len(tiles) == 1:
                pixels = regions.read(*tiles[0].slices)
                return self._find(self._small_input(pixels, tiling.factor))
            bar = tqdm(tiles, "tiles", unit="tile", leave=False, delay=_PATIENCE, file=sys.stderr)
            found = [
                (tile, self.detect_tile(regions.read(*tile.slices), tiling.factor)) for tile in bar
            ]
        return join(found, regions.size)

    def detect_tile(self, pixels: np.ndarray, factor: float) -> Detections:
        """What the model finds in a tile, (h, w, 3) uint8, RGB, that is resized by a factor."""
        return self._find(self._tile_input(pixels, factor))

    def prepare(self, image: ImageLike) -> dict:
        """An image as the model takes it, Detectron2's dict: "image", (3, h, w) resized, and
        "height" and "width" before that. Raises as `__call__` does."""
        return self._input(image)

    def explain(self, image: ImageLike) -> Explanation:
        """Finds the same instances as `__call__`, and explains them.

        Raises:
            ValueError: as in `__call__`, or the model has no embedding.
        """
        found = explain(self.model, self._input(image), self.score_threshold)
        labels = self.labels(found.instances)
        views = [v._replace(label=text) for v, text in zip(found.views, labels, strict=True)]
        return found._replace(views=views)

    def labels(self, instances: Instances) -> list[str]:
        """A label for each instance: class and score."""
        found = zip(instances.pred_classes.tolist(), instances.scores.tolist(), strict=True)
        return [label(number, score, self.classes) for number, score in found]

    def _input(self, image: ImageLike) -> dict:
        """What the model takes for an image in one piece."""
        pixels = read_rgb(image, self.reading)
        inputs = _resized(pixels, _name_of(image), self._resize, self._format)
        trained = self._trained_scale.factor or 0.0
        if _factor(inputs) * MOST_SHRUNK < trained and not self._warned:
            self._warned = True
            _warn_shrunk(inputs, trained / _factor(inputs))
        return inputs

    def _tile_input(self, pixels: np.ndarray, factor: float) -> dict:
        height, width = (round(factor * side) for side in pixels.shape[:2])
        remedy = "take a smaller --tile or --scale-factor (tile=, scale_factor=)"
        if problem := tell_too_large(height, width, remedy):
            raise DatasetError(f"A tile, resized for the model, {problem}.")
        resize = transforms.AugmentationList([ResizeByFactor(factor)])
        return _resized(pixels, "", resize, self._format)

    def _small_input(self, pixels: np.ndarray, factor: float) -> dict:
        """What the model takes for an image that fits into a tile: the same as without tiles, or
        the tile, if the image would be shrunk."""
        inputs = _resized(pixels, "", self._resize, self._format)
        shrunk = _factor(inputs) * MOST_SHRUNK < factor
        return self._tile_input(pixels, factor) if shrunk else inputs

    def _run(self, inputs: dict) -> Instances:
        with torch.no_grad():
            [output] = self.model([inputs])
        instances = output["instances"].to("cpu")
        return instances[instances.scores >= self.score_threshold]

    def _find(self, inputs: dict) -> Detections:
        if not has_regions(self.model):
            return Detections.of(self._run(inputs))
        with torch.no_grad():
            [raw] = self.model.inference([inputs], do_postprocess=False)
        return Detections.of(
            *postprocess(raw, (inputs["height"], inputs["width"]), self.score_threshold)
        )


def _resized(pixels: np.ndarray, name: str, resize: transforms.Augmentation, channels: str) -> dict:
    height, width = pixels.shape[:2]
    if channels == "BGR":
        pixels = pixels[..., ::-1]
    seen = transforms.AugInput(np.ascontiguousarray(pixels))
    try:
        resize(seen)
    except ValueError as error:  # from Pillow, if a side would have no pixel
        raise DatasetError(
            f"The image has {width} × {height} pixels. Resized for the model, its shorter side "
            "would have no pixel left: crop the image."
        ) from error
    tensor = torch.from_numpy(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))
    return {"image": tensor, "height": height, "width": width, "file_name": name}


def _factor(inputs: dict) -> float:
    """The factor by which an image was resized for the model."""
    return max(inputs["image"].shape[1:]) / max(inputs["height"], inputs["width"])


def _warn_shrunk(inputs: dict, times: float) -> None:
    logger.warning(
        "%s has %d × %d pixels. Resized for the model, its objects are %.1f times smaller than in "
        "training, and may be missed: cut large images into tiles by --tile (tile=).",
        inputs["file_name"] or "The image",
        inputs["width"],
        inputs["height"],
        times,
    )


def _name_of(image: ImageLike) -> str:
    return str(image) if isinstance(image, (str, Path)) else ""


def _is_probability(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) <= 1
