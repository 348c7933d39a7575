"""Reads images of a dataset for the model, in training and evaluation."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetMapper
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler
from PIL import Image

from ...data.files import one_line
from ...data.limits import no_limit_of_pillow
from ...data.pixels import Reading, read_rgb
from ...errors import DatasetError
from .augmentation import QuarterTurn


class ImageMapper(DatasetMapper):
    """Detectron2's mapper with this package's reader of images and with quarter turns.

    If an image cannot be used, a `DatasetError` names its file.
    """

    @configurable
    def __init__(self, *args, reading: Reading, quarter_turns: bool = False, **kwargs):
        """
        Args:
            reading: how image files are read.
            quarter_turns: turn images by 0, 90, 180 or 270 degrees at random.
            args, kwargs: of Detectron2's mapper.
        """
        super().__init__(*args, **kwargs)
        self.reading = reading
        if quarter_turns:
            self.augmentations.augs.append(QuarterTurn())

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        return super().from_config(cfg, is_train) | {
            "reading": Reading.of(cfg.INPUT),
            "quarter_turns": is_train and cfg.INPUT.QUARTER_TURNS,
        }

    def __call__(self, dataset_dict: dict) -> dict:
        file_name = dataset_dict["file_name"]
        pixels = read_rgb(Path(PathManager.get_local_path(file_name)), self.reading)
        with no_limit_of_pillow(), as_file(pixels) as name:
            try:
                mapped = super().__call__({**dataset_dict, "file_name": name})
            except (ValueError, OSError) as error:
                reason = one_line(error).replace(name, Path(file_name).name)
                raise DatasetError(f"{file_name}: {reason}") from error
        return {**mapped, "file_name": file_name}


class _Memory(PathHandler):
    """Files in memory, for readers that need a file name."""

    PREFIX = "semiconv-memory://"

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.numbers = itertools.count()

    def _get_supported_prefixes(self) -> list[str]:
        return [self.PREFIX]

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs) -> BinaryIO:
        return io.BytesIO(self.files[path])


_MEMORY = _Memory()
PathManager.register_handler(_MEMORY)


@contextmanager
def as_file(pixels: np.ndarray) -> Iterator[str]:
    """Gives an image a file name under which Detectron2 can read it, within the context.

    Args:
        pixels: (H, W, 3) uint8, RGB.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PPM")
    name = f"{_Memory.PREFIX}{next(_MEMORY.numbers)}.ppm"
    _MEMORY.files[name] = file.getvalue()
    try:
        yield name
    finally:
        del _MEMORY.files[name]
