"""Collects the results of the complete runs of a plan, as JSON and as tables."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from experiments.ownership import LABELS
from experiments.plan import Plan
from experiments.runner import OWNERSHIP, ROOT, is_complete, run_folder
from semiconv_d2.data.geometry import CONTACT
from semiconv_d2.errors import ConfigError
from semiconv_d2.report.finished_runs import EVALUATION, Run, read_run

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
    **{name: ("dice", name) for name in ("SBD", "FBD", "|DiC|")},
}
_MEASURES = _OVERALL | _IN_DETAIL
_LEARNED = (("sigma", ".2f"), ("gain", ".3f"))


def collect(plan: Plan, output: Path) -> dict:
    """Collects the results of the complete runs, for JSON.

    Raises:
        ConfigError: no run is complete.
    """
    runs = []
    for name, seed in sorted(plan.runs, key=lambda run: list(plan.variants).index(run[0])):
        folder = run_folder(output, name, seed)
        if is_complete(folder):
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
    """The results as tables of text: means over random seeds, with standard deviations if there
    are several."""
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
        (measures, ["variant", "random seeds", *overall, over, *where]),
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


def _measured(run: Run, folder: Path) -> dict:
    """The measured numbers of a run."""
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
    """The mean of the known values, in percent."""
    known = [v for v in values if v is not None]
    return round(100 * statistics.mean(known), 2) if known else None
