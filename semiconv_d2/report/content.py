"""From the folders of runs to the content of their report."""

from __future__ import annotations

import json
import logging
import math
import re
import shlex
import statistics
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import yaml
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog

from ..config import add_semiconv_config
from ..errors import ConfigError, DatasetError, ReportError
from ..evaluation import (
    Detections,
    Difference,
    Evaluation,
    Threshold,
    compare,
    evaluate,
    find_truth,
    lacks,
    read_results,
)
from ..evaluation.measures import Row
from ..evaluation.measures.coco import coco_rankings
from ..evaluation.measures.errors import KINDS
from ..evaluation.ranking import RECALLS, mean_known, precision_at_recalls
from ..training.run_folder import flatten
from ..training.run_record import FILE as RECORD
from ..training.setup import register_own_data
from . import page as pages
from .charts import BarChart, LineChart, Series, compact
from .gallery import build_gallery, common_overlap
from .runs import EVALUATION, METRICS, RESULTS, Run, read_json

if TYPE_CHECKING:
    from pycocotools.coco import COCO

logger = logging.getLogger(__name__)

_MOST_POINTS = 300  # of a curve
_RECORDED = {  # what the keys of rows in evaluation.json start with, by measure
    "boundary": "boundary",
    "region": "region",
    "s": "S",
}
_FIRST_ROWS = ("segm", "bbox", "boundary", "region", "S")  # by key; behind them, as measured


class Measured(NamedTuple):
    """A run's predictions on the dataset of the report."""

    run: Run
    number: int
    """Of the run in the report."""
    detections: Detections
    evaluation: Evaluation


def build_page(
    runs: Sequence[Run],
    dataset: str | None = None,
    image_root: Path | None = None,
    pictures: int = 300,
    resamples: int = 1000,
) -> pages.Page:
    """The content of the report.

    Args:
        dataset: that the runs were evaluated on; by default the first that they have in common.
        image_root: folder of its images; by default that of the registered dataset.
        pictures: at most so many images in the gallery, those of the largest changes; 0 for none.
        resamples: draws for the intervals of differences.

    Raises:
        ReportError: the runs have no dataset in common, or lack the one that is asked for.
        DatasetError: the ground truth or the results cannot be read.
    """
    dataset = choose_dataset(runs, dataset)
    notes = [
        f"{run.name} has no {METRICS}: it is not in the curves of training."
        for run in runs
        if not run.metrics
    ]
    sections, gallery = [], None
    measured: list[Measured] = []
    differences: list[Difference] = []
    if dataset is None:
        notes.append(
            "No run has been evaluated: this page shows training alone. To evaluate one: "
            "tools/train_net.py --eval-only."
        )
    else:
        truth = read_truth(dataset, runs)
        measured = [measure(r, n, dataset, truth) for n, r in enumerate(runs) if r.evaluations]
        notes += [
            f"{run.name} has not been evaluated: it is in the curves of training alone."
            for run in runs
            if not run.evaluations
        ]
        notes += [note for m in measured for note in _disagreements(m, dataset)]
        if len(measured) == 2:
            differences = compare(*(m.evaluation for m in measured), resamples)
        sections.append(_results(measured, differences))
    sections.append(_training(runs))
    if measured:
        sections += [
            _difficulty(measured, differences),
            _errors(measured, differences),
            _precision_recall(measured),
        ]
        if pictures:
            root = image_root or MetadataCatalog.get(dataset).get("image_root")
            by_run = {m.run.name: m.detections for m in measured}
            gallery, missing = build_gallery(by_run, root, pictures)
            notes += missing
    after = [_speed(runs, dataset), _config(runs), _origin(runs)]
    names = [run.name for run in runs]
    title = " and ".join(names) if len(names) < 3 else f"{len(names)} runs"
    return pages.Page(
        title,
        _subtitle(measured, dataset),
        names,
        notes,
        _tiles(runs, measured, differences),
        [s for s in sections if s is not None],
        gallery,
        [s for s in after if s is not None],
    )


def choose_dataset(runs: Sequence[Run], wanted: str | None) -> str | None:
    """The dataset of the report, None where nothing has been evaluated."""
    evaluated = [run for run in runs if run.evaluations]
    if not evaluated:
        if wanted:
            raise ReportError(f"no run has been evaluated on {wanted}")
        return None
    common = [d for d in evaluated[0].evaluations if all(d in r.evaluations for r in evaluated)]
    known = "; ".join(f"{r.name} on {', '.join(r.evaluations)}" for r in evaluated)
    if wanted and wanted not in common:
        raise ReportError(f"not all runs were evaluated on {wanted}: {known}")
    if not common:
        raise ReportError(
            f"the runs were evaluated on different datasets: {known}; evaluate them on the same "
            "one: tools/train_net.py --eval-only … DATASETS.TEST \"('NAME',)\""
        )
    return wanted or common[0]


def read_truth(dataset: str, runs: Sequence[Run]) -> COCO:
    """The ground truth, own data of the runs' configs included."""
    for run in runs:
        cfg = get_cfg()
        add_semiconv_config(cfg)
        for key in cfg.OWN_DATA:
            cfg.OWN_DATA[key] = run.config.get(f"OWN_DATA.{key}", cfg.OWN_DATA[key])
        try:
            register_own_data(cfg)
        except ConfigError as error:
            raise ReportError(f"{run.folder / 'config.yaml'}: {error}") from error
    try:
        return find_truth(dataset)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; the ground truth of {dataset} has to be where it was when the runs were "
            "evaluated: set DETECTRON2_DATASETS, or run this in the same folder"
        ) from error


def measure(run: Run, number: int, dataset: str, truth: COCO) -> Measured:
    """Measures a run's predictions by what evaluation.json has, by difficulty and by errors."""
    folder = run.evaluations[dataset]
    recorded = read_json(folder / EVALUATION, dict)
    keys = {row["key"] for row in recorded.get("rows", [])}
    limit = max(100, run.config.get("TEST.DETECTIONS_PER_IMAGE", 100))
    results = read_results(folder / RESULTS, truth)
    detections = Detections(truth, results, recorded_threshold(recorded), limit)
    names = [name for name, key in _RECORDED.items() if key in keys]
    if detections.has_masks:
        names += ["difficulty", "errors"]
    names = ["coco", *(name for name in names if lacks(name) is None)]
    logger.info("measuring %s", run.name)
    return Measured(run, number, detections, evaluate(detections, names, dataset, run.name))


def recorded_threshold(recorded: dict) -> Threshold:
    """From which score on detections count, as the row of S in evaluation.json notes it, rounded;
    0.5 where it notes none."""
    for row in recorded.get("rows", []):
        noted = re.match(r"score ≥ (\d+(?:\.\d+)?), (.*)", str(row.get("note") or ""))
        if row.get("key") == "S" and noted:
            return Threshold(float(noted[1]), noted[2])
    return Threshold(0.5, "given")


def _disagreements(measured: Measured, dataset: str) -> list[str]:
    """Says where evaluation.json does not belong to the predictions beside it."""
    path = measured.run.evaluations[dataset] / EVALUATION
    values = measured.evaluation.values()
    for row in read_json(path, dict).get("rows", []):
        for name, value in row["values"].items():
            ours = values.get(row["key"], {}).get(name)
            if None not in (ours, value) and abs(ours - value) > 0.05:
                return [
                    f"{measured.run.name}: {EVALUATION} has {value:.1f} for {row.get('title')} "
                    f"({name}), the predictions beside it give {ours:.1f}, which is shown here. "
                    "Another score or another limit of detections was used, or it is of others."
                ]
    return []


def _subtitle(measured: Sequence[Measured], dataset: str | None) -> str:
    made = f"made {datetime.now().astimezone():%d %B %Y, %H:%M}".replace(" 0", " ")
    if not measured:
        return made
    first = measured[0].evaluation
    name = Path(dataset).name if dataset.endswith(".json") else dataset
    return f"{name}: {first.images:,} images, {first.instances:,} instances · {made}"


def _tiles(
    runs: Sequence[Run], measured: Sequence[Measured], differences: Sequence[Difference]
) -> list[pages.Tile]:
    """The numbers that people look for first."""
    known = {(d.key, d.value): d for d in differences}
    by_run = {m.run.name: m.evaluation.values() for m in measured}
    tiles = []
    for title, key, name in (
        ("mask AP", "segm", "AP"),
        ("mask AP75", "segm", "AP75"),
        ("box AP", "bbox", "AP"),
        ("AP^r, mean", "region", "mean"),
        ("avS", "S", "mean"),
        ("AP, contact > 30 %", "contact_3", "AP"),
    ):
        values = [by_run.get(run.name, {}).get(key, {}).get(name) for run in runs]
        if any(v is not None and not math.isnan(v) for v in values):
            change, interval = _difference(known.get((key, name)), whole=False)
            tiles.append(
                pages.Tile(
                    title,
                    [_number(v) for v in values],
                    f"{change}, {interval}" if interval else change,
                )
            )
    return tiles


def _rows(measured: Sequence[Measured]) -> list[Row]:
    """The rows that any of the runs has, each once."""
    by_key = {row.key: row for m in reversed(measured) for row in m.evaluation.rows}
    first = [by_key.pop(key) for key in _FIRST_ROWS if key in by_key]
    return [*first, *by_key.values()]


def _results(measured: Sequence[Measured], differences: Sequence[Difference]) -> pages.Section:
    text = []
    if differences:
        text.append(
            f"The difference is {measured[1].run.name} less {measured[0].run.name}. Its interval "
            "holds it with 95 % probability as far as the choice of test images goes (bootstrap); "
            "a star marks intervals clear of 0. What another seed of training would change is not "
            "in it."
        )
    scores = [
        f"{m.detections.threshold.score:.3f} for {m.run.name} ({m.detections.threshold.origin})"
        for m in measured
        if "S" in m.evaluation.values()
    ]
    if scores:
        text.append(f"S counts detections of at least a score: {', '.join(scores)}.")
    tables = [
        _value_table(
            f"{row.title} {row.section}" if row.section == "at IoU" else row.title,
            [row],
            measured,
            differences,
        )
        for row in _rows(measured)
        if row.section in ("AP", "at IoU")
    ]
    by_class = _class_table(measured)
    return pages.Section("results", "Results", text, tables=[*tables, *by_class])


def _value_table(
    title: str, rows: Sequence, measured: Sequence[Measured], differences: Sequence[Difference]
) -> pages.Table:
    """A line for each value, a column for each run, and the difference of two."""
    known = {(d.key, d.value): d for d in differences}
    lines: list[list[str]] = []
    for row in rows:
        if len(rows) > 1:
            count = row.values.get("instances")
            lines.append([row.title + ("" if count is None else f", {count:,.0f} instances")])
        for name in row.values:
            if "-" in name or name == "instances":
                continue
            values = [m.evaluation.values().get(row.key, {}).get(name) for m in measured]
            whole = row.key == "error_count"
            line = [name, *(_number(v, whole) for v in values)]
            if differences:
                line += _difference(known.get((row.key, name)), whole)
            lines.append(line)
    columns = [title, *(m.run.name for m in measured)]
    if differences:
        columns += ["difference", "95 % interval"]
        for _ in range(2):  # a column without an entry
            if not any(line[-1] for line in lines if len(line) > 1):
                columns = columns[:-1]
                lines = [line[:-1] if len(line) > 1 else line for line in lines]
    return pages.Table(title, columns, lines)


def _difference(difference: Difference | None, whole: bool) -> list[str]:
    """Two cells: the difference, and its interval."""
    if difference is None or math.isnan(difference.difference):
        return ["", ""]
    low, high = difference.low, difference.high
    if low is None:
        return [_signed(difference.difference, whole), ""]
    star = " *" if low > 0 or high < 0 else ""
    return [
        _signed(difference.difference, whole) + star,
        f"{_signed(low, whole)} to {_signed(high, whole)}",
    ]


def _class_table(measured: Sequence[Measured]) -> list[pages.Table]:
    """AP of each class, one column for each run."""
    tables = []
    for row in _rows(measured):
        names = [n for n in row.values if n.startswith(("AP-", "mean-"))]
        if names:
            lines = [
                [n.partition("-")[2]]
                + [_number(m.evaluation.values().get(row.key, {}).get(n)) for m in measured]
                for n in names
            ]
            columns = [f"{row.title} by class", *(m.run.name for m in measured)]
            tables.append(pages.Table(columns[0], columns, lines))
    return tables


def _number(value: float | None, whole: bool = False) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if whole else f"{value:.1f}"


def _signed(value: float, whole: bool = False) -> str:
    text = f"{value:+,.0f}" if whole else f"{round(value, 1) + 0:+.1f}"
    return text.replace("-", "−")


def _difficulty(
    measured: Sequence[Measured], differences: Sequence[Difference]
) -> pages.Section | None:
    """AP by crowding and elongation."""
    charts, tables = [], []
    for name, what in (
        ("contact", "share of the outline in contact"),
        ("elongation", "elongation"),
    ):
        rows = [r for r in _rows(measured) if r.key.startswith(f"{name}_")]
        rows = [r for r in rows if r.values["instances"]]
        if rows:
            charts.append(
                BarChart(
                    f"Mask AP by {'crowding' if name == 'contact' else name}",
                    what,
                    "mask AP, %",
                    [r.title.partition(": ")[2] for r in rows],
                    [f"{r.values['instances']:,.0f} inst." for r in rows],
                    _bars(measured, [(r.key, "AP") for r in rows]),
                )
            )
            tables.append(_value_table(f"mask AP by {name}", rows, measured, differences))
    text = [
        "Contact is the share of an instance's outline that lies on another instance or at most 2 "
        "pixels beside it. Elongation is its area over that of the largest disc inside it. A "
        "detection counts against the kind of the instance that it overlaps most."
    ]
    title = "Crowding and elongation"
    return pages.Section("difficulty", title, text, charts, tables) if charts else None


def _errors(
    measured: Sequence[Measured], differences: Sequence[Difference]
) -> pages.Section | None:
    rows = [row for row in _rows(measured) if row.section == "errors"]
    if not rows:
        return None
    kinds = (*KINDS, "FP", "FN")
    notes = [""] * len(kinds)
    charts = [
        BarChart(
            title,
            "kind of error",
            unit,
            kinds,
            notes,
            _bars(measured, [(key, k) for k in kinds]),
            d,
        )
        for title, unit, key, d in (
            ("AP50 lost to errors", "points of AP50", "error_cost", 1),
            ("Number of errors", "detections or instances", "error_count", 0),
        )
    ]
    text = [
        "With masks at IoU 0.5, as TIDE sorts them. Cls: misclassified. Loc: badly localised. "
        "Both: of the two. Dupe: duplicate. Bkg: background. Miss: missed. FP: all false "
        "positives. FN: all instances that are not found. What a kind costs is by how much AP50 "
        "rises when all of that kind are mended. Detections of all scores count."
    ]
    tables = [_value_table(row.title, [row], measured, differences) for row in rows]
    return pages.Section("errors", "Errors by kind", text, charts, tables)


def _bars(measured: Sequence[Measured], keys: Sequence[tuple[str, str]]) -> list:
    return [
        (
            m.number,
            m.run.name,
            [m.evaluation.values().get(key, {}).get(name, math.nan) for key, name in keys],
        )
        for m in measured
    ]


def _precision_recall(measured: Sequence[Measured]) -> pages.Section:
    overlap = common_overlap([m.detections for m in measured])
    thresholds = np.array([0.5, 0.75, 0.9])
    series: list[list[Series]] = [[] for _ in thresholds]
    for m in measured:
        pairs, categories = m.detections.pairs(overlap), m.detections.truth.cats
        rankings = coco_rankings(pairs, categories, thresholds)
        curves = mean_known(np.array([precision_at_recalls(r) for r in rankings.values()]))
        for lines, curve in zip(series, curves, strict=True):
            if np.isfinite(curve).all():
                lines.append(Series(m.number, m.run.name, RECALLS.tolist(), curve.tolist()))
    charts = [
        LineChart(f"IoU {t:g}", "recall", "precision", lines, (0, 1, 0, 1))
        for t, lines in zip(thresholds, series, strict=True)
        if lines
    ]
    several = " Mean over the classes." if len(measured[0].detections.truth.cats) > 1 else ""
    what = {"mask": "masks", "box": "boxes"}[overlap]
    text = [f"Of {what}, as COCO samples it: the best precision at or beyond each recall.{several}"]
    return pages.Section("curves", "Precision and recall", text, charts)


def _training(runs: Sequence[Run]) -> pages.Section | None:
    """Curves of the losses, of the semi-convolutional layer, and of AP where it was measured."""
    keys = list(dict.fromkeys(key for run in runs for line in run.metrics for key in line))
    losses = sorted(k for k in keys if k.startswith("loss_"))
    own = sorted(k for k in keys if k.startswith("semiconv/"))
    measures = [k for k in keys if k.endswith(("segm/AP", "bbox/AP"))]
    charts = []
    for key in ([k for k in keys if k == "total_loss"]) + losses + own + measures:
        lines = []
        for number, run in enumerate(runs):
            x, y = thin_out(*run.curve(key))
            if x:
                lines.append(Series(number, run.name, x, y))
        label = "loss" if "loss" in key else "AP, %" if key in measures else key.split("/")[-1]
        if any(len(line.x) > 1 for line in lines):
            charts.append(LineChart(key, "iteration", label, lines))
    if not charts:
        return None
    text = ["The number below a chart is the last value of each run."]
    return pages.Section("training", "Training", text, charts)


def thin_out(x: list[float], y: list[float], most: int = _MOST_POINTS) -> tuple[list, list]:
    """Means of neighbouring points where there are too many to tell apart; the last one stays."""
    if len(x) <= most:
        return x, y
    groups = np.array_split(np.arange(len(x) - 1), most - 1)
    return (
        [float(np.mean(np.array(x)[g])) for g in groups] + x[-1:],
        [float(np.mean(np.array(y)[g])) for g in groups] + y[-1:],
    )


def _speed(runs: Sequence[Run], dataset: str | None) -> pages.Section:
    facts = {
        "iterations": _iterations,
        "training, s per iteration": lambda r: _median(r.curve("time")[1]),
        "loading data, s per iteration": lambda r: _median(r.curve("data_time")[1]),
        "inference, s per image": lambda r: _inference_time(r, dataset),
        "peak memory, MiB": _peak_memory,
        "parameters": lambda r: f"{n:,}" if (n := r.record.get("parameters")) else "–",
        "device": lambda r: str(r.record.get("machine", {}).get("device", "–")),
        "CPU cores": lambda r: str(r.record.get("machine", {}).get("cpus", "–")),
    }
    if any(_inference_elsewhere(run, dataset) for run in runs):
        facts["device of inference"] = lambda r: _inference_device(r, dataset) or "–"
    rows = [[name, *(value(run) for run in runs)] for name, value in facts.items()]
    text = [
        "Times of training are medians. Inference is the model alone, without loading and "
        "evaluating. Memory is what the GPU had allocated, without a GPU what the process held."
    ]
    table = pages.Table("Speed and memory", ["", *(run.name for run in runs)], rows)
    return pages.Section("speed", "Speed and memory", text, tables=[table])


def _iterations(run: Run) -> str:
    """How many were trained; the evaluation behind the last one is noted one further."""
    if not run.metrics:
        return "–"
    logged = run.metrics[-1]["iteration"] + 1
    return f"{min(logged, run.config.get('SOLVER.MAX_ITER', logged)):,}"


def _median(values: Sequence[float]) -> str:
    return compact(statistics.median(values)) if values else "–"


def _inference_device(run: Run, dataset: str | None) -> str | None:
    """Where the time of inference was taken; None where that is not noted."""
    return run.record.get("inference", {}).get(dataset, {}).get("device")


def _inference_elsewhere(run: Run, dataset: str | None) -> bool:
    """Whether a run was evaluated on another device than it was trained on."""
    device = _inference_device(run, dataset)
    return device not in (None, run.record.get("machine", {}).get("device"))


def _inference_time(run: Run, dataset: str | None) -> str:
    timing = run.record.get("inference", {}).get(dataset, {})
    if timing.get("seconds_per_image"):
        return compact(float(timing["seconds_per_image"]))
    logged = re.findall(r"pure compute time: .*?\(([\d.]+) s / iter", run.log)
    return compact(float(logged[-1])) if logged else "–"


def _peak_memory(run: Run) -> str:
    if run.record.get("peak_memory_mb"):
        return f"{run.record['peak_memory_mb']:,.0f}"
    logged = re.findall(r"max_mem: (\d+)M", run.log)
    return f"{max(map(int, logged)):,}" if logged else "–"


def _config(runs: Sequence[Run]) -> pages.Section:
    """The keys that differ between runs; of one run, from the defaults."""
    configs = [run.config for run in runs]
    columns = ["", *(run.name for run in runs)]
    if len(runs) == 1:
        cfg = get_cfg()
        add_semiconv_config(cfg)
        configs = [flatten(yaml.safe_load(cfg.dump())), *configs]
        columns = ["", "default", runs[0].name]
    nothing = object()
    rows = []
    for key in sorted({key for config in configs for key in config} - {"OUTPUT_DIR", "VERSION"}):
        values = [config.get(key, nothing) for config in configs]
        if any(value != values[0] for value in values):
            rows.append([key, *("–" if v is nothing else _setting(v) for v in values)])
    one = "Keys that differ from the defaults of Detectron2 and of this package, "
    several = "Keys that differ between the runs, "
    text = [(one if len(runs) == 1 else several) + "but for the output folder."]
    if not rows:
        text = ["The configs are the same but for the output folder."]
    tables = [pages.Table("Config", columns, rows, text=True)] if rows else []
    return pages.Section("config", "Config", text, tables=tables)


def _setting(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, default=str)


def _origin(runs: Sequence[Run]) -> pages.Section:
    """Versions and command lines."""
    versions = [run.record.get("versions", {}) for run in runs]
    names = list(dict.fromkeys(name for v in versions for name in v))
    rows = [[name, *(str(v.get(name, "–")) for v in versions)] for name in names]
    rows.append(
        ["classes", *(", ".join(map(str, r.record.get("classes", []))) or "–" for r in runs)]
    )
    tables = [pages.Table("Versions", ["", *(run.name for run in runs)], rows, text=True)]
    listings = [(run.name, "\n".join(_commands(run))) for run in runs]
    return pages.Section("origin", "Versions and commands", [], tables=tables, listings=listings)


def _commands(run: Run) -> list[str]:
    """The command lines of a run, with what is known without run.json."""
    entries = [run.record, *run.record.get("later", [])]
    lines = [
        f"# {entry.get('started', '')}\n{' '.join(_quote(str(part)) for part in entry['command'])}"
        for entry in entries
        if entry.get("command")
    ]
    logged = re.findall(r"Command line arguments: (Namespace\(.*\))", run.log)
    return lines or logged or [f"# unknown: there is neither {RECORD} nor log.txt"]


def _quote(argument: str) -> str:
    """For a shell; in double quotes where that is easier to read."""
    quoted = shlex.quote(argument)
    plain = "'" in argument and not set('"$`\\!') & set(argument)
    return f'"{argument}"' if plain else quoted
