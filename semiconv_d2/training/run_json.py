"""The file run.json, which a run writes beside its config: commands, versions, machine, classes,
parameters, speed and memory.

    {
        "command": ["python", "tools/train_net.py", …], "started": "2026-01-31T12:00:00+00:00",
        "versions": {"python": "3.12.1", "torch": "2.11.0", …},
        "machine": {"cpus": 16, "device": "NVIDIA H100", "processes": 1},
        "peak_memory_mb": 1234.5,                          of the GPU, or of the process on a CPU
        "later": [{"command": […], …}],                    resumed, or evaluated afterwards
        "classes": ["worm"],                               of the model, in order
        "parameters": 2400000,
        "inference": {dataset: {"seconds_per_image": 0.05, "images": 50, "device": "NVIDIA H100"}}
    }

Each command under "later" has its own versions, machine and peak memory. If a later command on the
same machine needs more memory, the peak memory of the first command is raised as well.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import nn

from ..writing import write_json

logger = logging.getLogger(__name__)

FILE = "run.json"
_PACKAGES = ("torch", "torchvision", "detectron2", "semiconv_d2", "numpy", "pycocotools")
_WARM_UP = 5  # batches that are not timed, as Detectron2 does not time them
_KINDS: dict[str, type | tuple[type, ...]] = {  # of the value of each key
    "command": list,
    "later": list,
    "versions": dict,
    "machine": dict,
    "classes": list,
    "parameters": int,
    "inference": dict,
    "peak_memory_mb": (int, float),
}
_STARTED = datetime.now(timezone.utc).isoformat(timespec="seconds")


class TimedEvaluator(DatasetEvaluator):
    """Wraps an evaluator and times the model alone, without loading and evaluating.

    Args:
        evaluator: does the evaluation.
        model: its calls are timed, from `reset` to `evaluate`.
    """

    def __init__(self, evaluator: DatasetEvaluator, model: nn.Module):
        self.evaluator = evaluator
        self.model = model
        self.images = 0
        self._taken: list[tuple[float, int]] = []  # seconds and images of each batch
        self._begin = 0.0
        self._hooks: list = []

    @property
    def timing(self) -> dict | None:
        """Mean seconds per image, after a few batches to warm up; None if nothing was timed."""
        taken = self._taken[min(_WARM_UP, len(self._taken) - 1) :] if self._taken else []
        images = sum(number for _, number in taken)
        if not images:
            return None
        seconds = sum(second for second, _ in taken) / images
        return {"seconds_per_image": round(seconds, 6), "images": self.images}

    def reset(self) -> None:
        self.images, self._taken = 0, []
        self._stop()
        self._hooks = [
            self.model.register_forward_pre_hook(self._before),
            self.model.register_forward_hook(self._after),
        ]
        self.evaluator.reset()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        self.images += len(inputs)
        self.evaluator.process(inputs, outputs)

    def evaluate(self):
        self._stop()
        return self.evaluator.evaluate()

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _before(self, model: nn.Module, inputs: tuple) -> None:
        self._begin = time.perf_counter()

    def _after(self, model: nn.Module, inputs: tuple, outputs: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._taken.append((time.perf_counter() - self._begin, len(inputs[0])))


def gather_timings(timings: Iterable[dict | None]) -> list[dict | None]:
    """Merges the timings of all processes: the sum of their images, and the mean time that a
    process takes for an image."""
    return [_add_timings(shares) for shares in zip(*comm.all_gather(list(timings)), strict=True)]


def _add_timings(shares: Iterable[dict | None]) -> dict | None:
    known = [share for share in shares if share is not None]
    images = sum(share["images"] for share in known)
    if not images:
        return None
    seconds = sum(share["seconds_per_image"] * share["images"] for share in known) / images
    return {"seconds_per_image": round(seconds, 6), "images": images}


def record_run(
    cfg: CfgNode, model: nn.Module, inference: Mapping[str, dict | None] | None = None
) -> None:
    """Writes or updates run.json in OUTPUT_DIR, in the main process only.

    Args:
        inference: by dataset, what `TimedEvaluator.timing` gives.
    """
    if not comm.is_main_process():
        return
    path = Path(cfg.OUTPUT_DIR, FILE)
    record = _read(path)
    machine, peak = _machine(cfg), _peak_memory(cfg)
    own = _own_entry(record)
    own.setdefault("versions", _versions())
    own.setdefault("machine", machine)
    for entry in (record, own):
        if peak is not None and entry.get("machine") == machine:
            entry["peak_memory_mb"] = max(peak, entry.get("peak_memory_mb", 0))
    known = {k: v for k, v in (inference or {}).items() if v is not None}
    record["parameters"] = sum(p.numel() for p in model.parameters())
    record["inference"] = record.get("inference", {}) | {
        dataset: timing | {"device": machine["device"]} for dataset, timing in known.items()
    }
    if names := _classes(cfg):
        record.setdefault("classes", names)  # classes of the training are kept
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, path)


def recorded_classes(folder: Path) -> list[str]:
    """The model's classes in the run.json of a folder, in order; empty if it has none."""
    try:
        return list(json.loads((folder / FILE).read_text(encoding="utf-8"))["classes"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s is broken and will be overwritten: %s", path, error)
        return {}
    if not isinstance(content, dict) or find_wrong(content):
        logger.warning("%s is not the record of a run and will be overwritten", path)
        return {}
    return content


def find_wrong(record: dict) -> str:
    """The first key of run.json whose value has the wrong type; "" if there is none."""
    for key, kind in _KINDS.items():
        if key in record and not isinstance(record[key], kind):
            return key
    for number, entry in enumerate(record.get("later", [])):
        if not isinstance(entry, dict) or find_wrong(entry):
            return f"later[{number}]"
    for dataset, timing in record.get("inference", {}).items():
        seconds = timing.get("seconds_per_image", 0) if isinstance(timing, dict) else None
        if not isinstance(seconds, (int, float)):
            return f"inference[{dataset!r}]"
    return ""


def _own_entry(record: dict) -> dict:
    """The entry of this process's command; it is added if the record lacks it. The entry of the
    first command is the record itself, that of another one is in its list "later"."""
    command = {"command": _command(sys.argv), "started": _STARTED}
    if "command" not in record:
        record |= command
    later = record.get("later", [])
    for entry in (record, *later):
        if command.items() <= entry.items():
            return entry
    record["later"] = [*later, command]
    return command


def _command(arguments: list[str]) -> list[str]:
    """The command as it was typed: `semiconv train …`, or `python SCRIPT …`. An absolute path of a
    script becomes relative to the working directory, or only its name if it lies elsewhere."""
    script = Path(arguments[0])
    if script.suffix != ".py":
        return [script.name, *arguments[1:]]
    if script.is_absolute():
        inside = script.is_relative_to(Path.cwd())
        script = script.relative_to(Path.cwd()) if inside else Path(script.name)
    return ["python", script.as_posix(), *arguments[1:]]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _machine(cfg: CfgNode) -> dict:
    cuda = cfg.MODEL.DEVICE.startswith("cuda")
    return {
        "cpus": os.cpu_count(),
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {platform.machine()}",
        "processes": comm.get_world_size(),
    }


def _classes(cfg: CfgNode) -> list[str]:
    """Classes of the first dataset that is loaded: all datasets have those of the model."""
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        names = MetadataCatalog.get(name).get("thing_classes")
        if names:
            return list(names)
    return []


def _peak_memory(cfg: CfgNode) -> float | None:
    """Peak memory in MiB: allocated on the GPU, or resident memory of a process on the CPU."""
    if cfg.MODEL.DEVICE.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
