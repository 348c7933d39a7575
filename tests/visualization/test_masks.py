import numpy as np
import pytest
from matplotlib.figure import Figure

from semiconv_d2.visualization.masks import (
    PALETTE,
    instance_colours,
    match_best,
    outline,
    overlap,
    paint_masks,
    window_of,
)


def boxes(*corners, size=(20, 30)):
    masks = np.zeros((len(corners), *size), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_colours_are_where_the_masks_are():
    image = np.full((20, 30, 3), 255, dtype=np.uint8)
    masks = boxes((2, 2, 10, 10), (8, 8, 16, 16))
    colours = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    painted = paint_masks(image, masks, colours, opacity=0.5)
    assert np.allclose(painted[0, 0], 1)
    assert np.allclose(painted[3, 3], [1, 0.5, 0.5])
    assert np.allclose(painted[15, 15], [0.5, 0.5, 1])
    assert np.allclose(painted[9, 9], [0.75, 0.5, 0.75])  # both: the mean of their colours


def test_painting_nothing_leaves_the_image():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    painted = paint_masks(image, np.zeros((0, 20, 30), dtype=bool), np.zeros((0, 3)))
    assert np.allclose(painted, image / 255)


def test_masks_match_by_overlap():
    reference = boxes((0, 0, 10, 10), (10, 0, 20, 10))
    found = boxes((11, 0, 20, 10), (0, 0, 9, 10), (0, 15, 5, 20))
    assert match_best(found, reference).tolist() == [1, 0, -1]
    assert match_best(found, reference[:0]).tolist() == [-1, -1, -1]
    assert match_best(found[:0], reference).tolist() == []


def test_colours_of_many_instances_differ():
    colours = instance_colours(3 * len(PALETTE))
    assert len({tuple(c) for c in colours.round(6)}) == 3 * len(PALETTE)
    assert colours.min() >= 0
    assert colours.max() <= 1


def test_an_instance_is_given_to_the_mask_that_fits_best():
    reference = boxes((0, 0, 10, 10), (10, 0, 20, 10))
    found = boxes((0, 0, 4, 10), (0, 0, 9, 10), (0, 0, 9, 10), (0, 15, 5, 20), (12, 0, 20, 10))
    assert match_best(found, reference).tolist() == [-1, 0, -1, -1, 1]  # of equals the first
    assert match_best(found[:0], reference).tolist() == []
    assert match_best(found, reference[:0]).tolist() == [-1] * 5


def test_overlap_is_the_iou_of_each_pair():
    rng = np.random.default_rng(0)
    masks, reference = rng.random((4, 17, 23)) < 0.4, rng.random((3, 17, 23)) < 0.6
    masks[2] = False
    iou = overlap(masks, reference)
    for (i, j), value in np.ndenumerate(iou):
        union = (masks[i] | reference[j]).sum()
        assert value == pytest.approx((masks[i] & reference[j]).sum() / union)
    assert overlap(masks, reference[:0]).shape == (4, 0)
    assert overlap(masks[:0], reference).shape == (0, 3)
    assert overlap(masks[2:3], masks[2:3]).tolist() == [[0.0]]  # of nothing with nothing


def test_a_window_holds_its_mask_and_no_more():
    mask = boxes((4, 3, 9, 12))[0]
    mask[5, 5] = False
    assert window_of(mask) == (slice(3, 12), slice(4, 9))
    assert mask[window_of(np.zeros_like(mask))].size == 0


@pytest.mark.parametrize("corners", [(4, 3, 9, 12), (0, 0, 30, 20)])
def test_an_outline_runs_along_the_border(corners):
    x0, y0, x1, y1 = corners
    ax = Figure().subplots()
    outline(ax, boxes(corners)[0], [("black", 3.0), ((1.0, 0, 0), 1.0)])
    below, above = ax.collections
    assert below.get_linewidths() == [3.0]
    assert above.get_edgecolor()[0].tolist() == [1, 0, 0, 1]
    points = above.get_paths()[0].vertices
    assert points.min(axis=0).tolist() == [x0, y0]
    assert points.max(axis=0).tolist() == [x1, y1]
    at_a_side = np.isin(points[:, 0], (x0, x1)) | np.isin(points[:, 1], (y0, y1))
    assert at_a_side.all()


def test_nothing_has_no_outline():
    ax = Figure().subplots()
    outline(ax, np.zeros((20, 30), dtype=bool), [("black", 1.0)])
    assert not ax.collections


def test_overlap_against_loops():
    masks = np.random.default_rng(0).random((3, 6, 7)) > 0.5
    other = np.random.default_rng(1).random((2, 6, 7)) > 0.5
    found = overlap(masks, other)
    for i, a in enumerate(masks):
        for j, b in enumerate(other):
            assert found[i, j] == pytest.approx((a & b).sum() / (a | b).sum())
    assert overlap(masks[:0], other).shape == (0, 2)
    assert overlap(masks, other[:0]).shape == (3, 0)
