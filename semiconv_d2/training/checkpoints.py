"""The checkpoints of a run: written whole or not at all, and the newest one that can be read."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from torch import nn

from ..data.files import one_line
from ..data.names import is_file
from ..errors import ConfigError, TrainingError
from ..writing import write_whole

logger = logging.getLogger(__name__)

NOTE = "last_checkpoint"
FINAL = "model_final"
_WRAPPED = ("state_dict", "model_state_dict", "model_state")  # keys of weights in other formats


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest undamaged checkpoint of a run; None if there is none."""
    return next(whole_checkpoints(folder), None)


def whole_checkpoints(folder: Path) -> Iterator[Path]:
    """The undamaged checkpoints of a run, newest first: the one that the run has noted as its
    newest, then the others by their age. Damaged ones are logged."""
    for path in _noted(folder) + sorted(folder.glob("model_*.pth"), key=_age, reverse=True):
        if is_whole(path):
            yield path
        else:
            logger.warning("%s is damaged and is skipped.", path)


def is_whole(path: Path) -> bool:
    """Whether a checkpoint was written to its end."""
    return zipfile.is_zipfile(path)


def set_aside(folder: Path, proven: int | None) -> None:
    """Renames the checkpoints of a training that diverged, except those that are known to be good.

    Args:
        proven: see `Diverged`.
    """
    if proven is None:
        return
    for path in folder.glob("model_*.pth"):
        number = path.stem.removeprefix("model_")
        if path.stem == FINAL or (number.isdecimal() and int(number) > proven):
            with suppress(FileNotFoundError):  # another process has renamed it
                path.rename(path.with_suffix(".diverged"))


def _noted(folder: Path) -> list[Path]:
    """What a run has noted as its newest checkpoint, if that is a file of its folder."""
    note = folder / NOTE
    if not note.is_file():
        return []
    name = note.read_text(encoding="utf-8", errors="replace").strip()
    path = folder / name
    if name and Path(name).name == name and path.suffix == ".pth" and is_file(path):
        return [path]
    logger.warning("%s does not name a checkpoint of its folder.", note)
    return []


def _age(path: Path) -> float:
    return path.stat().st_mtime


class UnreadableError(Exception):
    """A checkpoint that cannot be read."""


class Diverged(BaseException):
    """A training whose numbers are no longer finite. Not an `Exception`, because Detectron2 prints
    their tracebacks."""

    def __init__(self, what: str, proven: int | None = None):
        """
        Args:
            what: the message: what became infinite or NaN.
            proven: the last iteration whose weights are known to be good; None if all saved weights
                are good.
        """
        super().__init__(what)
        self.proven = proven


class WeightsCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer that also reads weights under other keys than its own."""

    def _torch_load(self, f: str) -> Any:
        content = super()._torch_load(f)
        if isinstance(content, dict) and "model" not in content:
            wrapped = (content.get(key) for key in _WRAPPED)
            content = next((weights for weights in wrapped if isinstance(weights, dict)), content)
        return content


class RunCheckpointer(WeightsCheckpointer):
    """Detectron2's checkpointer for the folder of a run.

    - A checkpoint is written whole or not at all, and only if all weights are finite.
    - A run is resumed from the newest checkpoint that can be read.
    """

    def __init__(self, model: nn.Module, folder: str, **checkpointables: Any):
        super().__init__(model, folder, **checkpointables)
        self.path_manager = _WholeFiles()

    def save(self, name: str, **kwargs: Any) -> None:
        """Detectron2's `save`.

        Raises:
            TrainingError: the checkpoint cannot be written; a file of the same name is kept.
            Diverged: a weight is infinite or NaN.
        """
        broken = [key for key, value in self.model.state_dict().items() if not _is_finite(value)]
        if broken:
            raise Diverged(f"{broken[0]} became infinite or NaN")
        try:
            super().save(name, **kwargs)
        except (OSError, RuntimeError) as error:  # PyTorch's writer raises the latter
            raise TrainingError(
                f"the checkpoint {name} cannot be written into {self.save_dir}: {one_line(error)}. "
                f"The checkpoint before it is kept: {tell_newest(Path(self.save_dir))}."
            ) from error

    def has_checkpoint(self) -> bool:
        return newest_checkpoint(Path(self.save_dir)) is not None

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Detectron2's `resume_or_load`.

        Raises:
            ConfigError: the run has checkpoints, but none of them can be read; or not all processes
                see the same checkpoints.
        """
        folder, damaged = Path(self.save_dir), []
        if resume and len({*comm.all_gather(newest_checkpoint(folder))}) > 1:
            raise ConfigError(
                f"OUTPUT_DIR {folder} has other checkpoints on another machine: to resume, all "
                "machines must see the same folder."
            )
        for checkpoint in whole_checkpoints(folder) if resume else ():
            try:
                return self.load(str(checkpoint))
            except UnreadableError as error:
                self._parsed_url_during_load = None
                damaged.append(checkpoint.name)
                logger.warning("%s cannot be read and is skipped: %s", checkpoint, error)
            except ValueError as error:  # of the optimizer
                raise ConfigError(
                    f"{checkpoint} cannot be resumed: its optimizer has other groups of parameters "
                    f"({one_line(error)}). Leave the keys under SOLVER as they were."
                ) from error
        if damaged:
            raise ConfigError(
                f"{folder} cannot be resumed: {', '.join(damaged)} cannot be read. Train into "
                "another folder: OUTPUT_DIR FOLDER."
            )
        return self.load(path, checkpointables=[])

    def _torch_load(self, f: str) -> Any:
        try:
            return super()._torch_load(f)
        except Exception as error:  # the readers of damaged files raise whatever comes up
            if Path(f).parent != Path(self.save_dir):
                raise
            raise UnreadableError(f"{type(error).__name__}") from error


def _is_finite(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())


class _WholeFiles:
    """Detectron2's access to files, except that files are written whole or not at all."""

    def open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return write_whole(Path(path), mode) if "w" in mode else PathManager.open(path, mode)

    def __getattr__(self, name: str) -> Any:
        return getattr(PathManager, name)


def tell_newest(folder: Path) -> str:
    """The newest checkpoint of a run, for the end of a sentence."""
    path = newest_checkpoint(folder)
    return f"{path}, from which --resume continues" if path else "there is none yet"
