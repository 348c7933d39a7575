"""Plans of experiments: read, run once, collected, and set in a table."""

from __future__ import annotations

import json

import pytest
import yaml

from semiconv_d2.engine import ConfigError, experiments, load_config
from semiconv_d2.engine.experiments import (
    Plan,
    collect,
    format_experiments,
    read_plan,
    run_plan,
)

PLAN = {
    "about": "A test.",
    "config": "configs/demo_semiconv.yaml",
    "against": "stock",
    "seeds": [1],
    "repeated": [],
    "keys": {"SOLVER.MAX_ITER": 1},
    "variants": {"stock": {"MODEL.ROI_HEADS.NAME": "StandardROIHeads"}, "plain": None},
}


def write_plan(tmp_path, **changes):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}, sort_keys=False))
    return path


def test_a_plan_is_read(tmp_path):
    plan = read_plan(write_plan(tmp_path))
    assert plan.name == "plan"
    assert plan.variants == {"stock": {"MODEL.ROI_HEADS.NAME": "StandardROIHeads"}, "plain": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"against": "nobody"}, "'nobody' is no variant"),
        ({"seeds": []}, "seeds is empty"),
        ({"repeated": ["stock", "someone"]}, "'someone' is no variant"),
        ({"seeds": 1}, "seeds is 1; it must be a list"),
        ({"variants": None}, "variants is None; it must be a mapping"),
        ({"more": 1}, "about, against, config, keys, repeated, seeds, variants; it has"),
    ],
)
def test_broken_plans_are_said(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        read_plan(write_plan(tmp_path, **change))
    with pytest.raises(ConfigError, match="cannot read"):
        read_plan(tmp_path / "none.yaml")


def test_some_variants_are_repeated_with_more_seeds(tmp_path):
    plan = read_plan(write_plan(tmp_path, seeds=[3, 1, 2], repeated=["plain"]))
    assert plan.runs == [("stock", 3), ("plain", 3), ("plain", 1), ("plain", 2)]


def test_trains_once_and_says_what_failed(run_tool, quick, tmp_path):
    variants = PLAN["variants"] | {"broken": {"MODEL.SEMICONV.KERNEL": "cubic"}}
    path, output = write_plan(tmp_path, variants=variants), tmp_path / "runs"
    command = ("tools/experiments.py", path, "--output", output, "--json", tmp_path / "r.json")
    status, out, err = run_tool(*command, "--opts", *quick)
    assert status == 1
    assert "broken, seed 1: " in err
    assert "cubic" in err
    content = json.loads((tmp_path / "r.json").read_text())
    assert [run["variant"] for run in content["runs"]] == ["stock", "plain"]
    stock, plain = content["runs"]
    assert stock["gain"] is None
    assert 0 <= stock["ownership"]["as_it_is"] <= 100
    assert plain["command"][1] == "tools/train_net.py"
    assert any(line.startswith("stock") for line in out.splitlines())

    before = (output / "plain" / "seed_1" / "model_final.pth").stat().st_mtime_ns
    status, _, err = run_tool(*command, "--opts", *quick)
    assert status == 1
    assert (output / "plain" / "seed_1" / "model_final.pth").stat().st_mtime_ns == before

    write_plan(tmp_path, variants=variants | {"plain": {"MODEL.SEMICONV.SIGMA_INIT": 7.0}})
    status, _, err = run_tool(*command, "--opts", *quick)
    assert status == 1
    assert "plain/seed_1 has been trained with SIGMA_INIT 10.0, and the plan says 7.0" in err
    (output / "plain" / "seed_1" / "ownership.json").unlink()  # begun, and not complete
    status, _, err = run_tool(*command, "--opts", *quick)
    assert status == 1
    assert "plain/seed_1 has been trained with SIGMA_INIT 10.0, and the plan says 7.0" in err


def run(variant, seed, ap, **more):
    ownership = {"as_it_is": 80.0, "suppressed": 85.0, "known": 95.0}
    ownership |= {"by_logits": 90.0, "by_kernel": None, "by_rescored": None}
    entry = {"variant": variant, "seed": seed, "values": {"AP": ap}, "ownership": ownership}
    return entry | {"sigma": None, "gain": None} | more


def test_changes_are_between_runs_of_the_same_seed():
    runs = [
        run("stock", 1, 50.0), run("stock", 2, 60.0),
        run("plain", 1, 52.0, sigma=2.0, gain=0.25), run("plain", 2, 61.0, sigma=3.0, gain=0.25),
    ]  # fmt: skip
    measures, insights = format_experiments({"runs": runs, "against": "stock"}).split("\n\n")
    header, _, stock, plain = measures.splitlines()
    assert "AP over stock" in header
    assert "55.0 ± 7.1" in stock
    assert "56.5 ± 6.4" in plain
    assert "+1.5 ± 0.7" in plain
    plain = insights.splitlines()[-1]
    assert "2.50 ± 0.71" in plain
    assert "0.250 ± 0.000" in plain
    assert "K" not in insights  # no run has a kernel's numbers


def test_nothing_complete_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no run of a is complete"):
        collect(Plan("a", "", "c.yaml", "stock", [1], [], {}, {"stock": {}}), tmp_path)


def test_an_interruption_starts_nothing_more(tmp_path, monkeypatch):
    started = []

    def interrupted(plan, output, name, *_):
        started.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "_run", interrupted)
    variants = {str(i): {} for i in range(5)}
    plan = Plan("a", "", PLAN["config"], "0", [1], [], {}, variants)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path)
    assert len(started) < 5


def test_runs_of_a_gpu_are_collected_without_one(tmp_path):
    plan = Plan("a", "", PLAN["config"], "0", [1], [], {}, {"0": {"SOLVER.AMP.ENABLED": True}})
    folder = tmp_path / "0" / "seed_1"
    (folder / "inference").mkdir(parents=True)
    for name in ("inference/evaluation.json", "ownership.json"):
        (folder / name).write_text("{}")
    cfg = load_config(PLAN["config"]).clone()
    cfg.defrost()
    cfg.SOLVER.AMP.ENABLED = True
    (folder / "config.yaml").write_text(cfg.dump())
    assert run_plan(plan, tmp_path) == []


def test_tables_do_without_an_ap():
    runs = [run("stock", 1, 50.0), run("plain", 1, 52.0)]
    for entry in runs:
        entry["values"] = {"S 0.5": 40.0}
    assert "40.0" in format_experiments({"runs": runs, "against": "stock"})
