"""What knowing whose pixel it is would be worth: on a trained model, and the parts by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.ownership import Ownership, format_ownership, measure_ownership, separation
from semiconv_d2.errors import ConfigError
from semiconv_d2.training import load_config, register_own_data

SEMICONV = "configs/demo_semiconv.yaml"  # attached to the shipped stock model


def naive_separation(values, own, others):
    pairs = [(a > b) + (a == b) / 2 for a in values[own] for b in values[others]]
    return np.mean(pairs)


def test_separation_against_a_loop():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (6, 7)).astype(float)  # with ties
    owner = rng.integers(0, 3, (6, 7))
    expected = naive_separation(values, owner == 0, owner == 1)
    assert separation(values, owner == 0, owner == 1) == pytest.approx(expected)


def test_separation_at_its_ends():
    values, own = np.arange(4.0), np.array([False, False, True, True])
    assert separation(values, own, ~own) == 1
    assert separation(-values, own, ~own) == 0
    assert separation(np.zeros(4), own, ~own) == 0.5
    assert np.isnan(separation(values, own, own & ~own))


@pytest.fixture(scope="module")
def configs(datasets_folder):
    data = [
        "OWN_DATA.TEST_JSON", str(datasets_folder / "synthetic_worms" / "val.json"),
        "OWN_DATA.TEST_IMAGES", str(datasets_folder / "synthetic_worms" / "images"),
    ]  # fmt: skip
    configs = {
        "stock": load_config(SEMICONV, [*data, "MODEL.ROI_HEADS.NAME", "StandardROIHeads"]),
        "semiconv": load_config(SEMICONV, data),
    }
    register_own_data(configs["semiconv"])
    return configs


@pytest.fixture(scope="module")
def measured(configs) -> dict[str, Ownership]:
    return {name: measure_ownership(cfg) for name, cfg in configs.items()}


def test_knowing_more_never_hurts(measured):
    for one in measured.values():
        assert (one.suppressed >= one.as_it_is).all()
        assert (one.known >= one.suppressed).all()
        assert one.as_it_is.mean() > 0.6  # a trained model in true boxes
        assert np.nanmean(one.by_logits) > 0.8
        assert (one.suppressed > one.as_it_is)[one.contact > 0].any()


def test_a_just_attached_kernel_changes_no_mask(measured):
    np.testing.assert_allclose(measured["semiconv"].as_it_is, measured["stock"].as_it_is)
    np.testing.assert_allclose(measured["semiconv"].by_rescored, measured["stock"].by_logits)
    assert np.isnan(measured["stock"].by_kernel).all()


def test_alone_in_its_box_nothing_is_to_be_told_apart(measured):
    one = measured["semiconv"]
    alone = np.isnan(one.by_logits)
    assert alone.any()
    assert (np.isnan(one.by_kernel) == alone).all()
    np.testing.assert_array_equal(one.suppressed[alone], one.as_it_is[alone])


def test_the_table_holds_means_by_contact():
    nothing = np.full(3, np.nan)
    one = Ownership(
        np.array([0.0, 0.05, 0.5]), *(np.array([0.5, 0.7, 0.9]) for _ in range(3)),
        np.array([np.nan, 0.6, 0.8]), nothing, nothing, nothing,
    )  # fmt: skip
    lines = format_ownership(one).splitlines()
    assert lines[2].split() == ["instances", "3", "1", "1", "0", "1"]
    assert lines[3].split()[-5:] == ["70.0", "50.0", "70.0", "–", "90.0"]
    assert lines[-1].split()[-5:] == ["70.0", "–", "60.0", "–", "80.0"]
    assert "K" not in lines[-1]


def test_what_cannot_be_measured_is_said(configs):
    for key, value, message in (
        ("MODEL.WEIGHTS", "", "MODEL.WEIGHTS is empty"),
        ("DATASETS.TEST", "()", "DATASETS.TEST is empty"),
        ("MODEL.ROI_HEADS.NUM_CLASSES", 3, "number of classes is 1, the config's is 3"),
        ("MODEL.ROI_HEADS.NAME", "Nope", "MODEL: No object named 'Nope'"),
    ):
        cfg = configs["stock"].clone()
        cfg.defrost()
        cfg.merge_from_list([key, value])
        with pytest.raises(ConfigError, match=message):
            measure_ownership(cfg)


def test_the_tool(run_tool, tmp_path, configs):
    test_json = configs["stock"].OWN_DATA.TEST_JSON
    status, out, err = run_tool(
        "tools/ownership.py", "--config-file", SEMICONV, "--output", tmp_path / "a" / "o.json",
        "OWN_DATA.TEST_JSON", test_json,
        "OWN_DATA.TEST_IMAGES", configs["stock"].OWN_DATA.TEST_IMAGES,
    )  # fmt: skip
    assert status == 0, err
    assert "IoU, own pixels claimed as well" in out
    content = json.loads((tmp_path / "a" / "o.json").read_text())
    assert len(content["as_it_is"]) == len(content["contact"]) > 5


def test_the_tool_says_what_is_missing(run_tool, tmp_path, configs):
    for overrides, message in (
        (("DATASETS.TEST", "('unheard_of',)"), "error: The dataset unheard_of is not registered"),
        (("MODEL.WEIGHTS", ""), "MODEL.WEIGHTS is empty"),
    ):
        status, _, err = run_tool("tools/ownership.py", "--config-file", SEMICONV, *overrides)
        assert status == 1
        assert message in err


def test_the_tool_looks_where_it_is_to_write_before_it_measures(run_tool, tmp_path):
    arguments = ("--config-file", "nowhere.yaml", "--output", tmp_path)
    status, _, err = run_tool("tools/ownership.py", *arguments)
    assert status == 1
    assert f"error: --output {tmp_path}: that is a folder" in err
