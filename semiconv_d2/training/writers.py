"""Where the numbers and pictures of a training go, beside Detectron2's own writers."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.utils.events import EventStorage, EventWriter, get_event_storage

if TYPE_CHECKING:
    from wandb import Run

logger = logging.getLogger(__name__)

RUN_ID_FILE = "wandb_run_id.txt"  # in the output folder, for those who resume


def has_wandb() -> bool:
    """Whether the package can be imported; a folder of that name, as it leaves behind, cannot."""
    try:
        import wandb
    except ImportError:
        return False
    return hasattr(wandb, "init")


class WandbWriter(EventWriter):
    """Scalars, pictures and the config to Weights & Biases.

    Scalars are smoothed as in TensorBoard. Stands before `TensorboardXWriter` in the list of
    writers, which clears the pictures. The run starts with the first scalar; where it cannot, a
    warning says so and training goes on without.

    Everything is logged over "iteration" rather than W&B's own steps, which only grow: a training
    that is resumed from a checkpoint repeats some.
    """

    def __init__(
        self,
        project: str,
        output_dir: str | Path,
        config: Mapping[str, Any],
        resumed: Callable[[], bool] = lambda: False,
        window_size: int = 20,
    ):
        """
        Args:
            output_dir: W&B's files go there; its name becomes the name of the run.
            config: shown with the run.
            resumed: whether the training goes on from a checkpoint; asked when the run starts. If
                so, the last run of the folder goes on.
            window_size: iterations that the median of a scalar is taken over.
        """
        self._project = project
        self._folder = Path(output_dir)
        self._config = config
        self._resumed = resumed
        self._window_size = window_size
        self._last_write = -1
        self._run: Run | None = None
        self._ended = False

    def write(self) -> None:
        storage = get_event_storage()
        records = self._new_records(storage)
        if self._ended or not records:
            return
        if self._run is None:
            self._run = self._start()
            if self._run is None:
                self._ended = True
                return
        for iteration in sorted(records):
            self._run.log({"iteration": iteration, **records[iteration]})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
        self._run, self._ended = None, True

    def _new_records(self, storage: EventStorage) -> dict[int, dict[str, Any]]:
        """By iteration, what has come since the last call."""
        records: dict[int, dict[str, Any]] = defaultdict(dict)
        latest = storage.latest_with_smoothing_hint(self._window_size)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                records[iteration][name] = value
        self._last_write = max(records, default=self._last_write)
        for name, picture, iteration in storage._vis_data:
            # Detectron2 appends the number of a region; those of one iteration are shown together.
            # Keys become names of files, in which Windows forbids some characters.
            key = re.sub(r'\s*\(\d+\)$|[<>:"|?*\\]', "", name)
            records[iteration].setdefault(key, []).append(_to_wandb_image(picture, name))
        return records

    def _start(self) -> Run | None:
        import wandb

        id_file = self._folder / RUN_ID_FILE
        known = id_file.read_text().strip() if self._resumed() and id_file.is_file() else None
        try:
            run = wandb.init(
                project=self._project,
                name=self._folder.resolve().name,
                dir=str(self._folder),
                config=dict(self._config),
                id=known,
                resume="allow" if known else None,
            )
            run.define_metric("iteration")
            run.define_metric("*", step_metric="iteration")
            id_file.write_text(f"{run.id}\n")
        except Exception as error:  # no network, no key, no such project: no reason to stop
            logger.warning("Weights & Biases cannot be used: %s Training goes on without.", error)
            return None
        return run


def _to_wandb_image(picture, caption: str):
    """
    Args:
        picture: (3, H, W) array or tensor, uint8, or floats in [0, 1]; maybe with a gradient.
    """
    import wandb

    values = torch.as_tensor(picture).detach().cpu().permute(1, 2, 0).numpy()
    if values.dtype != np.uint8:
        values = (values * 255).clip(0, 255).round().astype(np.uint8)
    return wandb.Image(values, caption=caption)
