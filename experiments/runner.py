"""Trains and measures the variants of a plan, from the same checkpoint and with several random
seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tqdm import tqdm

from experiments.plan import Plan, folder_name
from semiconv_d2.errors import ConfigError, DatasetError
from semiconv_d2.report.finished_runs import EVALUATION
from semiconv_d2.training.checks import Start
from semiconv_d2.training.configs import load_checked_config, load_config
from semiconv_d2.training.loading import build_checked
from semiconv_d2.training.run_folder import flatten

ROOT = Path(__file__).resolve().parents[1]
OWNERSHIP = "ownership.json"

# Config keys that the machine or the tool sets, and keys that change no result.
_NOT_COMPARED = {
    "OUTPUT_DIR", "SEED", "MODEL.DEVICE", "SOLVER.AMP.ENABLED",
    "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINT_PERIOD", "VIS_PERIOD", "WANDB.PROJECT",
    "EVALUATION.MEASURES", "TEST.EVAL_PERIOD", "INPUT.TRAINED_SIZE", "INPUT.TRAINED_LENGTH",
}  # fmt: skip


class Children:
    """A group of processes that can be ended together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._ended = False

    def run(self, command: Sequence[str], **keys) -> int:
        """Runs a command to its end, and returns its exit status."""
        if self._ended:
            return 1
        process = subprocess.Popen(command, **keys)
        self._running.add(process)
        try:
            return process.wait()
        finally:
            self._running.discard(process)

    def end(self) -> None:
        """Ends all running processes, and starts no others."""
        self._ended = True
        for process in list(self._running):
            process.terminate()


def run_plan(
    plan: Plan, output: Path, processes: int = 1, overrides: Sequence[str] = ()
) -> list[str]:
    """Trains and measures all runs of a plan; skips runs that are complete.

    Every variant is checked before the first training.

    Args:
        output: folder for the folders of all runs.
        processes: number of runs at the same time; they share the cores.
        overrides: KEY VALUE … for all runs, before those of the plan.

    Returns:
        A line for each run that failed.

    Raises:
        ConfigError: a variant cannot be trained or measured; or a run was trained, or begun, with
            a config that differs from the plan.
    """
    for name in tqdm(plan.variants, "checks", unit="variant", leave=False, file=sys.stderr):
        try:
            _check_variant(plan, output, name, overrides)
        except (ConfigError, DatasetError) as error:
            raise ConfigError(f"the variant {name!r} of {plan.name}: {error}") from error
    runs = [run for run in plan.runs if not is_complete(run_folder(output, *run))]
    threads = max(1, torch.get_num_threads() // processes)
    failures, children = [], Children()
    with (
        ThreadPoolExecutor(processes) as pool,
        tqdm(total=len(runs), desc=plan.name, unit="run", file=sys.stderr) as bar,
    ):
        waiting = {
            pool.submit(
                _run, plan, output, name, seed, overrides, threads, children
            ): f"{name}, random seed {seed}"
            for name, seed in runs
        }
        try:
            for future in as_completed(waiting):
                if problem := future.result():
                    failures.append(f"{waiting[future]}: {problem}")
                    bar.write(f"failed: {failures[-1]}", file=sys.stderr)
                bar.update()
        except BaseException:  # an interruption also ends the runs in progress
            pool.shutdown(wait=False, cancel_futures=True)
            children.end()
            raise
    return failures


def run_folder(output: Path, name: str, seed: int) -> Path:
    """The folder of a variant and a random seed."""
    return output / folder_name(name) / f"seed_{seed}"


def is_complete(folder: Path) -> bool:
    """Whether a run has been trained and measured."""
    return (folder / "inference" / EVALUATION).is_file() and (folder / OWNERSHIP).is_file()


def _is_begun(folder: Path) -> bool:
    """Whether there is a checkpoint to continue from, or results."""
    return (folder / "last_checkpoint").is_file() or is_complete(folder)


def _check_variant(plan: Plan, output: Path, name: str, overrides: Sequence[str]) -> None:
    keys = [*overrides, *plan.overrides(name)]
    cfg = load_config(plan.config, keys)
    if len(cfg.DATASETS.TEST) != 1:
        raise ConfigError(
            f"DATASETS.TEST is {cfg.DATASETS.TEST}: a plan needs exactly one test dataset; set "
            "DATASETS.TEST or OWN_DATA.TEST_JSON."
        )
    folders = [run_folder(output, variant, seed) for variant, seed in plan.runs if variant == name]
    wanted = _plain(cfg)
    for folder in folders:
        if _is_begun(folder):
            _check_same_config(wanted, folder)
    unfinished = [folder for folder in folders if not is_complete(folder)]
    if unfinished:
        # Check a run that has not begun, if there is one: it needs the weights to start from.
        opts = [*keys, "OUTPUT_DIR", str(min(unfinished, key=_is_begun))]
        _check_model(load_checked_config(plan.config, opts, Start(resume=True)))


def _check_model(cfg: CfgNode) -> None:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    model = build_checked(lambda: build_model(cfg), "its model cannot be built")
    if not hasattr(getattr(model, "roi_heads", None), "mask_pooler"):
        raise ConfigError(
            f"{type(model).__name__} has no masks of regions here, but a plan measures these after "
            "training: use a Mask R-CNN, or train this model with tools/train_net.py."
        )


def _check_same_config(wanted: Mapping[str, object], folder: Path) -> None:
    """Raises `ConfigError` if a run was trained with another config. Keys that are newer than the
    run have their defaults; keys that no longer exist are ignored."""
    trained = _defaults() | _read_config(folder)
    for key, value in wanted.items():
        if value != trained[key] and not _is_adapted(key, value, trained[key]):
            raise ConfigError(
                f"{folder} was trained with {key} {trained[key]}, but the plan says {value}: "
                "remove the folder, or give another --output."
            )


def _read_config(folder: Path) -> dict[str, object]:
    """The config of a run, by full key."""
    path = folder / "config.yaml"
    try:
        return flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read {path}: {reason}; restore it or remove {folder}") from error


def _plain(cfg: CfgNode) -> dict[str, object]:
    """A config by full key, with values as in YAML."""
    return flatten(yaml.safe_load(cfg.dump()))


@cache
def _defaults() -> Mapping[str, object]:
    return _plain(load_config(""))


def _is_adapted(key: str, value: object, trained: object) -> bool:
    """Whether the machine or the data may have changed this value of the plan."""
    return (
        key in _NOT_COMPARED
        or (key, value) == ("MODEL.ROI_HEADS.NUM_CLASSES", 0)
        or (key, trained) == ("INPUT.MASK_FORMAT", "bitmask")
    )


def _run(
    plan: Plan,
    output: Path,
    name: str,
    seed: int,
    overrides: Sequence[str],
    threads: int,
    children: Children,
) -> str:
    """Trains and measures one run; returns an error message, or "" if all went well."""
    folder = run_folder(output, name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    train = [
        "tools/train_net.py", "--config-file", plan.config, "--resume",
        *overrides, *plan.overrides(name), "SEED", str(seed), "OUTPUT_DIR", str(folder),
    ]  # fmt: skip
    measure = [
        "tools/ownership.py", "--config-file", str(folder / "config.yaml"),
        "--output", str(folder / OWNERSHIP), "MODEL.WEIGHTS", str(folder / "model_final.pth"),
    ]  # fmt: skip
    with (folder / "output.txt").open("w", encoding="utf-8") as log:
        for tool, *arguments in (train, measure):
            status = children.run(
                [sys.executable, "-W", "ignore", str(ROOT / tool), *arguments],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            if status:
                last = (folder / "output.txt").read_text(encoding="utf-8").strip().splitlines()
                return (last or ["it printed no message"])[-1]
    return ""
