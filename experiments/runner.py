"""Variants of a config beside each other: trained from the same checkpoint, over several seeds, and
compared with the one that the others are measured against."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tabulate import tabulate
from tqdm import tqdm

from experiments.ownership import LABELS
from semiconv_d2.config import read_preset
from semiconv_d2.data.geometry import CONTACT
from semiconv_d2.errors import ConfigError, DatasetError
from semiconv_d2.report.runs import EVALUATION, Run, read_run
from semiconv_d2.training.loading import build_checked
from semiconv_d2.training.run_folder import flatten
from semiconv_d2.training.setup import load_checked_config, load_config

ROOT = Path(__file__).resolve().parents[1]
OWNERSHIP = "ownership.json"

# Keys of a plan: their type, and what it is called.
_KEYS = {
    "about": (str, "text"),
    "config": (str, "text"),
    "against": (str, "text"),
    "seeds": (list, "a list"),
    "repeated": (list, "a list"),
    "keys": (dict, "a mapping"),
    "variants": (dict, "a mapping"),
}
# Keys of a config that the machine or the tool sets, and those that change no result.
_NOT_COMPARED = {
    "OUTPUT_DIR", "SEED", "MODEL.DEVICE", "SOLVER.AMP.ENABLED",
    "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINT_PERIOD", "VIS_PERIOD", "WANDB.PROJECT",
    "EVALUATION.MEASURES", "TEST.EVAL_PERIOD",
}  # fmt: skip
# Columns of the tables: the row of evaluation.json, and the value in it.
_OVERALL = {
    "AP": ("segm", "AP"),
    "AP50": ("segm", "AP50"),
    "AP75": ("segm", "AP75"),
    "boundary": ("boundary", "AP"),
    "box": ("bbox", "AP"),
}
_IN_DETAIL = {
    **{f"contact {label}": (f"contact_{i}", "AP") for i, label in enumerate(CONTACT.labels)},
    **{f"S {iou}": ("S", iou) for iou in ("0.5", "0.6", "0.7", "0.8", "0.9")},
    "avS": ("S", "mean"),
}
_MEASURES = _OVERALL | _IN_DETAIL
_LEARNED = (("sigma", ".2f"), ("gain", ".3f"))


@dataclass(frozen=True)
class Plan:
    """What is to be trained."""

    name: str
    about: str
    config: str
    """Path of the config that the variants change."""
    against: str
    """Name of the variant that the others are compared with, seed by seed."""
    seeds: Sequence[int]
    repeated: Sequence[str]
    """Names of the variants that are trained with all seeds; the others with the first one."""
    keys: Mapping[str, object]
    """Of the config, for all variants."""
    variants: Mapping[str, Mapping[str, object]]
    """Keys by the name of the variant."""

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Variant and seed of everything that is to be trained, in this order."""
        first, *others = self.seeds
        return [(name, first) for name in self.variants] + [
            (name, seed) for seed in others for name in self.repeated
        ]


def read_plan(path: Path) -> Plan:
    """A plan from YAML.

    Raises:
        ConfigError: it is missing or broken.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or set(content) != set(_KEYS):
        found = sorted(map(str, content)) if isinstance(content, dict) else "no mapping"
        raise ConfigError(f"{path} needs the keys {', '.join(sorted(_KEYS))}; it has {found}")
    content = content | {"repeated": content["repeated"] or [], "keys": content["keys"] or {}}
    for key, (kind, what) in _KEYS.items():
        if not isinstance(content[key], kind):
            raise ConfigError(f"{path}: {key} is {content[key]!r}; it must be {what}")
    variants = {name: {} if v is None else v for name, v in content["variants"].items()}
    try:
        _check_variants(variants)
        variants = {name: _with_preset(keys) for name, keys in variants.items()}
        _check_seeds(content["seeds"])
        for name in (content["against"], *content["repeated"]):
            if name not in list(variants):
                raise ConfigError(f"{name!r} is no variant")
        for key in ("seeds", "repeated"):
            if len(set(content[key])) < len(content[key]):
                raise ConfigError(f"{key} is {content[key]}: name each once")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Plan(path.stem, **content | {"variants": variants})


def _check_variants(variants: Mapping[object, object]) -> None:
    folders: dict[str, str] = {}
    for name, keys in variants.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(
                f"the name of a variant is {name!r}; it must be text: put it in quotes"
            )
        if not isinstance(keys, dict):
            raise ConfigError(f"the variant {name!r} is {keys!r}; it must be a mapping")
        folder = _folder_name(name)
        if folder in (".", "..") or set(folder) & set("/\\"):
            raise ConfigError(f"the variant {name!r} names its folder, which cannot be {folder!r}")
        if folder in folders:
            raise ConfigError(
                f"the variants {folders[folder]!r} and {name!r} have the same folder, {folder}: "
                "rename one"
            )
        folders[folder] = name


def _with_preset(keys: Mapping[str, object]) -> dict[str, object]:
    """Keys of a variant, those of the preset that it names first."""
    keys = dict(keys)
    name = keys.pop("preset", None)
    try:
        return (read_preset(name) if name else {}) | keys
    except ValueError as error:
        raise ConfigError(f"preset {name!r}: {error}") from error


def _check_seeds(seeds: Sequence[object]) -> None:
    if not seeds:
        raise ConfigError("seeds is empty")
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"seeds has {seed!r}; seeds are whole numbers from 0 on")


def run_plan(
    plan: Plan, output: Path, processes: int = 1, overrides: Sequence[str] = ()
) -> list[str]:
    """Trains and measures what has not been; a variant and seed that is complete is left alone.
    Every variant is checked before anything is trained.

    Args:
        output: every run gets a folder in there.
        processes: runs at a time; they share the cores.
        overrides: KEY VALUE … for all runs, before the plan's own.

    Returns:
        What failed, a line each.

    Raises:
        ConfigError: a variant cannot be trained or measured; or a run has been trained, or begun,
            with another config than the plan has now.
    """
    for name in tqdm(plan.variants, "checks", unit="variant", leave=False, file=sys.stderr):
        try:
            _check_variant(plan, output, name, overrides)
        except (ConfigError, DatasetError) as error:
            raise ConfigError(f"the variant {name!r} of {plan.name}: {error}") from error
    runs = [run for run in plan.runs if not _is_complete(_folder(output, *run))]
    threads = max(1, torch.get_num_threads() // processes)
    failures = []
    with (
        ThreadPoolExecutor(processes) as pool,
        tqdm(total=len(runs), desc=plan.name, unit="run", file=sys.stderr) as bar,
    ):
        waiting = {
            pool.submit(_run, plan, output, name, seed, overrides, threads): f"{name}, seed {seed}"
            for name, seed in runs
        }
        try:
            for future in as_completed(waiting):
                if problem := future.result():
                    failures.append(f"{waiting[future]}: {problem}")
                    bar.write(f"failed: {failures[-1]}", file=sys.stderr)
                bar.update()
        except BaseException:  # Ctrl-C ends the runs that are under way, and starts no others
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def collect(plan: Plan, output: Path) -> dict:
    """What the complete runs have measured, for JSON.

    Raises:
        ConfigError: no run is complete.
    """
    runs = []
    for name, seed in sorted(plan.runs, key=lambda run: list(plan.variants).index(run[0])):
        folder = _folder(output, name, seed)
        if _is_complete(folder):
            measured = _measured(read_run(folder, name), folder)
            runs.append({"variant": name, "seed": seed} | measured)
    if not runs:
        raise ConfigError(f"no run of {plan.name} is complete in {output}")
    return {
        "kind": "experiments",
        "about": plan.about,
        "config": plan.config,
        "against": plan.against,
        "keys": dict(plan.keys),
        "variants": {name: dict(keys) for name, keys in plan.variants.items()},
        "runs": runs,
    }


def format_experiments(content: dict) -> str:
    """The tables that people read: means over seeds, with deviations where there are several."""
    by_variant: dict[str, list[dict]] = {}
    for run in content["runs"]:
        by_variant.setdefault(run["variant"], []).append(run)
    stock = {run["seed"]: run["values"] for run in by_variant.get(content["against"], [])}
    overall, in_detail = (
        [c for c in columns if any(c in r["values"] for r in content["runs"])]
        for columns in (_OVERALL, _IN_DETAIL)
    )
    owned = [k for k in LABELS if any(r["ownership"].get(k) for r in content["runs"])]
    devices = {r.get("device") for r in content["runs"]} - {None}
    measures, details, insights = [], [], []
    for name, runs in by_variant.items():
        pairs = [(r["values"], stock[r["seed"]]) for r in runs if r["seed"] in stock]
        changes = [a["AP"] - b["AP"] for a, b in pairs if "AP" in a and "AP" in b]
        own = name == content["against"]
        measures.append(
            [
                name,
                str(len(runs)),
                *(_spread([r["values"].get(c) for r in runs]) for c in overall),
                "" if own else _spread(changes, "+.1f"),
                *([_listed(r.get("device") for r in runs)] if len(devices) > 1 else []),
            ]
        )
        details.append([name, *(_spread([r["values"].get(c) for r in runs]) for c in in_detail)])
        insights.append(
            [
                name,
                *(_spread([r[key] for r in runs], form) for key, form in _LEARNED),
                *(_spread([r["ownership"].get(k) for r in runs]) for k in owned),
            ]
        )
    over, where = f"AP over {content['against']}", ["trained on"] if len(devices) > 1 else []
    tables = (
        (measures, ["variant", "seeds", *overall, over, *where]),
        *([(details, ["variant", *in_detail])] if in_detail else []),
        (insights, ["variant", "σ", "gain", *(LABELS[k].replace(": ", ":\n") for k in owned)]),
    )
    return "\n\n".join(
        tabulate(
            rows,
            [h.replace(", ", ",\n").replace("contact ", "contact\n") for h in headers],
            disable_numparse=True,
            colalign=["left", *["right"] * (len(headers) - 1)],
        )
        for rows, headers in tables
    )


def _spread(values: Sequence[float | None], form: str = ".1f") -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    text = f"{statistics.mean(known):{form}}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):{form.lstrip('+')}}"
    return text


def _listed(devices: Iterable[str | None]) -> str:
    return ", ".join(sorted({d.split(",")[0] if d else "–" for d in devices}))


def _folder(output: Path, name: str, seed: int) -> Path:
    return output / _folder_name(name) / f"seed_{seed}"


def _folder_name(name: str) -> str:
    return name.replace(" ", "_")


def _is_complete(folder: Path) -> bool:
    return (folder / "inference" / EVALUATION).is_file() and (folder / OWNERSHIP).is_file()


def _is_begun(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from, or results."""
    return (folder / "last_checkpoint").is_file() or _is_complete(folder)


def _keys(plan: Plan, name: str) -> list[str]:
    """KEY VALUE … of a variant."""
    return [str(x) for pair in (plan.keys | plan.variants[name]).items() for x in pair]


def _check_variant(plan: Plan, output: Path, name: str, overrides: Sequence[str]) -> None:
    keys = [*overrides, *_keys(plan, name)]
    cfg = load_config(plan.config, keys)
    if len(cfg.DATASETS.TEST) != 1:
        raise ConfigError(
            f"DATASETS.TEST is {cfg.DATASETS.TEST}: a plan needs one dataset to test on; set "
            "DATASETS.TEST or OWN_DATA.TEST_JSON."
        )
    folders = [_folder(output, variant, seed) for variant, seed in plan.runs if variant == name]
    wanted = _plain(cfg)
    for folder in folders:
        if _is_begun(folder):
            _check_same_config(wanted, folder)
    unfinished = [folder for folder in folders if not _is_complete(folder)]
    if unfinished:
        # Of one that has not begun, if there is such a one: it needs the weights to start from.
        opts = [*keys, "OUTPUT_DIR", str(min(unfinished, key=_is_begun))]
        arguments = Namespace(config_file=plan.config, opts=opts, resume=True)
        _check_model(load_checked_config(arguments))


def _check_model(cfg: CfgNode) -> None:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    model = build_checked(lambda: build_model(cfg), "its model cannot be built")
    if not hasattr(getattr(model, "roi_heads", None), "mask_pooler"):
        raise ConfigError(
            f"{type(model).__name__} as it is here has no masks of regions, which are measured "
            "after training: take a Mask R-CNN, or train it by tools/train_net.py."
        )


def _check_same_config(wanted: Mapping[str, object], folder: Path) -> None:
    """Raises `ConfigError` where a run has been trained with another config. Keys that it lacks,
    since they came later, have their defaults; keys that are no more are passed over."""
    trained = _defaults() | _read_config(folder)
    for key, value in wanted.items():
        if value != trained[key] and not _is_adapted(key, value, trained[key]):
            raise ConfigError(
                f"{folder} has been trained with {key} {trained[key]}, and the plan says {value}: "
                "remove it, or give another --output."
            )


def _read_config(folder: Path) -> dict[str, object]:
    """Of a run, by keys with dots."""
    path = folder / "config.yaml"
    try:
        return flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read {path}: {reason}; restore it or remove {folder}") from error


def _plain(cfg: CfgNode) -> dict[str, object]:
    """By keys with dots, as YAML has it."""
    return flatten(yaml.safe_load(cfg.dump()))


@cache
def _defaults() -> Mapping[str, object]:
    return _plain(load_config(""))


def _is_adapted(key: str, value: object, trained: object) -> bool:
    """Whether the machine or the data may have made another value of a plan's."""
    return (
        key in _NOT_COMPARED
        or (key, value) == ("MODEL.ROI_HEADS.NUM_CLASSES", 0)
        or (key, trained) == ("INPUT.MASK_FORMAT", "bitmask")
    )


def _run(
    plan: Plan, output: Path, name: str, seed: int, overrides: Sequence[str], threads: int
) -> str:
    """One training and what is measured after it; returns what went wrong."""
    folder = _folder(output, name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    train = [
        "tools/train_net.py", "--config-file", plan.config, "--resume",
        *overrides, *_keys(plan, name), "SEED", str(seed), "OUTPUT_DIR", str(folder),
    ]  # fmt: skip
    measure = [
        "tools/ownership.py", "--config-file", str(folder / "config.yaml"),
        "--output", str(folder / OWNERSHIP), "MODEL.WEIGHTS", str(folder / "model_final.pth"),
    ]  # fmt: skip
    with (folder / "output.txt").open("w", encoding="utf-8") as log:
        for tool, *arguments in (train, measure):
            result = subprocess.run(
                [sys.executable, "-W", "ignore", str(ROOT / tool), *arguments],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            if result.returncode:
                last = (folder / "output.txt").read_text(encoding="utf-8").strip().splitlines()
                return (last or ["it says nothing"])[-1]
    return ""


def _measured(run: Run, folder: Path) -> dict:
    """The numbers of a run."""
    [inference] = run.evaluations.values()
    rows = json.loads((inference / EVALUATION).read_text(encoding="utf-8"))["rows"]
    known = {row["key"]: row["values"] for row in rows}
    values = {name: known.get(key, {}).get(value) for name, (key, value) in _MEASURES.items()}
    ownership = json.loads((folder / OWNERSHIP).read_text(encoding="utf-8"))
    _, seconds = run.curve("time")
    return {
        "values": {k: round(v, 2) for k, v in values.items() if v is not None},
        "ownership": {k: _mean(ownership[k]) for k in LABELS},
        "sigma": _last(run, "semiconv/sigma"),
        "gain": _last(run, "semiconv/gain"),
        "seconds_per_iteration": round(statistics.median(seconds), 3) if seconds else None,
        "device": run.record.get("machine", {}).get("device"),
        "command": [p.removeprefix(f"{ROOT}{os.sep}") for p in run.record.get("command") or []],
    }


def _last(run: Run, key: str) -> float | None:
    _, values = run.curve(key)
    return round(values[-1], 4) if values else None


def _mean(values: Sequence[float | None]) -> float | None:
    """In percent."""
    known = [v for v in values if v is not None]
    return round(100 * statistics.mean(known), 2) if known else None
