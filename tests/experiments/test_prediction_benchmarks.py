"""What is said about the speed of prediction is measured as it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks.crowd import Program, benchmark_crowd, draw_crowd
from experiments.benchmarks.switches import NONE, benchmark_switches, switches
from semiconv_d2 import Predictor
from semiconv_d2.evaluation import find_truth

ROOT = Path(__file__).resolve().parents[2]


def test_the_crowd_is_the_same_each_time():
    (first, number), (again, _), (other, _) = (draw_crowd(300, seed) for seed in (0, 0, 1))
    assert first.shape == (300, 300)
    assert 20 <= number <= 24  # in four tiles
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.slow
def test_a_crowd_is_measured_in_processes_of_their_own():
    programs = {"plain": Program(ROOT), "fast": Program(ROOT, ["--fast"])}
    content = benchmark_crowd(programs, repeats=1, side=300)
    assert [row[0] for row in content["rows"]] == ["plain", "fast"]
    assert content["same"] == ["plain"]  # rounding
    assert content["instances"] > 20
    for [run] in content["runs"].values():
        assert 0 < run["network"] < run["seconds"]
        assert run["mebibytes"] > 100


def test_switches_are_compared_with_the_unchanged_model(datasets_folder):
    predictor = Predictor.load(
        "demo_semiconv",
        weights="checkpoints/demo_mask_rcnn.pth",
        score_threshold=0,
        overrides=["INPUT.MIN_SIZE_TEST", "192"],
    )
    folder = datasets_folder / "synthetic_worms"
    truth = find_truth(str(folder / "val.json"))
    content = benchmark_switches({"demo": predictor}, truth, folder / "images", images=3)
    assert content["images"] == 3
    assert [row[1] for row in content["rows"]] == list(switches("cpu"))
    plain, rounded, *_, coarse, fast = content["models"]["demo"].values()
    assert (plain["time"], plain["mean_iou"], plain["least_iou"]) == (100, 100, 100)
    assert plain["ap"] > 10
    assert abs(rounded["ap"] - plain["ap"]) < 1
    assert rounded["mean_iou"] > 99
    assert plain["masks"] == coarse["masks"] > 5
    assert 50 < coarse["mean_iou"] < 100
    assert 50 < fast["mean_iou"] <= 100
    assert NONE in content["models"]["demo"]
