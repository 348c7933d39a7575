"""A trained model that takes images as they come."""

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
    """Image in, instances out.

        predictor = semiconv_d2.Predictor.load("output/bbbc010_semiconv")
        instances = predictor("well.png")
        names = [predictor.classes[i] for i in instances.pred_classes]

    Any model of Detectron2 with masks or boxes will do; `explain` needs one of this package.

    Attributes:
        model: in evaluation mode.
        classes: names in the order of `pred_classes`.
        score_threshold: instances below it are left out.
        reading: how image files are read.
        trained_embedding: whether the weights had one; False of a stock model's in a
            semi-convolutional config, whose embedding is then untrained.
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
            model: of Detectron2, trained; put into evaluation mode.
            classes: names, in the order of the model's classes.
            score_threshold: from 0 to 1. What the model itself leaves out stays out.
            augmentations: what images go through before the model sees them, such as
                `ResizeShortestEdge(800, 1333)`; none by default.
            image_format: order of the channels that the model takes, "BGR" or "RGB".
            reading: how image files are read, as under INPUT in a config: which page and channel
                count, and how more than 8 bits are scaled.
            trained_embedding: False where the weights had no embedding.

        Raises:
            ConfigError: the model is none, or the threshold no number from 0 to 1.
        """
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"Predictor takes a model, and {model!r} is none: Predictor.load({str(model)!r}) "
                "finds and loads one."
            )
        if not _is_probability(score_threshold):
            raise ConfigError(f"The score threshold is {score_threshold!r}; a number from 0 to 1.")
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
                YAML or LazyConfig (`.py`); or the name of one of this package.
            weights: a checkpoint. By default that of the run, or the one that the config names.
            score_threshold: see `__init__`.
            device: "cpu", "cuda", "cuda:1", …; by default the config's, which is the CPU after
                training on one, or the CPU where that is missing.
            classes: names; by default those of the run, or of the config's datasets.
            overrides: KEY, VALUE, KEY, VALUE, … of a YAML config; "key=value", … of a LazyConfig.
            run_code: load files too that can run any code: LazyConfigs, and pickles (`.pkl`) that
                are not of Detectron2's model zoo. For files that you trust.

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
        """Instances, best first, on the CPU: `pred_boxes`, `scores`, `pred_classes`, `pred_masks`
        (N, H, W).

        Args:
            image: file, Pillow image, or uint8 array: (H, W, 3) RGB, or (H, W) grey.
                See `read_rgb`.

        Raises:
            ValueError: the array has another shape or type, or the image too many bits or too
                unlike sides. `DatasetError`, which is one: the file is missing or cannot be read.
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
        pixels = read_rgb(image, self.reading)
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


def _is_probability(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) <= 1
