from __future__ import annotations

import numpy as np
import pytest

from semiconv_d2.data.formats.shapes import (
    Shape,
    crop_mask,
    ellipse_mask,
    paint_shapes,
    polygon_mask,
)


def test_polygons_cover_their_inside():
    square = np.array([[2, 1], [7, 1], [7, 5], [2, 5.0]])
    mask = polygon_mask(square, (8, 9))
    assert mask.sum() == 20
    assert mask[1:5, 2:7].all()
    outside = polygon_mask(square - 4, (8, 9))
    np.testing.assert_array_equal(np.argwhere(outside), [[0, 0], [0, 1], [0, 2]])
    assert not polygon_mask(square + 20, (8, 9)).any()


def test_ellipses_cover_their_inside():
    mask = ellipse_mask((10, 8), (6, 3), 0, (20, 24))
    assert mask.sum() == pytest.approx(np.pi * 18, abs=3)
    assert mask[8, 4]
    assert not mask[4, 10]
    turned = ellipse_mask((10, 8), (6, 3), 90, (20, 24))
    assert turned[13, 9]
    assert not turned[8, 4]
    slanted = ellipse_mask((10, 10), (8, 2), 45, (20, 20))
    assert slanted[14, 14]  # down to the right
    assert not slanted[5, 14]
    assert not ellipse_mask((10, 10), (0, 2), 0, (20, 20)).any()


def test_crops_are_cut_off_at_the_borders():
    crop = np.array([[True, False], [True, True]])
    assert np.argwhere(crop_mask(crop, 2, 1, (3, 4))).tolist() == [[1, 2], [2, 2], [2, 3]]
    assert np.argwhere(crop_mask(crop, -1, 1, (3, 4))).tolist() == [[2, 0]]
    assert np.argwhere(crop_mask(crop, 3, 2, (3, 4))).tolist() == [[2, 3]]


def test_shapes_of_a_group_are_one_instance():
    def dot(category: int, group: object, column: int) -> Shape:
        return Shape(
            category, group, lambda size: crop_mask(np.ones((1, 1), bool), column, 0, size)
        )

    shapes = [dot(1, None, 0), dot(2, 7, 1), dot(1, None, 2), dot(2, 7, 3), dot(1, 7, 4)]
    instances, problems = paint_shapes(shapes, (1, 6))
    painted = [(np.flatnonzero(mask).tolist(), kind) for mask, kind in instances]
    assert problems == []
    assert painted == [([0], 1), ([1, 3], 2), ([2], 1), ([4], 1)]
