"""Whole evaluations, their tables, and differences between two models."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scenes import build_results, build_truth, make_scene, rectangle

from semiconv_d2.evaluation import (
    MEASURES,
    Detections,
    Threshold,
    compare,
    evaluate,
    format_differences,
    format_evaluation,
)

GIVEN = Threshold(0.5, "given")


def evaluate_all(truth, results):
    return evaluate(Detections(truth, results, GIVEN), list(MEASURES), "data", "model")


@pytest.mark.parametrize("classes", [1, 3])
def test_everything_is_in_the_table_and_in_the_json(classes):
    evaluation = evaluate_all(*make_scene(5, classes=classes))
    table = format_evaluation(evaluation)
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    lines = table.splitlines()
    for row, stored in zip(evaluation.rows, content["rows"], strict=True):
        [line] = [line for line in lines if re.match(rf"{re.escape(row.title)}( \(|  )", line)]
        shown = line.removeprefix(row.title).split(")")[-1].split()
        assert len(shown) == len(row.columns)
        for text, value in zip(shown, row.columns.values(), strict=True):
            assert (
                text == "–" if math.isnan(value) else float(text) == pytest.approx(value, abs=0.051)
            )
        assert {k: math.nan if v is None else v for k, v in stored["values"].items()} == (
            pytest.approx(row.flat(), nan_ok=True)
        )
    assert ("by class" in table) == (classes > 1)
    [s] = [row for row in content["rows"] if row["key"] == "S"]
    assert s["note"] == "score ≥ 0.500, given"
    assert s["threshold"] == {"score": 0.5, "origin": "given"}
    assert "score ≥ 0.500, given" in table


def test_columns_line_up():
    """All blocks but that of the classes share their columns."""
    text = format_evaluation(evaluate_all(*make_scene(5, classes=1)))
    starts = {
        title: [m.end() for m in re.finditer(r"\S+", line)][-6:]
        for line in text.splitlines()
        for title in ("mask AP  ", "AP^r", "S (")
        if line.startswith(title)
    }
    assert len(starts) == 3
    assert len({tuple(columns) for columns in starts.values()}) == 1


def test_without_masks_there_is_box_ap_alone():
    truth, results = make_scene(5)
    boxes = [{k: v for k, v in r.items() if k != "segmentation"} for r in results]
    evaluation = evaluate_all(truth, boxes)
    assert [row.key for row in evaluation.rows] == ["bbox"]
    boxes_of_both = evaluate_all(truth, results).values()["bbox"]
    assert evaluation.values()["bbox"] == pytest.approx(boxes_of_both, nan_ok=True)


@pytest.mark.parametrize("truth", [build_truth([[], []]), build_truth([[]], 2)])
@pytest.mark.parametrize("found", [[], [(rectangle(0, 0, 5, 5), 1, 0.9)]])
def test_nothing_to_find(truth, found):
    evaluation = evaluate_all(truth, build_results([found]))
    assert math.isnan(evaluation.values()["segm"]["AP"])
    json.dumps(evaluation.to_json(), allow_nan=False)
    compare(evaluation, evaluation, resamples=3)


def test_all_detections_count_unless_fewer_are_asked_for(caplog):
    """A perfect result of 150 instances in an image is perfect."""
    masks = np.eye(150, dtype=bool).reshape(150, 15, 10).repeat(4, axis=1).repeat(4, axis=2)
    truth = build_truth([[(mask, 1, False) for mask in masks]])
    scores = np.linspace(1, 0.5, 150).tolist()
    results = build_results([[(m, 1, score) for m, score in zip(masks, scores, strict=True)]])
    assert evaluate(Detections(truth, results), ["coco"]).values()["segm"]["AP"] == pytest.approx(
        100
    )
    assert not caplog.records
    cut = evaluate(Detections(truth, results, max_detections=100), ["coco"])
    assert cut.values()["segm"]["AP"] < 70
    assert "50 of 150 detections are cut off: COCO's measures use the best 100" in caplog.text


def test_nothing_found():
    truth = build_truth([[(rectangle(0, 0, 5, 5), 1, False)]])
    values = evaluate_all(truth, []).values()
    for key in ("segm", "bbox", "boundary"):
        assert values[key]["AP"] == 0
    assert values["region"]["mean"] == values["S"]["mean"] == 0
    assert values["error_count"]["Miss"] == 1


# --- Comparison


def scene_of_two(images=12, missing=2):
    """A finds every instance but the first one of some images, B every one."""
    left, right = rectangle(0, 0, 10, 5), rectangle(0, 8, 10, 13)
    truth = build_truth([[(left, 1, False), (right, 1, False)]] * images)
    both = [(left, 1, 0.9), (right, 1, 0.8)]
    b = build_results([both] * images)
    a = build_results([both[1:] if n < missing else both for n in range(images)])
    return truth, a, b


def test_differences_and_their_intervals():
    truth, a, b = scene_of_two()
    differences = compare(evaluate_all(truth, a), evaluate_all(truth, b), resamples=500)
    by_name = {(d.key, d.value): d for d in differences}
    s = by_name["S", "0.5"]
    assert s.a == pytest.approx(100 * (10 + 2 / 2) / 12)
    assert s.b == 100
    assert s.difference == pytest.approx(100 / 12)
    # By the binomial distribution: of 12 images drawn, 0 … 5 are of the two.
    assert s.low == pytest.approx(0, abs=1e-9)
    assert s.high == pytest.approx(50 * 5 / 12, abs=50 / 12 + 1e-9)
    for d in differences:
        if d.low is not None:
            assert d.low <= d.difference <= d.high


def test_a_model_does_not_differ_from_itself():
    truth, a, _ = scene_of_two()
    one = evaluate_all(truth, a)
    for d in compare(one, evaluate_all(truth, a), resamples=20):
        assert d.difference == 0 or math.isnan(d.difference)
        assert d.low is None or d.low == d.high == 0


def test_many_detections_are_drawn_a_few_times_at_once(monkeypatch):
    """As many values come out, whatever fits into memory at once."""
    truth, a, b = scene_of_two()
    one, two = evaluate_all(truth, a), evaluate_all(truth, b)
    expected = compare(one, two, resamples=20)
    large = replace(one, detections=300_000)
    assert compare(large, two, resamples=20) == expected


def test_the_same_seed_gives_the_same_intervals():
    truth, results = make_scene(5)
    pair = evaluate_all(truth, results), evaluate_all(truth, results[::2])
    first, again, other = (compare(*pair, resamples=60, seed=s) for s in (0, 0, 1))

    def intervals(differences):
        return [(d.low, d.high) for d in differences]

    assert intervals(first) == intervals(again)
    assert intervals(first) != intervals(other)


def test_values_of_a_draw_are_those_of_the_images_drawn():
    """Weights of 1 give the values themselves, in every measure that can be drawn."""
    truth, results = make_scene(11, classes=3, crowd=True, void=True)
    evaluation = evaluate_all(truth, results)
    weights = np.ones((2, len(truth.imgs)))
    for row in evaluation.rows:
        if row.resample is None:
            assert row.key == "error_count"
            continue
        drawn = row.resample(weights)
        for name, values in drawn.items():
            assert values.shape == (2,)
            assert values[0] == pytest.approx(row.values[name], abs=1e-6, nan_ok=True)
        assert set(drawn) == set(row.values)


def test_the_table_of_differences():
    truth, a, b = scene_of_two(missing=4)
    differences = compare(evaluate_all(truth, a), evaluate_all(truth, b), resamples=50)
    lines = format_differences("one.json", "two.json", differences).splitlines()
    assert lines[:2] == ["A: one.json", "B: two.json"]
    [line] = [line for line in lines if line.startswith("S ")]
    assert line.split()[:5] == ["S", "0.5", "83.3", "100.0", "+16.7"]
    clear = [d.is_clear for d in differences]
    assert 0 < sum(clear) < len(clear)
    assert sum(line.endswith("*") for line in lines) == sum(clear)
    stored = json.loads(json.dumps([d.to_json() for d in differences], allow_nan=False))
    assert len(stored) == len(differences)
