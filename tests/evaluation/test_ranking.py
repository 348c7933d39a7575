"""Areas under precision-recall curves against plain loops and cases done by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semiconv_d2.evaluation.ranking import (
    Ranking,
    average_precision,
    coco_area,
    mean_average_precision,
    mean_known,
    precision_at_recalls,
    rank,
    voc_area,
)


def naive_curve(hits, positives):
    found = 0
    for seen, hit in enumerate(hits, start=1):
        found += hit
        yield found / positives, found / seen


def naive_coco(hits, positives):
    """At each of 101 recalls the best precision of any point that reaches it."""
    points = list(naive_curve(hits, positives))
    return sum(
        max((p for r, p in points if r >= recall), default=0.0)
        for recall in np.linspace(0, 1, 101)
    ) / 101  # fmt: skip


def naive_voc(hits, positives):
    """For each instance found, a slice of width 1 / positives under the best precision to come."""
    points = list(naive_curve(hits, positives))
    return sum(
        max(p for _, p in points[i:]) / positives for i, hit in enumerate(hits) if hit
    )  # fmt: skip


def make_ranking(hits, positives, image=None, counted=None):
    hits = np.array([hits], dtype=bool)
    counted = np.ones_like(hits) if counted is None else np.array([counted], dtype=bool)
    image = np.zeros(hits.shape[1], dtype=int) if image is None else np.array(image)
    return Ranking(hits, counted, image, np.atleast_1d(positives))


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 5))
def test_areas_against_loops(hits, missed):
    positives = sum(hits) + missed
    ranking = make_ranking(hits, positives)
    for area, naive in ((coco_area, naive_coco), (voc_area, naive_voc)):
        [value] = average_precision(ranking, area=area)
        if positives == 0:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(naive(hits, positives), abs=1e-12)


def test_by_hand():
    # Right, wrong, right of three instances: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3.
    ranking = make_ranking([1, 0, 1], 3)
    assert average_precision(ranking, area=voc_area) == pytest.approx((1 + 2 / 3) / 3)
    # Recalls 0 to 0.33 are 34 of the 101, 0.34 to 0.66 are 33.
    assert average_precision(ranking) == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 5))
def test_the_area_is_the_mean_of_the_curve(hits, missed):
    ranking = make_ranking(hits, sum(hits) + missed)
    [curve] = precision_at_recalls(ranking)
    assert curve.shape == (101,)
    if sum(hits) + missed:
        assert curve.mean() == pytest.approx(average_precision(ranking)[0], abs=1e-12)
        assert (np.diff(curve) <= 0).all()
    else:
        assert np.isnan(curve).all()


def test_the_curve_leaves_out_what_is_not_counted():
    counted = make_ranking([1, 0, 1, 0], 3, counted=[1, 0, 1, 0])
    curves = precision_at_recalls(counted), precision_at_recalls(make_ranking([1, 1], 3))
    assert np.array_equal(*curves)
    assert curves[0][0, [0, 66, 67]].tolist() == [1, 1, 0]


def test_what_is_not_counted_does_not_matter():
    counted = make_ranking([1, 0, 1, 0], 3, counted=[1, 0, 1, 0])
    assert average_precision(counted) == average_precision(make_ranking([1, 1], 3))


def test_weights_are_copies_of_images():
    ranking = make_ranking([1, 0, 1, 1, 0], [2, 3], image=[0, 1, 1, 0, 0])
    # Copies of a detection share a score and stand side by side; those of one image are drawn as
    # a whole, and the curve is looked at after all of them.
    copied = make_ranking([1, 1, 0, 1, 1, 1, 0, 0], [2, 2, 3], image=[0, 1, 2, 2, 0, 1, 0, 1])
    weights = np.array([[2.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    twice, once, never = average_precision(ranking, weights, voc_area)[:, 0]
    assert once == average_precision(ranking, area=voc_area)
    assert twice == pytest.approx(average_precision(copied, area=voc_area)[0], abs=0.02)
    assert math.isnan(never)


def test_many_weights_at_once_are_those_one_by_one():
    rng = np.random.default_rng(0)
    ranking = Ranking(
        rng.random((3, 20)) < 0.5,
        rng.random((3, 20)) < 0.9,
        rng.integers(4, size=20),
        np.array([9, 8, 7, 9]),
    )
    weights = rng.integers(0, 3, size=(6, 4)).astype(float)
    for area in (coco_area, voc_area):
        at_once = average_precision(ranking, weights, area)
        assert at_once.shape == (6, 3)
        for row, one in zip(weights, at_once, strict=True):
            assert np.allclose(average_precision(ranking, row, area), one, equal_nan=True)


def test_equal_scores_keep_their_order():
    scores = np.array([0.5, 0.9, 0.5, 0.9])
    hit = np.array([[False, True, True, False]])
    ranking = rank(scores, hit, np.ones_like(hit), np.arange(4), np.ones(4))
    assert ranking.image.tolist() == [1, 3, 0, 2]
    assert ranking.hit.tolist() == [[True, False, False, True]]


def test_classes_without_instances_are_left_out_of_the_mean():
    rankings = {1: make_ranking([1], 1), 2: make_ranking([0], 1), 3: make_ranking([0], 0)}
    assert mean_average_precision(rankings) == [0.5]
    assert np.isnan(mean_average_precision({3: rankings[3]})).all()


def test_mean_known():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    assert np.array_equal(mean_known(values), [2, 5, np.nan], equal_nan=True)
