"""The README says what the committed results say, and names what is there."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest
from tabulate import tabulate

from experiments.benchmarks.decoders import format_decoders
from experiments.benchmarks.evaluation import format_times
from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
COLORING = (DOCS / "explanation" / "instance_coloring.md").read_text(encoding="utf-8")
EVALUATION = (DOCS / "how_to" / "evaluate.md").read_text(encoding="utf-8")
ABLATION = (DOCS / "results" / "ablation.md").read_text(encoding="utf-8")
MEASURES = (DOCS / "reference" / "measures.md").read_text(encoding="utf-8")


def row_of(name: str, measure: str = "mask AP") -> list[str]:
    """The cells of a row of the README's table of gains: stock, SemiConv, gain."""
    rows = [line.strip("| ").split(" | ") for line in README.splitlines() if line.startswith("| ")]
    [cells] = [cells[2:] for cells in rows if name in cells[0] and cells[1] == measure]
    return [cell.replace("*", "") for cell in cells]


def values_of(file: str, *variants: str, key: str = "AP") -> list[list[float]]:
    runs = json.loads((RESULTS / file).read_text())["runs"]
    return [[r["values"][key] for r in runs if r["variant"] == name] for name in variants]


def spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def test_the_gain_of_fine_tuning_is_what_was_measured():
    stock, ours = values_of("bbbc010.json", "stock", "ours")
    assert len(stock) == len(ours) == 3
    differences = json.loads((RESULTS / "bbbc010_differences.json").read_text())["rows"]
    intervals = [r[4].split(" … ") for r in differences if r[0].startswith("as they are")]
    low = min(float(interval[0]) for interval in intervals)
    high = max(float(interval[1]) for interval in intervals)
    gain = f"{mean(ours) - mean(stock):.1f} ({low:.1f} … {high:.1f})"
    assert row_of("fine-tuned") == [spread(stock), spread(ours), gain]
    a, b = values_of("bbbc010.json", "stock", "ours", key="contact up to 10 %")
    assert f"others a little gain most by it: {mean(b) - mean(a):.1f} AP." in " ".join(
        README.split()
    )


def test_the_gain_of_one_stage_is_what_was_measured():
    stock, [ours] = values_of("bbbc010_one_stage.json", "stock, one stage", "one stage")
    gain = f"{ours - stock[0]:.1f} of the same random seed"
    assert row_of("the same, one stage") == [spread(stock), f"{ours:.1f}", gain]
    [[mean_s]] = values_of("bbbc010_one_stage.json", "one stage", key="avS")
    assert f"SemiConv in one stage is level with {mean_s:.1f}" in README


def test_what_one_command_makes_of_real_worms_is_what_was_measured():
    rows = json.loads((RESULTS / "bbbc010_drop_in.json").read_text())["rows"]
    stock, ours = (f"{row['ap']:.1f}" for row in rows[-2:])
    said = f"{stock} AP for the stock model and {ours} for SemiConv"
    assert said in " ".join((DOCS / "results" / "index.md").read_text().split())


def test_what_it_costs_is_what_was_measured():
    cases = json.loads((RESULTS / "cost_cpu.json").read_text())["cases"]
    page = " ".join((DOCS / "results" / "cost.md").read_text().split())
    for phase, words in (
        ("inference", "inference takes"),
        ("training step", "a training step"),
    ):
        ratios = [case["costs"][phase]["SemiConv"]["ratio"] for case in cases]
        assert f"{words} {min(ratios):.2f} to {max(ratios):.2f} times" in page
    own = [
        100 * sum(case["parts"].values()) / case["costs"]["inference"]["SemiConv"]["seconds"]
        for case in cases
    ]
    assert f"{min(own):.1f} to {max(own):.1f} % of inference" in page
    fewest = min(
        case["costs"]["inference"]["SemiConv"]["operations"]
        - case["costs"]["inference"]["Mask R-CNN"]["operations"]
        for case in cases
    )
    assert f"20 instances | {fewest} |" in page


def test_what_it_costs_small_models_is_what_was_measured():
    page = " ".join((DOCS / "results" / "cost.md").read_text().split())
    for name, words in (
        ("demo", "for an image of `make demo`"),
        ("bbbc010_drop_in", "for one of `make bbbc010`"),
    ):
        rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
        stock, ours = (row["seconds_per_image"] for row in rows[-2:])
        assert f"{100 * (ours / stock - 1):.0f} % {words}" in page


PARTS = {
    "today's defaults": "ours",
    "the whole plugin: the stock model": "stock",
    "what this project changes: the paper": "the paper",
    "rescoring: the kernel has a loss, masks are left alone": "no rescoring",
    "competition": "no competition",
    "competition and summed levels": "no competition, assigned levels",
    "the faster learning rate": "learning rate × 1",
    "more than two channels": "D = 2",
    "the kernel's own loss": "no kernel loss",
    "coordinates": "no mixing",
    "the exponential kernel: a Gaussian": "Gaussian",
    "the learned gain": "gain fixed",
    "256 channels: 64": "64 channels",
    "σ from 10 cells: from 100": "σ from 100",
    "the scaled gradient: × 1 in the place of × 0.1": "gradient × 1",
    "the small embedding loss: ten times as large": "embedding loss × 10",
    "the embedding loss": "no embedding loss",
}
"""Rows of the ablation, and what they are called in the plan."""


def cells_below(page: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    lines = page.partition(f"\n## {title}\n")[2].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    end = next((i for i, row in enumerate(rows[2:], 2) if row.startswith("|---")), len(rows) + 1)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2 : end - 1]]


def test_what_each_part_is_worth_is_what_was_measured():
    runs = json.loads((RESULTS / "ablation_bbbc010.json").read_text())["runs"]
    measured = {
        name: [run["values"]["AP"] for run in runs if run["variant"] == variant]
        for name, variant in PARTS.items()
    }
    rows = cells_below(ABLATION, "What each part is worth")
    assert [row[0] for row in rows] == list(PARTS)
    ours = mean(measured["today's defaults"])
    for name, _, said, costs in rows:
        values = measured[name]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        assert said == f"{mean(values):.1f}{spread}"
        if costs:
            assert float(costs.replace("−", "-")) == pytest.approx(ours - mean(values), abs=0.101)


def test_what_the_paper_alone_gains_is_what_was_measured():
    runs = json.loads((RESULTS / "ablation_bbbc010.json").read_text())["runs"]
    stock, paper = (
        [run["values"]["AP"] for run in runs if run["variant"] == name]
        for name in ("stock", "the paper")
    )
    gains = [theirs - own for own, theirs in zip(stock, paper, strict=True)]
    said = f"alone gained {mean(gains):.1f} ± {stdev(gains):.1f} AP"
    assert said in " ".join(README.split())


def test_one_stage_on_held_out_wells_is_what_was_measured():
    runs = json.loads((RESULTS / "ablation_bbbc010.json").read_text())["runs"]
    variants = {
        "stock": "stock, one stage",
        "the paper": "the paper, one stage",
        "today's defaults": "one stage",
    }
    rows = cells_below(ABLATION, "In one stage")
    assert {row[0] for row in rows} == {
        name for name, variant in variants.items() if any(r["variant"] == variant for r in runs)
    }
    for name, *said in rows:
        [values] = [run["values"] for run in runs if run["variant"] == variants[name]]
        keys = ("AP", "AP75", "contact up to 10 %", "contact 10 to 30 %")
        assert said == [f"{values[key]:.1f}" for key in keys]
    tried = json.loads((RESULTS / "tried_bbbc010.json").read_text())
    [_, difference, low, high] = tried["intervals_of_today"]["rows"][0]
    told = (
        f"difference is {difference} AP, with a 95 % interval over the wells from {low} to {high}"
    )
    assert told in " ".join(ABLATION.split())


def test_it_is_short():
    assert len(README.split()) <= 900
    blocks = re.findall(r"^```(?:python)?\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 100


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\(([^)]+)\)", README)
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_files_and_make_targets_that_it_names_are_there():
    named = re.findall(r"\b((?:tools|datasets|configs|requirements)/[\w./-]+\.\w+)", README)
    assert [name for name in named if not (ROOT / name).is_file()] == []
    named = re.findall(r"`(\w+\.yaml)`", (DOCS / "reference" / "configs.md").read_text())
    assert len(named) > 20
    assert [name for name in named if not (ROOT / "configs" / name).is_file()] == []
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w-]+)|`make ([\w-]+)`", README, flags=re.MULTILINE):
        assert f"\n{target[0] or target[1]}:" in makefile


def test_the_plain_pytorch_example_runs():
    page = (DOCS / "how_to" / "plain_pytorch.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope = {}
    exec(code, scope)
    assert scope["k"].shape == (1, 64, 64)
    assert scope["k"].argmax() == 20 * 64 + 30


def test_the_evaluation_example_runs(tmp_path, monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", EVALUATION, re.DOTALL)
    prepare_synthetic_worms(tmp_path / "annotations", train_images=1, val_images=1)
    truth = json.loads((tmp_path / "annotations" / "val.json").read_text())
    results = [a | {"score": 0.5} for a in truth["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps(results))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mask AP  ")]
    assert line.split()[2:5] == ["100.0", "100.0", "100.0"]


def test_the_evaluation_example_is_that_of_the_results():
    content = json.loads((RESULTS / "evaluation" / "bbbc010_small.json").read_text())
    shown = {d["value"]: d for d in content["differences"] if d["key"] == "segm"}
    [line] = re.findall(r"^mask AP +AP +(.*)$", EVALUATION, flags=re.MULTILINE)
    a, b, difference, low, _, high, _ = line.split()
    for text, name in (
        (a, "a"),
        (b, "b"),
        (difference, "difference"),
        (low, "low"),
        (high, "high"),
    ):
        assert float(text) == pytest.approx(shown["AP"][name], abs=0.0501)
    [row] = [r for r in content["b"]["rows"] if r["key"] == "contact_3"]
    assert f"{row['values']['AP']:.1f}  {row['values']['AP50']:.1f}" in EVALUATION


@pytest.mark.parametrize("name", ["drawn_5000", "bbbc010"])
def test_timings_are_those_of_the_results(name):
    content = json.loads((RESULTS / "evaluation" / f"time_{name}.json").read_text())
    assert format_times(content) in MEASURES


def test_the_decoders_table_is_that_of_the_results():
    content = json.loads((RESULTS / "decoders.json").read_text())
    assert format_decoders(content) in COLORING


def test_the_tables_of_bbbc010_are_those_of_the_results():
    content = json.loads((RESULTS / "bbbc010_coloring.json").read_text())
    rows = [
        (r["model"], r["AP"], r["AP50"], r["AP75"], *list(r["S"].values())[3:], *r["contact"])
        for r in content["rows"]
    ]
    headers = ("", "AP", "AP50", "AP75", "S 0.8", "S 0.9", "avS", "AP: none", "≤ 10 %", "≤ 30 %",
               "> 30 %")  # fmt: skip
    assert tabulate(rows, headers, floatfmt=".1f") in COLORING
    centres = content["centres"]
    told = (
        f"{centres['median_pixels_to_centroid']:.1f} pixels from the centroid",
        f"{centres['median_spread_pixels']:.1f} pixels around the place",
        f"{centres['share_on_instance']:.0%}".replace("%", " % of the places"),
        f"mask AP {content['synthetic_worms']['AP']:.1f}",
    )
    assert [text for text in told if text not in COLORING] == []
    decoder = content["decoder"]
    assert tabulate(decoder["rows"], ["", *decoder["columns"]], floatfmt=".1f") in COLORING


def test_the_gain_on_leaves_is_what_was_measured():
    [stock], [ours] = values_of("leaves.json", "stock", "ours")
    [first, *_] = json.loads((RESULTS / "leaves_test_differences.json").read_text())["rows"]
    assert [round(stock, 1), round(ours, 1)] == [round(x, 1) for x in first[1:3]]
    interval = first[4].replace("+", "")
    gain = first[3].removeprefix("+")
    assert row_of("leaves") == [f"{stock:.1f}", f"{ours:.1f}", f"{gain} ({interval})"]
    page = " ".join((DOCS / "results" / "leaves.md").read_text().split())
    assert f"**The gain is {gain} mask AP**" in page
    [a], [b] = values_of("leaves.json", "stock", "ours", key="SBD")
    assert f"SemiConv has {b:.1f}, and stock {a:.1f}." in " ".join(README.split())
    [[wrong]] = values_of("leaves.json", "ours", key="|DiC|")
    assert f"Here they are {b:.1f} and {wrong:.1f}" in page


def test_the_demo_s_gain_is_what_was_measured():
    gain = json.loads((RESULTS / "demo.json").read_text())["gain"]
    told = f"SemiConv gains {gain['difference']:.1f} AP there, with a 95 % interval over the images"
    other = json.loads((RESULTS / "demo_one_core.json").read_text())["gain"]["difference"]
    interval = f"{gain['low']:.1f} to {gain['high']:.1f}. Another run gained {other:.1f}."
    assert f"{told} of {interval}" in " ".join(README.split())
