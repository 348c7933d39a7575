"""What models cost: that all are measured alike, not how long they take."""

from __future__ import annotations

import json

import pytest

from semiconv_d2.errors import ConfigError
from semiconv_d2.inference.cost import (
    MODELS,
    PHASES,
    SEMICONV,
    STOCK,
    Setting,
    benchmark_models,
    format_costs,
    setting_of,
)

CONFIG = "configs/demo_semiconv.yaml"
SMALL = Setting(size=96, instances=3, resolution=28)


@pytest.fixture(scope="module")
def content() -> dict:
    return benchmark_models(CONFIG, [], [SMALL], repeats=1)


def test_every_model_is_measured_in_both_phases(content):
    assert content["config"] == "demo_semiconv.yaml"  # no path of a machine
    [case] = content["cases"]
    assert {k: case[k] for k in SMALL._fields} == SMALL._asdict()
    for phase in PHASES:
        costs = case["costs"][phase]
        assert list(costs) == list(MODELS)
        assert costs[STOCK]["ratio"] == 1
        assert all(cost["seconds"] > 0 for cost in costs.values())
        assert costs[STOCK]["operations"] < costs[SEMICONV]["operations"]
    assert all(seconds > 0 for seconds in case["parts"].values())
    assert case["parameters"][SEMICONV] > case["parameters"][STOCK]


def test_the_table_has_a_line_for_each(content):
    table = format_costs(json.loads(json.dumps(content)))
    [case] = content["cases"]
    for phase in PHASES:
        for name in MODELS:
            assert any(
                line.startswith(phase) and name in line and f"{case['parameters'][name]:,}" in line
                for line in table.splitlines()
            )
    assert "96 px, 3 instances, masks 28²" in table
    assert "subnet" in table
    assert "operations" in table
    assert "of the GPU" not in table  # there is none


def test_files_without_a_count_of_operations(content):
    known = json.loads(json.dumps(content))
    for costs in known["cases"][0]["costs"].values():
        for cost in costs.values():
            del cost["operations"]
    assert "operations" not in format_costs(known)


def test_several_images_at_a_time():
    two = SMALL._replace(images=2)
    content = benchmark_models(CONFIG, [], [two], 1, [STOCK, SEMICONV])
    assert "96 px, 3 instances, masks 28², 2 images, " in format_costs(content)
    [case] = content["cases"]
    assert setting_of(case) == two
    del case["images"]  # as in files from before there was a choice
    assert setting_of(case) == SMALL


def test_regions_of_a_crowded_image_have_competitors():
    crowded = Setting(size=96, instances=40, resolution=28, crowded=True)
    content = benchmark_models(CONFIG, [], [crowded], 1)
    [case] = content["cases"]
    assert list(case["costs"]["inference"]) == [STOCK, SEMICONV]
    assert case["competitors"] > 6
    table = format_costs(json.loads(json.dumps(content)))
    assert "96 px, 40 crowded instances, masks 28²" in table
    assert "Competitors of a region: 6" in table


def test_masks_are_as_many_as_the_setting_says():
    with pytest.raises(ConfigError, match="instead of 5000"):
        benchmark_models(CONFIG, [], [SMALL._replace(instances=5000)], 1, [STOCK])


def test_the_tool(run_tool, tmp_path):
    status, out, err = run_tool(
        "tools/benchmark.py", "models", "--config-file", CONFIG, "--sizes", 96, "--masks", 2,
        "--resolutions", 28, "--crowded", "--repeats", 1, "--output", tmp_path / "cost.json",
    )  # fmt: skip
    assert status == 0, err
    assert "96 px, 2 instances" in out
    assert json.loads((tmp_path / "cost.json").read_text())["cases"]
