import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from semiconv_d2.evaluation.matching import match_as_voc, match_greedily, match_one_to_one


def greedily(iou, thresholds=(0.5,), ignored=None, crowd=None):
    none = np.zeros(np.shape(iou)[1], dtype=bool)
    crowd = none if crowd is None else np.array(crowd)
    ignored = crowd if ignored is None else np.array(ignored)
    taken = match_greedily(np.array(iou, dtype=float), np.array(thresholds), ignored, crowd)
    return taken.tolist()


def test_the_best_detection_chooses_first():
    assert greedily([[0.6, 0.7], [0.6, 0.9]]) == [[1, 0]]
    assert greedily([[0.6, 0.7], [0.4, 0.9]]) == [[1, -1]]
    assert greedily([[0.6, 0.7], [0.4, 0.9]], (0.5, 0.65, 0.8)) == [[1, -1], [1, -1], [-1, 1]]


def test_an_overlap_of_exactly_the_threshold_is_enough():
    assert greedily([[0.5]]) == [[0]]
    assert greedily([[1.0]], (1.0,)) == [[0]]


def test_an_ignored_instance_is_the_last_choice():
    assert greedily([[0.9, 0.6]], ignored=[True, False]) == [[1]]
    assert greedily([[0.9, 0.4]], ignored=[True, False]) == [[0]]
    assert greedily([[0.9], [0.9]], ignored=[True]) == [[0, -1]]
    assert greedily([[0.9], [0.9]], crowd=[True]) == [[0, 0]]


def test_nothing_to_match():
    assert greedily(np.zeros((2, 0))) == [[-1, -1]]
    assert greedily(np.zeros((0, 2))) == [[]]


@given(st.integers(0, 2**32 - 1), st.integers(0, 7), st.integers(0, 7))
def test_one_to_one_is_the_largest_matching_of_every_prefix(seed, detections, instances):
    allowed = np.random.default_rng(seed).random((detections, instances)) < 0.4
    larger = match_one_to_one(allowed)
    for number in range(detections + 1):
        rows, columns = linear_sum_assignment(allowed[:number], maximize=True)
        assert larger[:number].sum() == allowed[:number][rows, columns].sum()


def test_one_to_one_makes_room_for_a_detection_with_a_single_choice():
    # The first could take either; the second only the one that the first would take.
    assert match_one_to_one(np.array([[True, True], [True, False]])).tolist() == [True, True]


def test_voc_counts_the_first_detection_of_an_instance():
    # The second overlaps the same one most: a false positive, though another would do.
    iou = np.array([[0.8, 0.0], [0.7, 0.6], [0.1, 0.5]])
    assert match_as_voc(iou, np.array([0.5, 0.75])).tolist() == [
        [True, False, True],
        [True, False, False],
    ]
    assert match_as_voc(np.zeros((2, 0)), np.array([0.5])).tolist() == [[False, False]]


def test_voc_lets_a_better_one_count_where_the_first_is_not_good_enough():
    iou = np.array([[0.4], [0.9]])
    assert match_as_voc(iou, np.array([0.5])).tolist() == [[False, True]]
