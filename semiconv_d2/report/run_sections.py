"""The sections of a report about the runs themselves: training, speed, config and origin."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Sequence

import numpy as np
import yaml
from detectron2.config import get_cfg

from ..config import add_semiconv_config
from ..training.run_folder import flatten
from ..training.run_json import FILE as RECORD
from .charts import LineChart, Series, compact
from .finished_runs import Run
from .page import Section, Table

_MOST_POINTS = 300  # in a curve


def training(runs: Sequence[Run]) -> Section | None:
    """Curves of the losses, of the plugin's scalars, and of AP if it was measured."""
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
    return Section("training", "Training", text, charts)


def thin_out(x: list[float], y: list[float], most: int = _MOST_POINTS) -> tuple[list, list]:
    """Replaces groups of neighbouring points by their means if there are more than `most` points.
    The last point stays."""
    if len(x) <= most:
        return x, y
    groups = np.array_split(np.arange(len(x) - 1), most - 1)
    return (
        [float(np.mean(np.array(x)[g])) for g in groups] + x[-1:],
        [float(np.mean(np.array(y)[g])) for g in groups] + y[-1:],
    )


def speed(runs: Sequence[Run], dataset: str | None) -> Section:
    """Times, memory and devices."""
    timings = [run.record.get("inference", {}).get(dataset, {}) for run in runs]
    machines = [run.record.get("machine", {}) for run in runs]
    parameters = [run.record.get("parameters") for run in runs]
    rows = [
        ["iterations", *map(_iterations, runs)],
        ["training, s per iteration", *(_median(run.curve("time")[1]) for run in runs)],
        ["loading data, s per iteration", *(_median(run.curve("data_time")[1]) for run in runs)],
        ["inference, s per image", *map(_inference_time, runs, timings)],
        ["peak memory, MiB", *map(_peak_memory, runs)],
        ["parameters", *(f"{number:,}" if number else "–" for number in parameters)],
        ["device", *(str(machine.get("device", "–")) for machine in machines)],
        ["CPU cores", *(str(machine.get("cpus", "–")) for machine in machines)],
    ]
    devices = [timing.get("device") for timing in timings]
    if any(d not in (None, m.get("device")) for d, m in zip(devices, machines, strict=True)):
        rows.append(["device of inference", *(device or "–" for device in devices)])
    text = [
        "Times of training are medians. The time of inference is that of the model, without "
        "loading and evaluation. Memory is what was allocated on the GPU; without a GPU, what the "
        "process used."
    ]
    table = Table("Speed and memory", ["", *(run.name for run in runs)], rows)
    return Section("speed", table.title, text, tables=[table])


def config(runs: Sequence[Run]) -> Section:
    """The keys that differ between runs; for one run, those that differ from the defaults."""
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
    text = [(one if len(runs) == 1 else several) + "except the output folder."]
    if not rows:
        text = ["The configs are the same, except for the output folder."]
    tables = [Table("Config", columns, rows, text=True)] if rows else []
    return Section("config", "Config", text, tables=tables)


def origin(runs: Sequence[Run]) -> Section:
    """Versions and command lines."""
    versions = [run.record.get("versions", {}) for run in runs]
    names = list(dict.fromkeys(name for v in versions for name in v))
    rows = [[name, *(str(v.get(name, "–")) for v in versions)] for name in names]
    rows.append(
        ["classes", *(", ".join(map(str, r.record.get("classes", []))) or "–" for r in runs)]
    )
    tables = [Table("Versions", ["", *(run.name for run in runs)], rows, text=True)]
    listings = [(run.name, "\n".join(_commands(run))) for run in runs]
    return Section("origin", "Versions and commands", [], tables=tables, listings=listings)


def _iterations(run: Run) -> str:
    """The number of trained iterations. The evaluation after the last one is logged under the next
    number."""
    if not run.metrics:
        return "–"
    logged = run.metrics[-1]["iteration"] + 1
    return f"{min(logged, run.config.get('SOLVER.MAX_ITER', logged)):,}"


def _median(values: Sequence[float]) -> str:
    return compact(statistics.median(values)) if values else "–"


def _inference_time(run: Run, timing: dict) -> str:
    if timing.get("seconds_per_image"):
        return compact(float(timing["seconds_per_image"]))
    logged = re.findall(r"pure compute time: .*?\(([\d.]+) s / iter", run.log)
    return compact(float(logged[-1])) if logged else "–"


def _peak_memory(run: Run) -> str:
    if run.record.get("peak_memory_mb"):
        return f"{run.record['peak_memory_mb']:,.0f}"
    logged = re.findall(r"max_mem: (\d+)M", run.log)
    return f"{max(map(int, logged)):,}" if logged else "–"


def _setting(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, default=str)


def _commands(run: Run) -> list[str]:
    """The command lines of a run; without run.json, those in log.txt."""
    entries = [run.record, *run.record.get("later", [])]
    lines = [
        f"# {entry.get('started', '')}\n{' '.join(_quote(str(part)) for part in entry['command'])}"
        for entry in entries
        if entry.get("command")
    ]
    logged = re.findall(r"Command line arguments: (Namespace\(.*\))", run.log)
    return lines or logged or [f"# unknown: there is neither {RECORD} nor log.txt"]


def _quote(argument: str) -> str:
    """Quotes an argument for a shell; in double quotes if that is easier to read."""
    quoted = shlex.quote(argument)
    plain = "'" in argument and not set('"$`\\!') & set(argument)
    return f'"{argument}"' if plain else quoted
