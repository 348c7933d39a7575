"""Models from configs and weights from checkpoints, with one clear error if they do not fit."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from fvcore.common.checkpoint import _filter_reused_missing_keys
from torch import nn

from ..errors import ConfigError
from .checkpoints import WeightsCheckpointer

ATTACHED = ("mask_branch",)
"""Modules that are attached to a stock model: its checkpoints lack their parameters."""

_NOT_NEEDED = "num_batches_tracked"  # only for training; Caffe2 does not keep it
_CLASSES = re.compile(r"box_predictor\.(\d+\.)?cls_score\.(weight|bias)")
_MODEL_ZOO = ("detectron2://", "https://dl.fbaipublicfiles.com/detectron2/")
_KEPT = re.compile(r"GLOBAL ([\w.]+)")  # in PyTorch's message
_LENGTH = 300  # of other libraries' messages at most, in characters


def runs_code(weights: str) -> bool:
    """Whether loading a checkpoint may run code that is in it, as a pickle can. Pickles of
    Detectron2's own model zoo are trusted.

    Args:
        weights: a file or an address, as in MODEL.WEIGHTS.
    """
    return weights.partition("?")[0].endswith(".pkl") and not weights.startswith(_MODEL_ZOO)


def build_checked(build: Callable[[], nn.Module], where: str) -> nn.Module:
    """Builds a model; whatever goes wrong becomes one clear error.

    Args:
        build: makes the model.
        where: name of its config; messages begin with it.

    Raises:
        ConfigError: the model cannot be built.
    """
    try:
        return build()
    except (
        *(LookupError, ValueError, TypeError, RuntimeError, AssertionError, AttributeError),
    ) as error:
        raise ConfigError(f"{where}: {_reason(error)}") from error


@contextmanager
def reading_weights(weights: str) -> Iterator[None]:
    """Whatever goes wrong while a checkpoint is read becomes one clear error.

    Args:
        weights: a file or an address, as in MODEL.WEIGHTS.

    Raises:
        ConfigError: it cannot be read or fetched.
    """
    try:
        yield
    except Exception as error:  # the readers of damaged files raise whatever comes up
        if "://" in weights and isinstance(error, OSError):
            raise ConfigError(
                f"The weights {weights} cannot be fetched: {_reason(error)}. Download them in "
                "another way, and name the file in MODEL.WEIGHTS."
            ) from error
        if isinstance(error, UnpicklingError) and (kept := _KEPT.search(str(error))):
            raise ConfigError(
                f"The weights {weights} cannot be loaded: the file also contains {kept[1]}, "
                "which PyTorch does not load, since that may run code. If you trust the file, save "
                "only the weights: python -c \"import torch; torch.save({'model': torch.load("
                f"{weights!r}, weights_only=False)['model']}}, 'weights.pth')\""
            ) from error
        raise ConfigError(
            f"The weights {weights} cannot be loaded: {_reason(error)}. Is the file damaged, or "
            "not a checkpoint?"
        ) from error


def load_trained(model: nn.Module, weights: str) -> bool:
    """Loads a checkpoint into a model for inference.

    The checkpoint must have all parameters that inference needs, except those of modules that are
    attached to a stock model.

    Args:
        weights: a file or an address, as in MODEL.WEIGHTS.

    Returns:
        Whether the checkpoint has the attached modules too; if not, they are untrained.

    Raises:
        ConfigError: it cannot be read or fetched, lacks parameters, or has them in other shapes.
    """
    found = _Checkpointer(model)
    with reading_weights(weights):
        found.load(weights)
    if found.other_shapes:
        raise ConfigError(f"The weights {weights} do not fit: {_describe(found.other_shapes)}")
    missing = [name for name in found.missing if not _is_dispensable(name)]
    if missing:
        raise ConfigError(
            f"The weights {weights} lack {len(missing)} of the model's parameters, such as "
            f"{missing[0]}: name the checkpoint of a model that was trained with this config."
        )
    return not any(_is_attached(name) for name in found.missing)


class _Checkpointer(WeightsCheckpointer):
    """A checkpointer that keeps what did not fit.

    Attributes:
        missing: names of parameters that the checkpoint lacks.
        other_shapes: names, shapes in the checkpoint and shapes in the model.
    """

    missing: Sequence[str] = ()
    other_shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]] = ()

    def _load_model(self, checkpoint):
        incompatible = super()._load_model(checkpoint)
        self.missing = sorted(_filter_reused_missing_keys(self.model, incompatible.missing_keys))
        self.other_shapes = incompatible.incorrect_shapes
        return incompatible


def _is_dispensable(name: str) -> bool:
    return name.endswith(_NOT_NEEDED) or _is_attached(name)


def _is_attached(name: str) -> bool:
    return any(part in ATTACHED for part in name.split("."))


def _describe(other_shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> str:
    """Describes parameters of other shapes; names the number of classes if that is the reason."""
    for name, theirs, ours in other_shapes:
        if _CLASSES.search(name):  # the background is one of its classes
            return (
                f"the checkpoint's number of classes is {theirs[0] - 1}, the config's is "
                f"{ours[0] - 1} ({name} has the shape {theirs} in the checkpoint, {ours} in the "
                "model). Name a checkpoint with this config's classes, or set "
                f"MODEL.ROI_HEADS.NUM_CLASSES to {theirs[0] - 1} (in a LazyConfig: "
                "model.roi_heads.num_classes)."
            )
    name, theirs, ours = other_shapes[0]
    more = f", and {len(other_shapes) - 1} more differ" if len(other_shapes) > 1 else ""
    return (
        f"{name} has the shape {theirs} in the checkpoint, {ours} in the model{more}. Name the "
        "config that the checkpoint was trained with."
    )


def _reason(error: Exception) -> str:
    """The message of an error, on one line and not too long; if it says little, also its place."""
    kind = type(error).__name__
    if isinstance(error, (UnpicklingError, EOFError)):
        return kind  # PyTorch's message explains how to run untrusted code
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    text = " ".join(text.split())
    if " " not in text:  # only a missing key, or nothing
        *_, place = traceback.extract_tb(error.__traceback__)
        text = f"{kind} {text}".strip() + f" in {Path(place.filename).name}, `{place.line}`"
    return (text if len(text) <= _LENGTH else f"{text[:_LENGTH]} …").rstrip(".!")
