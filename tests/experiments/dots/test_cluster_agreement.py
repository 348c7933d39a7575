import sys
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.dots.agreement import adjusted_rand_index, match_clusters, matched_accuracy


def labels(most):
    return st.lists(st.tuples(st.integers(0, most), st.integers(0, most)), min_size=2, max_size=25)


def naive_accuracy(truth, clusters):
    """The best of all ways to give each cluster an instance of its own, or none."""
    names, column = np.unique(clusters, return_inverse=True)
    instances = [*np.unique(truth), *[-1] * len(names)]
    ways = permutations(instances, len(names))
    return max(np.mean(np.array(way)[column] == truth) for way in ways)


def naive_rand_index(truth, clusters):
    """From its definition: pairs together in both, less what chance gives, over the most."""
    both = sum(
        truth[i] == truth[j] and clusters[i] == clusters[j]
        for i, j in combinations(range(len(truth)), 2)
    )
    a, b = (sum(comb(n, 2) for n in np.unique(x, return_counts=True)[1]) for x in (truth, clusters))
    chance = a * b / comb(len(truth), 2)
    most = (a + b) / 2
    return 1.0 if most == chance else (both - chance) / (most - chance)


@settings(deadline=None)  # the first call imports SciPy
@given(labels(2))
def test_accuracy_is_that_of_the_best_assignment(pairs):
    truth, clusters = np.array(pairs).T
    assert matched_accuracy(truth, clusters) == pytest.approx(naive_accuracy(truth, clusters))


@settings(deadline=None)
@given(labels(5))
def test_rand_index_is_that_of_its_definition(pairs):
    truth, clusters = np.array(pairs).T
    assert adjusted_rand_index(truth, clusters) == pytest.approx(naive_rand_index(truth, clusters))


def test_the_names_of_clusters_do_not_matter():
    truth = np.array([0, 0, 1, 1, 2, 2])
    clusters = np.array([7, 7, 3, 3, 0, 0])
    assert match_clusters(truth, clusters).tolist() == truth.tolist()
    assert matched_accuracy(truth, clusters) == adjusted_rand_index(truth, clusters) == 1


def test_a_cluster_that_is_left_over_stands_for_nothing():
    truth = np.array([0, 0, 0, 1])
    assert match_clusters(truth, np.array([5, 5, 6, 4])).tolist() == [0, 0, -1, 1]
    assert matched_accuracy(truth, np.zeros(4, dtype=int)) == 0.75


def test_pixels_of_no_cluster_are_wrong():
    truth = np.array([0, 0, 0, 1, 1])
    clusters = np.array([-1, -1, 2, 3, 3])
    assert match_clusters(truth, clusters).tolist() == [-1, -1, 0, 1, 1]
    assert matched_accuracy(truth, clusters) == 0.6
    assert matched_accuracy(truth, np.full(5, -1)) == 0


def test_many_instances_are_matched():
    truth = np.random.default_rng(0).integers(0, 400, 5000)
    clusters = np.random.default_rng(1).permutation(400)[truth]
    np.testing.assert_array_equal(match_clusters(truth, clusters), truth)


@pytest.mark.parametrize(
    ("measure", "module", "needs"),
    [
        (matched_accuracy, "scipy.optimize", "needs SciPy: pip install scipy"),
        (adjusted_rand_index, "sklearn.metrics", "needs scikit-learn: pip install scikit-learn"),
    ],
)
def test_what_is_missing_is_said(monkeypatch, measure, module, needs):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=needs):
        measure(np.zeros(2, dtype=int), np.zeros(2, dtype=int))
