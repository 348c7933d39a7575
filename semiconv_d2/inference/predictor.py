"""A trained model that takes images from files, Pillow or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.data import transforms
from detectron2.structures import Instances
from torch import nn

from ..data.pixels import Reading
from ..errors import ConfigError
from .explanation import Explanation, can_explain, explain
from .images import read_rgb
from .loading import load_model
from .options import SCORE_THRESHOLD

if TYPE_CHECKING:
    from .images import ImageLike


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

        Raises:
            ConfigError: `model` is not a model, or the threshold is not a number from 0 to 1.
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
    ) -> Predictor:
        """Finds and loads a trained model.

        Args:
            model: the folder of a run; a checkpoint with its `config.yaml` beside it; a config,
                YAML or LazyConfig (`.py`); or the name of a config of this package.
            weights: a checkpoint. By default that of the run, or the one that the config names.
            score_threshold: see `__init__`.
            device: "cpu", "cuda", "cuda:1", …; by default the device of the config, or the CPU if
                there is no such device. After training on a CPU, the config names the CPU.
            classes: names; by default those of the run, or of the config's datasets.
            overrides: KEY, VALUE, KEY, VALUE, … for a YAML config; "key=value", … for a LazyConfig.
            run_code: also load files that can run any code: LazyConfigs, and pickles (`.pkl`) that
                are not from Detectron2's model zoo. Only for files that you trust.

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
            loaded.model,
            classes=loaded.classes,
            score_threshold=score_threshold,
            augmentations=loaded.augmentations,
            image_format=loaded.image_format,
            reading=loaded.reading,
            trained_embedding=loaded.complete,
        )

    def __call__(self, image: ImageLike) -> Instances:
        """Finds the instances of an image: `pred_boxes`, `scores`, `pred_classes`, `pred_masks`
        (N, H, W). They are on the CPU, the highest score first.

        Args:
            image: file, Pillow image, or uint8 array: (H, W, 3) RGB, or (H, W) grey.
                See `read_rgb`.

        Raises:
            ValueError: the array has another shape or type, or the image has more than 8 bits, or
                one side is so much shorter that it would vanish when the image is resized.
            DatasetError: the file is missing or cannot be read. Also a `ValueError`.
        """
        with torch.no_grad():
            [output] = self.model([self._input(image)])
        return self._confident(output["instances"])

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
        views = [v._replace(label=label) for v, label in zip(found.views, labels, strict=True)]
        return found._replace(views=views)

    def labels(self, instances: Instances) -> list[str]:
        """A label for each instance: class and score."""
        found = zip(instances.pred_classes.tolist(), instances.scores.tolist(), strict=True)
        return [f"{self._name(index)} {score:.0%}" for index, score in found]

    def _name(self, index: int) -> str:
        return self.classes[index] if index < len(self.classes) else f"class {index}"

    def _input(self, image: ImageLike) -> dict:
        pixels = read_rgb(image, self.reading)
        height, width = pixels.shape[:2]
        name = str(image) if isinstance(image, (str, Path)) else ""
        if self._format == "BGR":
            pixels = pixels[..., ::-1]
        seen = transforms.AugInput(np.ascontiguousarray(pixels))
        try:
            self._resize(seen)
        except ValueError as error:  # from Pillow, if a side would have no pixel
            raise ValueError(
                f"The image has {width} × {height} pixels. Resized for the model, its shorter side "
                "would have no pixel left: crop the image."
            ) from error
        tensor = torch.from_numpy(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))
        return {"image": tensor, "height": height, "width": width, "file_name": name}

    def _confident(self, instances: Instances) -> Instances:
        instances = instances.to("cpu")
        return instances[instances.scores >= self.score_threshold]


def _is_probability(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) <= 1
