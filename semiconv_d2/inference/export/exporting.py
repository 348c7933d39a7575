"""Exports a loaded model: its file, and a JSON that says what the file takes and returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.data.transforms import ResizeShortestEdge
from torch import Tensor

from ... import __version__
from ...errors import ConfigError, ExportError
from ...writing import write_json, write_whole
from ..loading import LoadedModel
from ..options import SCORE_THRESHOLD
from ..predictor import Predictor
from .comparing import Comparison, compare, tell
from .formats import INPUT, OPSET, load_network, write_network
from .networks import FOREGROUND, ColoringNetwork, Network, network_of

if TYPE_CHECKING:
    from ..images import ImageLike

_EMPTY = (256, 320)  # height and width of the black image


def description_path(path: Path) -> Path:
    """The path of the JSON beside an exported model: model.onnx.json for model.onnx."""
    return path.with_name(f"{path.name}.json")


def export_model(
    loaded: LoadedModel, form: str, path: Path, images: Sequence[ImageLike]
) -> list[str]:
    """Exports a model and compares the file with PyTorch. Then it writes the file, and its
    description beside it.

    Args:
        loaded: it is moved to the CPU.
        form: one of `FORMATS`.
        path: the file.
        images: images to compare with, at least one. A part of the first one and a black image are
            added.

    Returns:
        A line about the differences for each image.

    Raises:
        ConfigError: the model cannot be exported.
        ExportError: a difference is larger than rounding explains. No file is written.
    """
    network = network_of(loaded.model)
    resize = _resizing(loaded)
    samples = list(_samples(loaded, images))
    content = write_network(network, form, samples[0])
    exported = load_network(content, form)
    comparisons = [compare(network, exported, sample) for sample in samples]
    _check(comparisons, network)
    outputs = exported(samples[0].numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path, "wb") as file:
        file.write(content)
    write_json(
        {
            "format": form,
            **({"opset": OPSET} if form == "onnx" else {}),
            "made_by": f"semiconv_d2 {__version__}, PyTorch {torch.__version__}",
            "input": {
                "name": INPUT,
                "shape": [3, "height", "width"],
                "type": "float32",
                "about": "values from 0 to 255, channels first",
                "channels": loaded.image_format,
                "resize": resize,
            },
            "outputs": list(_describe(network, outputs)),
            "classes": loaded.classes,
            **_thresholds(network),
        },
        description_path(path),
    )
    lines = [tell(c, network.outputs) for c in comparisons]
    if comparisons[0].found is not None and not any(c.found for c in comparisons):
        lines.append("no instances in any image, so little was compared: name better images")
    return lines


def _samples(loaded: LoadedModel, images: Sequence[ImageLike]) -> Iterator[Tensor]:
    predictor = Predictor(
        loaded.model,
        augmentations=loaded.augmentations,
        image_format=loaded.image_format,
        reading=loaded.reading,
    )
    whole = [predictor.prepare(image)["image"].float() for image in images]
    yield from whole
    height, width = whole[0].shape[1:]
    yield whole[0][:, : max(1, height * 3 // 5), : max(1, width * 2 // 3)].contiguous()
    yield torch.zeros(3, *_EMPTY)


def _resizing(loaded: LoadedModel) -> dict | None:
    """How images are resized for the network; None: not at all."""
    if not loaded.augmentations:
        return None
    [resize, *others] = loaded.augmentations
    if others or not isinstance(resize, ResizeShortestEdge):
        raise ConfigError(
            "The config changes test images by other augmentations than ResizeShortestEdge, which "
            "the description of an exported model cannot tell: use ResizeShortestEdge alone."
        )
    return {
        "shorter_side": resize.short_edge_length[0],
        "longer_side_at_most": resize.max_size,
        "method": "Pillow's bilinear",
    }


def _check(comparisons: Sequence[Comparison], network: Network) -> None:
    wrong = [c for c in comparisons if not c.passed]
    if wrong:
        allowed = ", ".join(f"{x.name} {x.tolerance:g} {x.unit}".rstrip() for x in network.outputs)
        raise ExportError(
            f"The exported model differs from PyTorch in {len(wrong)} of {len(comparisons)} "
            f"images, so no file is written. First: {tell(wrong[0], network.outputs)}. Allowed: "
            f"{allowed}."
        )


def _describe(network: Network, values: Sequence[np.ndarray]) -> Iterator[dict]:
    for output, value in zip(network.outputs, values, strict=True):
        shape = [output.axes.get(axis, length) for axis, length in enumerate(value.shape)]
        kind = str(value.dtype)
        yield {"name": output.name, "shape": shape, "type": kind, "about": output.about}


def _thresholds(network: Network) -> dict:
    """What the numbers mean that are left to whoever uses the outputs."""
    if isinstance(network, ColoringNetwork):
        model = network.model
        return {
            "foreground_threshold": model.foreground_threshold,
            "kernel": model.kernel.kernel,
            "sigma": model.kernel.sigma.item(),
        }
    return {"mask_threshold": FOREGROUND, "score_threshold": SCORE_THRESHOLD}
