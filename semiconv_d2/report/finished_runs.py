"""Reads the folders of training runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..data.coco.json_values import is_integer, is_number
from ..data.files import describe_folder
from ..data.pixels import Reading
from ..errors import ReportError
from ..evaluation import Threshold
from ..training.run_folder import flatten
from ..training.run_json import FILE as RECORD
from ..training.run_json import find_wrong
from ..visualization.masks import PALETTE

RESULTS, EVALUATION = "coco_instances_results.json", "evaluation.json"
METRICS = "metrics.json"
_SETTINGS = {  # keys of a config that a report reads
    "SOLVER.MAX_ITER": int,
    "OWN_DATA.TRAIN_JSON": str,
    "OWN_DATA.TRAIN_IMAGES": str,
    "OWN_DATA.TEST_JSON": str,
    "OWN_DATA.TEST_IMAGES": str,
}


@dataclass(frozen=True)
class Run:
    """The content of an output folder of `semiconv train`."""

    name: str
    folder: Path
    config: dict
    """Values by full key, such as "SOLVER.MAX_ITER"."""
    metrics: list[dict]
    """Lines of metrics.json, sorted by iteration; lines of the same iteration are merged."""
    record: dict
    """Content of run.json."""
    log: str
    evaluations: dict[str, Path] = field(default_factory=dict)
    """Folders of predictions, by dataset."""

    @property
    def reading(self) -> Reading:
        """How its image files are read."""
        keys = self.config.items()
        return Reading.of({k[len("INPUT.") :]: v for k, v in keys if k.startswith("INPUT.")})

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """Iterations and values of a metric in metrics.json; only finite values."""
        points = [
            (line["iteration"], line[key]) for line in self.metrics if is_number(line.get(key))
        ]
        return [float(x) for x, _ in points], [float(y) for _, y in points]


def read_runs(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """Reads the runs in some folders.

    Args:
        names: names of the runs; by default the shortest ends of their paths that differ.

    Raises:
        ReportError: a folder is missing or has no run, or a file in it is broken.
    """
    if len(folders) > len(PALETTE):
        raise ReportError(f"{len(folders)} runs are too many: name at most {len(PALETTE)}")
    if names and len(names) != len(folders):
        raise ReportError(
            f"there are {len(folders)} runs but {len(names)} names: give a name for each"
        )
    if len({*(names or range(len(folders)))}) < len(folders):
        raise ReportError("two runs have the same name: give them different names")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ReportError("the same folder is given twice: give each folder once")
    return [
        read_run(folder, name)
        for folder, name in zip(folders, names or short_names(folders), strict=True)
    ]


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of paths: as few as possible, but enough that all names differ."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return names


def read_run(folder: Path, name: str) -> Run:
    """Reads one run; see `read_runs`."""
    if not folder.is_dir():
        raise ReportError(f"there is no folder {folder}: name an output folder of semiconv train")
    if not (folder / "config.yaml").is_file():
        raise ReportError(
            f"{folder} has no config.yaml, so it is not an output folder of semiconv train; found: "
            f"{describe_folder(folder)}"
        )
    evaluations = _find_evaluations(folder)
    metrics = _read_metrics(folder / METRICS)
    if not evaluations and not metrics:
        raise ReportError(
            f"{folder} has neither {METRICS} nor inference/{EVALUATION}: train first, or evaluate "
            f"with semiconv train --eval-only and OUTPUT_DIR {folder}"
        )
    record = _read_record(folder / RECORD)
    log = folder / "log.txt"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return Run(
        name, folder, _read_config(folder / "config.yaml"), metrics, record, text, evaluations
    )


def _find_evaluations(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(
        [*folder.glob(f"inference/{EVALUATION}"), *folder.glob(f"inference/*/{EVALUATION}")]
    ):
        content = read_json(path, dict)
        dataset = content.get("dataset")
        problem = None
        if not isinstance(dataset, str) or not dataset:
            problem = f"{path} names no dataset"
        elif not _are_rows(content.get("rows", [])):
            problem = f'{path}: "rows" is not a list of measures with a key and values'
        elif not (path.parent / RESULTS).is_file():
            problem = f"{path.parent} has {EVALUATION} but no {RESULTS}"
        if problem:
            raise ReportError(f"{problem}: evaluate again with semiconv train --eval-only")
        found[dataset] = path.parent
    return found


def _are_rows(rows: object) -> bool:
    """Whether these are the rows of an evaluation."""
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and isinstance(row.get("key"), str)
        and isinstance(row.get("values"), dict)
        and all(value is None or is_number(value) for value in row["values"].values())
        and _is_threshold(row.get("threshold"))
        for row in rows
    )


def _is_threshold(content: object) -> bool:
    """Whether this is the threshold of a row, or None, as in other rows and in older files."""
    if content is None:
        return True
    known = isinstance(content, dict) and set(content) == set(Threshold._fields)
    return known and is_number(content["score"]) and isinstance(content["origin"], str)


def _read_record(path: Path) -> dict:
    record = read_json(path, dict) if path.is_file() else {}
    if wrong := find_wrong(record):
        raise ReportError(
            f"{path}: the value of {wrong} is not one that a run writes there: correct it, or "
            "remove the file; the report works without it"
        )
    return record


def read_json(path: Path, kind: type) -> dict:
    """The content of a JSON file of a run; `ReportError` if it is broken or not a `kind`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"cannot read {path}: {error}; remove it or write it again") from error
    if not isinstance(content, kind):
        raise ReportError(f"{path} is not a JSON {kind.__name__}; remove it or write it again")
    return content


def _read_metrics(path: Path) -> list[dict]:
    """Reads metrics.json. After resuming, an iteration may have several lines: they are merged, and
    later values win. An incomplete last line, which is still being written, is skipped."""
    if not path.is_file():
        return []
    by_iteration: dict[int, dict] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line) if line.strip() else {"iteration": -1}
            iteration = content["iteration"] = int(content["iteration"])
            if not is_integer(iteration):
                raise ValueError("its number does not fit into 64 bits")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            if number == len(lines):
                continue
            raise ReportError(
                f"{path}, line {number} has no metrics of an iteration ({error}): an interrupted "
                "run may leave such a line; remove it"
            ) from error
        by_iteration.setdefault(iteration, {}).update(content)
    by_iteration.pop(-1, None)
    return [by_iteration[iteration] for iteration in sorted(by_iteration)]


def _read_config(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ReportError(f"cannot read {path}: {reason}") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path} is not a config; a run writes this file when it starts")
    config = flatten(content)
    for key, kind in _SETTINGS.items():
        if not isinstance(config.get(key, kind()), kind):
            raise ReportError(
                f"{path}: {key} is {config[key]!r}, which is not of type {kind.__name__}: write "
                "the value that the run had"
            )
    return config
