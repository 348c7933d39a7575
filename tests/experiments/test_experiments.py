"""Plans of experiments: read, run once, collected, and set in a table."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from experiments import runner
from experiments.collecting import collect, format_experiments
from experiments.commands import experiments as command
from experiments.plan import Plan, read_plan
from experiments.runner import run_plan
from semiconv_d2.errors import ConfigError
from semiconv_d2.training import load_config

PLAN = {
    "about": "A test.",
    "config": "configs/demo_semiconv.yaml",
    "against": "stock",
    "random_seeds": [1],
    "repeated": [],
    "keys": {"SOLVER.MAX_ITER": 1},
    "variants": {"stock": {"MODEL.ROI_HEADS.NAME": "StandardROIHeads"}, "plain": None},
}


def write_plan(tmp_path, changes=None):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN | (changes or {}), sort_keys=False))
    return path


@pytest.fixture
def worms(datasets_folder):
    """Keys of a plan that name data."""
    folder = datasets_folder / "synthetic_worms"
    return {
        "OWN_DATA.TRAIN_JSON": str(folder / "train.json"),
        "OWN_DATA.TRAIN_IMAGES": str(folder / "images"),
        "OWN_DATA.TEST_JSON": str(folder / "val.json"),
    }


@pytest.fixture
def started(monkeypatch):
    """The variants whose training would have been started."""
    names = []
    monkeypatch.setattr(runner, "_run", lambda plan, output, name, *_: names.append(name))
    return names


def plan_of(variants, keys=None):
    first = next(iter(variants))
    return Plan("a", "", PLAN["config"], first, [1], [], keys or {}, variants)


def write_run(folder, changes=(), without="", complete=True):
    """A run of the plan's config with other values, KEY VALUE …, and without some key."""
    (folder / "inference").mkdir(parents=True)
    names = ("inference/evaluation.json", "ownership.json") if complete else ("last_checkpoint",)
    for name in names:
        (folder / name).write_text("{}")
    cfg = load_config(PLAN["config"]).clone()
    cfg.defrost()
    cfg.merge_from_list(list(changes))
    content = yaml.safe_load(cfg.dump())
    if without:
        *parents, last = without.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        del node[last]
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


def test_a_plan_is_read(tmp_path):
    plan = read_plan(write_plan(tmp_path))
    assert plan.name == "plan"
    assert plan.variants == {"stock": {"MODEL.ROI_HEADS.NAME": "StandardROIHeads"}, "plain": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"against": "nobody"}, "'nobody' is not a variant"),
        ({"random_seeds": []}, "seeds is empty"),
        ({"repeated": ["stock", "someone"]}, "'someone' is not a variant"),
        ({"random_seeds": 1}, "seeds is 1; it must be a list"),
        ({"variants": None}, "variants is None; it must be a mapping"),
        ({"more": 1}, "about, against, config, keys, random_seeds, repeated, variants; it has"),
        ({1: 1}, "about, against, config, keys, random_seeds, repeated, variants; it has"),
        ({"against": ["stock"]}, r"against is \['stock'\]; it must be text"),
        ({"config": None}, "config is None; it must be text"),
        ({"repeated": [["stock"]]}, r"\['stock'\] is not a variant"),
        (
            {"repeated": ["stock", "stock"]},
            r"repeated is \['stock', 'stock'\]: name each only once",
        ),
        ({"random_seeds": [1, 1]}, r"seeds is \[1, 1\]: name each only once"),
        ({"random_seeds": ["one"]}, "random_seeds has 'one'; it must have whole numbers from 0 on"),
        ({"random_seeds": [True]}, "seeds has True"),
        ({"random_seeds": [-1]}, "seeds has -1"),  # which Detectron2 takes for any seed
        ({"variants": {False: {}}}, "the name of a variant is False; .* put it in quotes"),
        ({"variants": {16: {}}}, "the name of a variant is 16; .* put it in quotes"),
        ({"variants": {"": {}}}, "the name of a variant is ''"),
        ({"variants": {"stock": ["A", 1]}}, r"the variant 'stock' is \['A', 1\]; .* a mapping"),
        ({"variants": {"stock": False}}, "the variant 'stock' is False; it must be a mapping"),
        ({"variants": {"../x": {}}}, "the variant '../x' gives its folder the name"),
        ({"variants": {"/abs": {}}}, "the variant '/abs' gives its folder the name"),
        ({"variants": {"..": {}}}, "the variant '..' gives its folder the name"),
        ({"variants": {"a b": {}, "a_b": {}}}, "'a b' and 'a_b' have the same folder, a_b"),
    ],
)
def test_broken_plans_are_said(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        read_plan(write_plan(tmp_path, change))
    with pytest.raises(ConfigError, match="cannot read"):
        read_plan(tmp_path / "none.yaml")


def test_some_variants_are_repeated_with_more_seeds(tmp_path):
    plan = read_plan(write_plan(tmp_path, {"random_seeds": [3, 1, 2], "repeated": ["plain"]}))
    assert plan.runs == [("stock", 3), ("plain", 3), ("plain", 1), ("plain", 2)]


def test_trains_once_and_says_what_failed(run_tool, quick, tmp_path):
    variants = PLAN["variants"] | {"broken": {"SOLVER.LR_SCHEDULER_NAME": "Wrong"}}
    path, output = write_plan(tmp_path, {"variants": variants}), tmp_path / "runs"
    command = ("tools/experiments.py", path, "--output", output, "--json", tmp_path / "r.json")
    status, out, err = run_tool(*command, "--opts", *quick)
    assert status == 1
    assert "broken, random seed 1: " in err
    assert "Wrong" in err.splitlines()[-1]
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


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"MODEL.SEMICONV.KERNLE": "gaussian"}, "MODEL.SEMICONV.KERNLE is not a key"),
        ({"MODEL.SEMICONV.KERNEL": "cubic"}, "its model cannot be built: .*cubic"),
        ({"MODEL.ROI_HEADS.NAME": "NoHeads"}, "its model cannot be built: .*NoHeads"),
        ({"MODEL.WEIGHTS": "none.pth"}, "MODEL.WEIGHTS is none.pth, and there is no file"),
        ({"MODEL.ROI_HEADS.NUM_CLASSES": 7}, "MODEL.ROI_HEADS.NUM_CLASSES is 7"),
        ({"OWN_DATA.TRAIN_JSON": "none.json"}, "none.json"),
        ({"OWN_DATA.TEST_JSON": "", "DATASETS.TEST": []}, r"DATASETS.TEST is \(\): a plan needs"),
        (
            {"OWN_DATA.TEST_JSON": "", "DATASETS.TEST": ["a", "b"]},
            "a plan needs exactly one test dataset",
        ),
        ({"MODEL.META_ARCHITECTURE": "InstanceColoring"}, "InstanceColoring has no masks of"),
    ],
)
def test_every_variant_is_checked_before_any_is_trained(tmp_path, worms, started, keys, message):
    with pytest.raises(ConfigError, match=f"the variant 'second' of a: .*{message}"):
        run_plan(plan_of({"first": {}, "second": keys}, worms), tmp_path)
    assert not started


def test_a_missing_config_is_said_before_any_training(tmp_path, started):
    with pytest.raises(ConfigError, match=r"There is no config file none\.yaml"):
        run_plan(Plan("a", "", "none.yaml", "0", [1], [], {}, {"0": {}}), tmp_path)
    assert not started


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.SEMICONV.SIGMA_INIT", 7.0),
        ("MODEL.WEIGHTS", "other.pth"),
        ("MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
        ("MODEL.COLORING.DECODER", "mean_shift"),
        ("DATASETS.TEST", ["bbbc010_test"]),
        ("INPUT.MIN_SIZE_TEST", 100),
        ("SOLVER.MAX_ITER", 7),
        ("EVALUATION.SCORE_THRESHOLD", 0.25),
    ],
)
def test_runs_of_another_config_are_not_taken(tmp_path, started, key, value, complete):
    write_run(tmp_path / "0" / "seed_1", complete=complete)
    with pytest.raises(ConfigError, match=f"seed_1 was trained with {key} .*, but the plan"):
        run_plan(plan_of({"0": {key: value}}), tmp_path)
    assert not started


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        (["MODEL.DEVICE", "cuda", "OUTPUT_DIR", "elsewhere", "SEED", "1"], {}),
        (["SOLVER.AMP.ENABLED", "True"], {"SOLVER.AMP.ENABLED": True}),  # off without a GPU
        (["DATALOADER.NUM_WORKERS", "7", "SOLVER.CHECKPOINT_PERIOD", "7"], {}),
        (["EVALUATION.MEASURES", "('s',)"], {}),  # those that are missing are left out of tables
        (["MODEL.ROI_HEADS.NUM_CLASSES", "3"], {"MODEL.ROI_HEADS.NUM_CLASSES": 0}),
        (["INPUT.MASK_FORMAT", "bitmask"], {"INPUT.MASK_FORMAT": "polygon"}),
    ],
)
def test_what_machine_and_data_set_may_differ(tmp_path, changes, keys):
    write_run(tmp_path / "0" / "seed_1", changes)
    assert run_plan(plan_of({"0": keys}), tmp_path) == []


def test_runs_of_earlier_versions_are_taken_where_nothing_changed(tmp_path):
    folder = tmp_path / "0" / "seed_1"
    write_run(folder, without="MODEL.SEMICONV.MASK_SCORE")
    with (folder / "config.yaml").open("a") as file:
        file.write("NO_LONGER: 1\n")
    assert run_plan(plan_of({"0": {}}), tmp_path) == []
    with pytest.raises(ConfigError, match="MASK_SCORE False, but the plan says True"):
        run_plan(plan_of({"0": {"MODEL.SEMICONV.MASK_SCORE": True}}), tmp_path)


@pytest.mark.parametrize("content", [None, "MODEL: [", "text"])
def test_a_run_without_its_config_is_said(tmp_path, content):
    folder = tmp_path / "0" / "seed_1"
    write_run(folder)
    (folder / "config.yaml").unlink()
    if content:
        (folder / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"cannot read .*seed_1/config\.yaml"):
        run_plan(plan_of({"0": {}}), tmp_path)


@pytest.fixture
def call_tool(monkeypatch, tmp_path, capsys):
    """What the tool says last, where `run_plan` has some result."""

    def call(result):
        monkeypatch.setattr(command, "run_plan", result)
        monkeypatch.setattr(logging, "disable", lambda level: None)
        arguments = [str(write_plan(tmp_path)), "--output", str(tmp_path / "runs")]
        assert command.main(arguments) == 1
        return capsys.readouterr().err.rstrip()

    return call


def test_reasons_come_last_where_nothing_is_complete(call_tool):
    failures = [f"{name}, random seed 1: no luck" for name in PLAN["variants"]]
    said = call_tool(lambda *_: failures)
    assert said.splitlines()[0].startswith("error: these runs failed")
    assert said.splitlines()[-1] == "  plain, random seed 1: no luck"


def test_an_interruption_is_one_line(call_tool):
    def interrupted(*_):
        raise KeyboardInterrupt

    said = call_tool(interrupted)
    assert said.startswith("error: interrupted; the same command continues")
    assert "\n" not in said


def test_outputs_are_looked_at_before_the_training(call_tool, tmp_path):
    (tmp_path / "runs").write_text("")
    said = call_tool(lambda *_: pytest.fail("trained"))
    assert "--output" in said


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


def test_an_interruption_starts_nothing_more(tmp_path, monkeypatch, worms):
    started = []

    def interrupted(plan, output, name, *_):
        started.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan_of({str(i): {} for i in range(5)}, worms), tmp_path)
    assert len(started) < 5


def test_tables_do_without_an_ap():
    runs = [run("stock", 1, 50.0), run("plain", 1, 52.0)]
    for entry in runs:
        entry["values"] = {"S 0.5": 40.0}
    assert "40.0" in format_experiments({"runs": runs, "against": "stock"})


def test_whoever_ends_a_plan_ends_its_runs():
    children = runner.Children()
    with ThreadPoolExecutor(1) as pool:
        status = pool.submit(children.run, [sys.executable, "-c", "import time; time.sleep(60)"])
        while not children._running:
            time.sleep(0.01)
        children.end()
        assert status.result(timeout=30) == -signal.SIGTERM
    assert children.run([sys.executable, "-c", ""]) == 1  # none begins any more
