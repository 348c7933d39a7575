"""Measures against slow plain versions on random scenes, and cases done by hand."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_util
from scenes import build_results, build_truth, make_scene, rectangle

from semiconv_d2.errors import MeasureError
from semiconv_d2.evaluation.measures import (
    MEASURES,
    Detections,
    Threshold,
    check_measures,
    choose_threshold,
    coco,
    counting,
    errors,
    region,
)
from semiconv_d2.evaluation.measures.difficulty import CONTACT, ELONGATION, measure_instances
from semiconv_d2.evaluation.pairs import pair_images

SEEDS = st.integers(0, 2**32 - 1)
many = settings(max_examples=60, deadline=None)


def measure(name, truth, results, threshold=None):
    rows = MEASURES[name](Detections(truth, results, threshold))
    return {row.key: row.flat() for row in rows}


def same(a, b):
    return a == pytest.approx(b, abs=1e-6, nan_ok=True)


# --- COCO's numbers


@many
@given(SEEDS, st.booleans(), st.sampled_from([1, 3, 100]))
def test_both_libraries_and_the_curves_give_the_same_numbers(seed, crowd, most):
    truth, results = make_scene(seed, classes=3, crowd=crowd)
    if not results:
        return
    for overlap in ("mask", "box"):
        fast = coco.coco_values(truth, results, overlap, most, fast=True)
        plain = coco.coco_values(truth, results, overlap, most, fast=False)
        assert all(map(same, fast, plain))
        pairs = pair_images(truth, results, overlap, most)
        curves = coco.ranked_values(coco.coco_rankings(pairs, truth.cats))
        for name, limits in coco.AREAS.items():
            chosen = coco.choose_area(pairs, *limits)
            curves[name] = coco.ranked_values(coco.coco_rankings(pairs, truth.cats, chosen=chosen))[
                "AP"
            ]
        assert {name: same(float(value), plain[0][name]) for name, value in curves.items()} == (
            dict.fromkeys(curves, True)
        )


def test_the_numbers_are_detectron2s():
    """Those of its COCOEvaluator, under the same names."""
    from detectron2.evaluation.coco_evaluation import COCOEvaluator, _evaluate_predictions_on_coco

    truth, results = make_scene(3, classes=3)
    evaluator = COCOEvaluator.__new__(COCOEvaluator)
    evaluator._logger = __import__("logging").getLogger("test")
    rows = measure("coco", truth, results)
    names = [truth.cats[c]["name"] for c in sorted(truth.cats)]
    for task in ("segm", "bbox"):
        theirs = evaluator._derive_coco_results(
            _evaluate_predictions_on_coco(truth, results, task), task, names
        )
        assert list(theirs) == list(rows[task])
        assert same(theirs, rows[task])


def test_no_detections_are_an_ap_of_zero():
    truth = build_truth([[(rectangle(0, 0, 5, 5), 1, False)], []])
    for overlap in ("mask", "box", "boundary"):
        values, _ = coco.coco_values(truth, [], overlap)
        assert values["AP"] == values["AP50"] == values["APs"] == 0
        assert math.isnan(values["APl"])


def test_more_detections_than_a_hundred_can_count():
    images = [[(rectangle(i, j, i + 1, j + 1), 1, False) for i in range(12) for j in range(15)]]
    truth = build_truth(images)
    results = build_results([[(m, 1, 1 - k / 1000) for k, (m, *_) in enumerate(images[0])]])
    assert coco.coco_values(truth, results, "mask")[0]["AP"] == pytest.approx(56 / 101 * 100)
    assert coco.coco_values(truth, results, "mask", 200)[0]["AP"] == 100


def test_ap_r_and_s_look_at_all_detections():
    cells = [rectangle(i, j, i + 1, j + 1) for i in range(12) for j in range(15)]
    truth = build_truth([[(m, 1, False) for m in cells]])
    results = build_results([[(m, 1, 0.9) for m in cells]])
    assert measure("region", truth, results)["region"]["mean"] == pytest.approx(100)
    assert measure("s", truth, results, Threshold(0.5, "given"))["S"]["mean"] == 100


@pytest.mark.parametrize("overlap", ["mask", "box"])
def test_more_detections_than_a_byte_can_count(overlap):
    mask = rectangle(0, 0, 5, 5)
    truth = build_truth([[(mask, 1, False)]] * 300)
    results = build_results([[(mask, 1, 0.9)]] * 300)
    for fast in (True, False):
        assert coco.coco_values(truth, results, overlap, fast=fast)[0]["AP"] == 100


# --- Boundary AP


def slow_boundary(mask, share=0.02):
    """Pixels from which the outside of the mask, or of the image, is near in rows and columns."""
    height, width = mask.shape
    reach = max(1, round(share * math.hypot(height, width)))
    boundary = np.zeros_like(mask)
    for i, j in np.argwhere(mask):
        boundary[i, j] = any(
            not (0 <= i + di < height and 0 <= j + dj < width) or not mask[i + di, j + dj]
            for di in range(-reach, reach + 1)
            for dj in range(-reach, reach + 1)
        )
    return boundary


def slow_iou(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 0.0


def decode(truth, results):
    """Masks of each image: instances (mask, category, crowd), detections (mask, category, score)
    by falling score, and void or None."""
    images = []
    for image_id in sorted(truth.imgs):
        instances = [
            (truth.annToMask(a) > 0, a["category_id"], a["iscrowd"])
            for a in truth.imgToAnns[image_id]
        ]
        found = [
            (mask_util.decode(r["segmentation"]) > 0, r["category_id"], r["score"])
            for r in results
            if r["image_id"] == image_id
        ]
        found.sort(key=lambda d: -d[2])
        void = truth.imgs[image_id].get("void")
        void = None if void is None else mask_util.decode(void) > 0
        images.append((instances, found, void))
    return images


def slow_coco_ap(truth, results, overlap, needed):
    """AP at one threshold, in percent, by COCO's rules without crowds."""
    by_class = []
    for category in truth.cats:
        judged, positives = [], 0
        for instances, found, _ in decode(truth, results):
            left = [m for m, c, _ in instances if c == category]
            positives += len(left)
            for mask, c, score in found:
                if c != category:
                    continue
                overlaps = [overlap(mask, other) for other in left]
                best = max(overlaps, default=0)
                hit = best >= needed
                if hit:  # of equally good ones the last
                    del left[len(left) - 1 - overlaps[::-1].index(best)]
                judged.append((score, hit))
        if positives:
            judged.sort(key=lambda d: -d[0])
            points, tp = [], 0
            for number, (_, hit) in enumerate(judged, start=1):
                tp += hit
                points.append((tp / positives, tp / number))
            by_class.append(
                sum(
                    max((p for r, p in points if r >= x), default=0) for x in np.linspace(0, 1, 101)
                )
                / 1.01
            )
    return np.mean(by_class) if by_class else math.nan


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_boundary_ap_against_a_slow_version(seed):
    truth, results = make_scene(seed, classes=2)
    if not results:
        return

    def overlap(a, b):
        return min(slow_iou(a, b), slow_iou(slow_boundary(a), slow_boundary(b)))

    values = measure("boundary", truth, results)["boundary"]
    at = [slow_coco_ap(truth, results, overlap, t) for t in coco.THRESHOLDS]
    assert same(values["AP"], np.mean(at))
    assert same(values["AP50"], at[0])
    assert same(values["AP75"], at[5])


def test_boundary_ap_by_hand():
    """A square of 40 with its inner 20 left out keeps 3/4 of its pixels and, three pixels deep,
    its whole boundary; the hole adds a boundary of its own, which the union counts."""
    whole = rectangle(30, 30, 70, 70, size=(100, 100))
    holed = whole & ~rectangle(40, 40, 60, 60, size=(100, 100))
    truth = build_truth([[(whole, 1, False)]])
    outer = 40**2 - 34**2  # pixels within 3 of the outside
    inner = 26**2 - 20**2  # and within 3 of the hole
    overlap = outer / (outer + inner)
    assert 0.6 < overlap < 0.65 < 0.75
    rows = {
        name: measure(name, truth, build_results([[(holed, 1, 0.9)]]))
        for name in ("coco", "boundary")
    }
    assert rows["coco"]["segm"]["AP"] == pytest.approx(60)  # 0.50 … 0.75, of ten thresholds
    assert rows["boundary"]["boundary"]["AP"] == pytest.approx(30)  # 0.50, 0.55, 0.60


def test_mask_and_boundary_ap_agree_on_thin_instances():
    """Where all of an instance is boundary; BBBC010's worms are like that."""
    thin = rectangle(50, 10, 53, 90, size=(100, 100))
    moved = rectangle(51, 10, 54, 90, size=(100, 100))
    truth = build_truth([[(thin, 1, False)]])
    results = build_results([[(moved, 1, 0.9)]])
    boundary = measure("boundary", truth, results)["boundary"]
    assert same(boundary, measure("coco", truth, results)["segm"])


# --- AP^r


def slow_region_ap(truth, results, needed):
    """Mean over classes, in percent; pixels that are void or of a crowd taken out one by one."""
    by_class = []
    for category in truth.cats:
        judged, positives = [], 0
        for instances, found, void in decode(truth, results):
            own = [m for m, c, crowd in instances if c == category and not crowd]
            positives += len(own)
            outside = np.zeros(found[0][0].shape, dtype=bool) if found else None
            if found:
                if void is not None:
                    outside |= void
                for mask, _, crowd in instances:
                    if crowd:
                        outside |= mask
                for mask, _, crowd in instances:
                    if not crowd:
                        outside &= ~mask
            taken = set()
            for mask, c, score in found:
                if c != category or (mask.any() and not (mask & ~outside).any()):
                    continue
                overlaps = [slow_iou(mask & ~outside, other) for other in own]
                best = int(np.argmax(overlaps)) if own else -1
                hit = bool(own) and overlaps[best] >= needed and best not in taken
                if hit:
                    taken.add(best)
                judged.append((score, hit))
        if positives:
            judged.sort(key=lambda d: -d[0])
            area, tp, precisions = 0.0, 0, []
            for number, (_, hit) in enumerate(judged, start=1):
                tp += hit
                precisions.append(tp / number)
            for i, (_, hit) in enumerate(judged):
                if hit:
                    area += max(precisions[i:]) / positives
            by_class.append(100 * area)
    return np.mean(by_class) if by_class else math.nan


@many
@given(SEEDS, st.booleans(), st.booleans())
def test_region_ap_against_a_slow_version(seed, crowd, void):
    truth, results = make_scene(seed, classes=2, crowd=crowd, void=void)
    values = measure("region", truth, results)["region"]
    slow = [slow_region_ap(truth, results, t) for t in region.THRESHOLDS]
    assert same([values[f"{t:.1f}"] for t in region.THRESHOLDS], slow)
    assert same(values["mean"], np.mean(slow))


def test_region_ap_by_hand():
    left, right = rectangle(0, 0, 10, 5), rectangle(0, 8, 10, 13)
    truth = build_truth([[(left, 1, False), (right, 1, False)]])
    found = [
        (left, 1, 0.9),  # exact
        (left, 1, 0.8),  # the same again: a false positive
        (rectangle(0, 8, 7, 13), 1, 0.7),  # 35 of 50 pixels
    ]
    values = measure("region", truth, build_results([found]))["region"]
    assert values["0.5"] == values["0.7"] == pytest.approx(100 * (1 / 2 + 2 / 3 / 2))
    assert values["0.8"] == values["0.9"] == pytest.approx(50)


def test_void_pixels_count_neither_for_nor_against():
    own, void = rectangle(0, 0, 6, 6), rectangle(0, 6, 6, 12)
    truth = build_truth([[(own, 1, False)]], voids=[void])
    found = [
        (void, 1, 0.9),  # all of it void: left out, though it has the best score
        (own | void, 1, 0.8),  # an overlap of 1/2 with void, of 1 without
    ]
    assert measure("region", truth, build_results([found]))["region"]["0.9"] == 100
    assert measure("coco", truth, build_results([found]))["segm"]["AP75"] == 0


def test_void_never_takes_pixels_of_an_instance():
    own = rectangle(0, 0, 6, 6)
    truth = build_truth([[(own, 1, False)]], voids=[rectangle(0, 0, 6, 5)])
    results = build_results([[(rectangle(0, 5, 6, 6), 1, 0.9)]])  # a sixth of it
    assert measure("region", truth, results)["region"]["0.5"] == 0


def test_classes_are_reported_one_by_one():
    left, right = rectangle(0, 0, 10, 5), rectangle(0, 8, 10, 13)
    truth = build_truth([[(left, 1, False), (right, 2, False)]], classes=3)
    values = measure("region", truth, build_results([[(left, 1, 0.9)]]))["region"]
    assert values["0.5"] == 50
    assert values["0.5-worm"] == values["mean-worm"] == 100
    assert values["0.5-cell"] == 0
    assert math.isnan(values["0.5-dot"])


# --- S


def slow_s(truth, results, score, needed):
    """Over all ways to pair detections and instances."""
    values = []
    for instances, found, _ in decode(truth, results):
        found = [(m, c) for m, c, s in found if s >= score]
        own = [(m, c) for m, c, _ in instances]
        few, many_ = sorted((found, own), key=len)
        most = max(
            sum(
                a[1] == b[1] and slow_iou(a[0], b[0]) >= needed
                for a, b in zip(few, chosen, strict=True)
            )
            for chosen in permutations(many_, len(few))
        )
        union = len(found) + len(own) - most
        values.append(most / union if union else 1.0)
    return 100 * np.mean(values)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from((0.0, 0.3, 0.7)))
def test_s_against_a_slow_version(seed, score):
    truth, results = make_scene(seed)
    results = [r for n, r in enumerate(results) if n < 6]  # factorials are in the slow one
    values = measure("s", truth, results, Threshold(score, "given"))["S"]
    slow = [slow_s(truth, results, score, t) for t in counting.THRESHOLDS]
    assert same([values[f"{t:.1f}"] for t in counting.THRESHOLDS], slow)
    assert same(values["mean"], np.mean(slow))


def test_s_by_hand():
    left, right = rectangle(0, 0, 10, 5), rectangle(0, 8, 10, 13)
    truth = build_truth([[(left, 1, False), (right, 1, False)], [], []])
    results = build_results(
        [
            [(left, 1, 0.9), (left, 1, 0.8), (right, 1, 0.3)],  # one found, one wrong, one missed
            [(left, 1, 0.7)],  # one wrong
            [(left, 1, 0.2)],  # below the score: nothing there and nothing found
        ]
    )
    values = measure("s", truth, results, Threshold(0.5, "given"))["S"]
    assert values["mean"] == pytest.approx(100 * (1 / 3 + 0 + 1) / 3)


def test_s_needs_a_score():
    with pytest.raises(MeasureError, match="score"):
        measure("s", build_truth([[]]), [])


# --- Dice


def slow_best(ours, theirs):
    """Mean over our masks of the best Dice with one of theirs of the same class."""
    best = [
        max((2 * (m & o).sum() / (m.sum() + o.sum()) for o, d in theirs if c == d), default=0.0)
        for m, c in ours
    ]
    return np.mean(best)


def slow_dice(truth, results, score):
    values = []
    for instances, found, _ in decode(truth, results):
        found = [(m, c) for m, c, s in found if s >= score]
        own = [(m, c) for m, c, _ in instances]
        difference = len(found) - len(own)
        if found and own:
            sbd = min(slow_best(own, found), slow_best(found, own))
            a, b = (np.any([m for m, _ in each], axis=0) for each in (own, found))
            fbd = 2 * (a & b).sum() / (a.sum() + b.sum())
        else:
            sbd = fbd = float(not found and not own)
        values.append((100 * sbd, 100 * fbd, abs(difference), difference))
    return np.mean(values, axis=0)


@many
@given(SEEDS, st.sampled_from((0.0, 0.3, 0.7)))
def test_dice_against_a_slow_version(seed, score):
    truth, results = make_scene(seed)
    values = measure("dice", truth, results, Threshold(score, "given"))["dice"]
    slow = slow_dice(truth, results, score)
    assert same([values[name] for name in ("SBD", "FBD", "|DiC|", "DiC")], slow)


def test_dice_by_hand():
    left, right, both = rectangle(0, 0, 10, 5), rectangle(0, 8, 10, 13), rectangle(0, 0, 10, 10)
    truth = build_truth([[(left, 1, False), (right, 1, False)], []])
    results = build_results([[(both, 1, 0.9), (left, 1, 0.2)], []])
    values = measure("dice", truth, results, Threshold(0.5, "given"))["dice"]
    # left has 2 · 50 / 150 with the only one that counts, right 2 · 20 / 150
    assert values["SBD"] == pytest.approx(100 * ((2 / 3 + 4 / 15) / 2 + 1) / 2)
    assert values["FBD"] == pytest.approx(100 * (2 * 70 / 200 + 1) / 2)
    assert (values["|DiC|"], values["DiC"]) == (0.5, -0.5)
    results = build_results([[(left, 1, 0.9), (right, 1, 0.6)], []])
    values = measure("dice", truth, results, Threshold(0.5, "given"))["dice"]
    assert (values["SBD"], values["FBD"], values["|DiC|"]) == (100, 100, 0)


def test_dice_needs_a_score():
    with pytest.raises(MeasureError, match="score"):
        measure("dice", build_truth([[]]), [])


@many
@given(SEEDS)
def test_the_chosen_score_is_the_best_one(seed):
    truth, results = make_scene(seed)
    detections = Detections(truth, results)
    score, origin = choose_threshold(detections, "these images")
    assert origin == "chosen on these images"

    def mean_s(threshold):
        return counting.s_scores(detections.counts, threshold).mean()

    tried = [0.0, 2.0, *(r["score"] for r in results)]
    with_some = [t for t in tried if any(r["score"] >= t for r in results)]
    for threshold in with_some:
        assert mean_s(score) >= mean_s(threshold) - 1e-12


# --- Difficulty


def test_instances_are_sorted_by_contact():
    size = (40, 60)
    alone = rectangle(0, 0, 4, 4, size)
    touching = [rectangle(10, 0, 20, 10, size), rectangle(10, 11, 20, 21, size)]
    truth = build_truth([[(m, 1, False) for m in (alone, *touching)]])
    found = [(alone, 1, 0.9), (touching[0], 1, 0.8)]
    rows = measure("difficulty", truth, build_results([found]))
    # The last column, 10 of the 36 pixels of the outline, lies two columns from the other one.
    assert measure_instances(truth)["contact"][2] == pytest.approx(10 / 36)
    assert [rows[f"contact_{n}"]["instances"] for n in range(4)] == [1, 0, 2, 0]
    assert rows["contact_0"]["AP"] == 100
    assert math.isnan(rows["contact_1"]["AP"])
    assert rows["contact_2"]["AP"] == pytest.approx(51 / 101 * 100)


def test_a_detection_counts_against_the_instances_it_overlaps_alone():
    size = (40, 60)
    alone = rectangle(0, 0, 4, 4, size)
    touching = [rectangle(10, 0, 20, 10, size), rectangle(10, 10, 20, 20, size)]
    truth = build_truth([[(m, 1, False) for m in (alone, *touching)]])
    merged = touching[0] | touching[1] | rectangle(20, 0, 21, 20, size)
    nowhere = rectangle(30, 40, 35, 45, size)
    found = [(merged, 1, 0.9), (nowhere, 1, 0.8), (alone, 1, 0.7)]
    rows = measure("difficulty", truth, build_results([found]))
    assert rows["contact_0"]["AP"] == 100  # neither of the wrong ones lies on it
    assert rows["contact_3"]["AP"] == 0


@pytest.mark.parametrize(
    ("bins", "values", "expected"),
    [
        (CONTACT, [0, 0.01, 0.1, 0.11, 0.3, 0.31, 1], [0, 1, 1, 2, 2, 3, 3]),
        (ELONGATION, [0.9, 2, 2.1, 4, 8, 8.1], [0, 0, 1, 1, 2, 3]),
    ],
)
def test_bins(bins, values, expected):
    assert bins.of(np.array(values)).tolist() == expected
    assert len(bins.labels) == len(bins.upper) + 1


@many
@given(SEEDS)
def test_bins_hold_every_instance_once(seed):
    truth, results = make_scene(seed, crowd=True)
    rows = measure("difficulty", truth, results)
    single = sum(not a["iscrowd"] for a in truth.anns.values())
    for name in ("contact", "elongation"):
        assert sum(rows[f"{name}_{n}"]["instances"] for n in range(4)) == single


# --- Errors by kind


def costs(truth, results):
    rows = measure("errors", truth, results)
    return rows["error_cost"], rows["error_count"]


def single_error(found, category=1):
    """Two instances of class 1 and one of class 2; `found` takes the place of the second."""
    size = (40, 60)
    masks = [rectangle(0, 20 * n, 10, 20 * n + 10, size) for n in range(3)]
    categories = (1, 1, 2)
    truth = build_truth([[(m, c, False) for m, c in zip(masks, categories, strict=True)]], 2)
    right = [(masks[0], 1, 0.8), (masks[2], 2, 0.8)]
    return truth, build_results([[*right, *found(masks)]])


@pytest.mark.parametrize(
    ("kind", "found", "missed"),
    [
        ("Cls", lambda m: [(m[1], 2, 0.9)], 0),
        ("Loc", lambda m: [(m[1] & rectangle(0, 0, 4, 60, m[1].shape), 1, 0.9)], 0),
        ("Both", lambda m: [(m[1] & rectangle(0, 0, 4, 60, m[1].shape), 2, 0.9)], 1),
        ("Dupe", lambda m: [(m[0], 1, 0.7)], 1),
        ("Bkg", lambda m: [(rectangle(30, 0, 40, 10, m[1].shape), 1, 0.9)], 1),
    ],
)
def test_an_error_of_each_kind(kind, found, missed):
    cost, count = costs(*single_error(found))
    expected = dict.fromkeys(errors.KINDS, 0) | {kind: 1, "Miss": missed, "FP": 1, "FN": 1}
    assert count == expected
    if kind not in ("Dupe",):  # one of lower score than everything that is right costs nothing
        assert cost[kind] > 0
    for other in set(errors.KINDS) - {kind, "Miss"}:
        assert cost[other] == 0


def test_a_mended_error_is_worth_what_it_should_be():
    # Class 1: a wrong one first, then a right one, of two instances: AP 1/2 at recall 1/2.
    truth, results = single_error(lambda m: [(m[1] & rectangle(0, 0, 4, 60, m[1].shape), 1, 0.9)])
    cost, _ = costs(truth, results)
    as_is = (51 / 101 * 0.5 + 1) / 2
    assert measure("coco", truth, results)["segm"]["AP50"] == pytest.approx(100 * as_is)
    assert cost["Loc"] == pytest.approx(100 * (1 - as_is))  # then everything is right
    assert cost["FP"] == pytest.approx(100 * ((51 / 101 + 1) / 2 - as_is))
    assert cost["FN"] == pytest.approx(100 * ((0.5 + 1) / 2 - as_is))


def test_the_best_of_several_errors_of_an_instance_is_mended_and_the_others_go():
    part = rectangle(0, 0, 4, 60, (40, 60))
    truth, results = single_error(lambda m: [(m[1] & part, 1, 0.9), (m[1] & part, 1, 0.6)])
    cost, count = costs(truth, results)
    assert count["Loc"] == 2
    ap50 = measure("coco", truth, results)["segm"]["AP50"]
    assert cost["Loc"] == pytest.approx(100 - ap50)


def test_a_class_without_detections_is_missed():
    truth = build_truth([[(rectangle(0, 0, 5, 5), 1, False), (rectangle(6, 0, 9, 5), 2, False)]], 2)
    cost, count = costs(truth, build_results([[(rectangle(0, 0, 5, 5), 1, 0.9)]]))
    assert count["Miss"] == count["FN"] == 1
    assert cost["Miss"] == cost["FN"] == 50


def test_detections_in_crowds_are_no_errors():
    crowd = rectangle(0, 0, 10, 10)
    truth = build_truth([[(crowd, 1, True), (rectangle(0, 11, 5, 15), 1, False)]])
    found = [(rectangle(2, 2, 5, 5), 1, 0.9), (rectangle(0, 11, 5, 15), 1, 0.8)]
    cost, count = costs(truth, build_results([found]))
    assert set(count.values()) == {0}
    assert set(cost.values()) == {0}


@many
@given(SEEDS, st.booleans())
def test_every_false_positive_has_a_kind_and_every_instance_is_found_mendable_or_missed(
    seed, crowd
):
    truth, results = make_scene(seed, classes=3, crowd=crowd)
    images = errors.sort_errors(pair_images(truth, results, "mask"))
    for image in images:
        assert set(image.kind) <= {*errors.KINDS, "right", "ignored"} - {"Miss"}
        assert (image.kind == "right").sum() == image.found.sum()
        mendable = ~image.found & ~image.missed
        assert (image.mended_class >= 0).sum() == mendable.sum()
    rankings = errors.error_rankings(images)
    as_is = coco.coco_rankings(pair_images(truth, results, "mask"), truth.cats, np.array([0.5]))
    for category, ranking in rankings[""].items():
        theirs = as_is[category]
        assert ranking.positives.sum() == theirs.positives.sum()
        assert ranking.hit.sum() == theirs.hit[theirs.counted].sum()


# --- What can be asked for


def test_unknown_measures_are_named():
    with pytest.raises(MeasureError, match="'recall'; there are: coco, boundary"):
        check_measures(["coco", "recall"])


def test_boundary_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(coco, "has_faster_coco_eval", lambda: False)
    with pytest.raises(MeasureError, match="pip install faster-coco-eval"):
        check_measures(["boundary"])
