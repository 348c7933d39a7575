from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semiconv_d2.data.geometry import (
    CONTACT,
    ELONGATION,
    bounding_window,
    contact,
    elongation,
    inscribed_radius,
)


def boxes(size: tuple[int, int], *corners: tuple[int, int, int, int]) -> np.ndarray:
    """Masks of rectangles: first and last row, first and last column, the last ones exclusive."""
    masks = np.zeros((len(corners), *size), dtype=bool)
    for mask, (top, bottom, left, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_no_masks_and_one_alone():
    assert contact([]).shape == (0,)
    assert contact(boxes((9, 9), (2, 6, 2, 6))).tolist() == [0]


@pytest.mark.parametrize(("gap", "touching"), [(0, 6), (1, 4), (2, 0)])
def test_two_squares_side_by_side(gap, touching):
    """Of the 12 pixels around a square of 4, its last two columns lie within reach of one beside:
    4 in the last and 2 in the last but one."""
    masks = boxes((10, 20), (3, 7, 2, 6), (3, 7, 6 + gap, 10 + gap))
    assert contact(masks).tolist() == [touching / 12] * 2


def test_reach_goes_diagonally_and_can_be_chosen():
    masks = boxes(
        (10, 10), (1, 3, 1, 3), (4, 6, 4, 6)
    )  # two rows and columns from corner to corner
    assert contact(masks).tolist() == [0.25, 0.25]
    assert contact(masks, reach=1).tolist() == [0, 0]
    assert contact(masks, reach=3).tolist() == [1, 1]


def test_what_lies_inside_of_another_is_in_contact_all_around():
    inner, outer = contact(boxes((20, 20), (8, 12, 8, 12), (0, 20, 0, 20)))
    assert inner == 1
    assert outer == 0  # its outline is the border of the image


def test_equal_masks_and_empty_ones():
    masks = boxes((9, 9), (2, 6, 2, 6), (2, 6, 2, 6), (0, 0, 0, 0))
    assert contact(masks).tolist() == [1, 1, 0]


def test_the_border_of_the_image_is_outline():
    masks = boxes((4, 8), (0, 4, 0, 4), (0, 4, 5, 8))
    # All but the four pixels inside are outline; columns 3 and, since a gap of one is within reach,
    # no other: column 5 minus 2.
    assert contact(masks)[0] == 4 / 12


def slow_contact(masks: np.ndarray, reach: int) -> list[float]:
    """The definition, pixel by pixel."""
    number, height, width = masks.shape
    shares = []
    for index in range(number):
        outline = touching = 0
        for i in range(height):
            for j in range(width):
                if not masks[index, i, j]:
                    continue
                beside = ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
                if all(
                    0 <= y < height and 0 <= x < width and masks[index, y, x] for y, x in beside
                ):
                    continue
                outline += 1
                touching += any(
                    masks[other, y, x]
                    for other in range(number)
                    if other != index
                    for y in range(max(0, i - reach), min(height, i + reach + 1))
                    for x in range(max(0, j - reach), min(width, j + reach + 1))
                )
        shares.append(touching / outline if outline else 0.0)
    return shares


masks_of_an_image = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(bool, shape)
)


@settings(deadline=None)
@given(masks_of_an_image, st.integers(1, 3))
def test_contact_is_what_it_is_defined_as(masks, reach):
    np.testing.assert_allclose(contact(masks, reach), slow_contact(masks, reach))


def slow_radius(mask: np.ndarray) -> float:
    """The largest distance from a centre, side or corner of a pixel to the nearest square outside,
    whose sides are one pixel."""
    outside = np.argwhere(~np.pad(mask, 1)) + 0.5
    points = np.argwhere(np.ones(2 * np.array(mask.shape) + 1)) / 2 + 1
    away = np.maximum(np.abs(points[:, None] - outside) - 0.5, 0)
    return np.hypot(away[..., 0], away[..., 1]).min(axis=1).max()


@settings(deadline=None)
@given(masks_of_an_image.map(lambda masks: masks[0]).filter(np.any))
def test_radius_and_elongation_are_what_they_are_defined_as(mask):
    radius = slow_radius(mask)
    assert inscribed_radius(mask) == pytest.approx(radius)
    assert elongation(mask) == pytest.approx(mask.sum() / (np.pi * radius**2))


@pytest.mark.parametrize(
    ("box", "radius"),
    [
        ((4, 5, 4, 5), 0.5),  # one pixel
        ((4, 5, 0, 20), 0.5),  # a line
        ((4, 6, 0, 20), 1),
        ((4, 7, 0, 20), 1.5),
        ((0, 20, 0, 20), 10),  # all of the image: its border is one of the mask
    ],
)
def test_radius_by_hand(box, radius):
    [mask] = boxes((20, 20), box)
    assert inscribed_radius(mask) == radius


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 40))
def test_half_the_width_of_a_rectangle_is_its_radius(width, length):
    mask = np.ones((width, max(width, length)), dtype=bool)
    assert inscribed_radius(mask) == inscribed_radius(mask.T) == width / 2


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        *[((side, side), 4 / np.pi) for side in (1, 2, 4, 5, 6)],
        ((2, 40), 80 / np.pi),
        ((3, 60), 80 / np.pi),
    ],
)
def test_elongation_does_not_depend_on_even_and_odd_widths(sides, expected):
    assert elongation(np.ones(sides, dtype=bool)) == pytest.approx(expected)


def test_the_upper_ends_of_bins_belong_to_them():
    assert CONTACT.of(np.array([0, 0.01, 0.1, 0.3, 0.31, 1])).tolist() == [0, 1, 1, 2, 3, 3]
    assert ELONGATION.of(np.array([1, 2, 2.1, 4, 8, 8.1])).tolist() == [0, 0, 1, 1, 2, 3]
    for bins in (CONTACT, ELONGATION):
        assert len(bins.labels) == len(bins.upper) + 1


def test_elongation_by_hand():
    y, x = np.ogrid[:101, :101]
    disc = (y - 50) ** 2 + (x - 50) ** 2 <= 40**2
    assert elongation(disc) == pytest.approx(1, abs=0.03)
    assert elongation(disc, radius=40) == disc.sum() / (np.pi * 40**2)
    [square, bar] = boxes((101, 101), (10, 71, 10, 71), (10, 15, 0, 100))
    assert elongation(square) == pytest.approx(61**2 / (np.pi * 30.5**2))
    assert elongation(bar) == pytest.approx(100 * 5 / (np.pi * 2.5**2))


def test_a_window_is_cut_off_at_the_first_row_and_column():
    [mask] = boxes((10, 10), (1, 4, 5, 9))
    assert bounding_window(mask) == (slice(1, 4), slice(5, 9))
    assert bounding_window(mask, margin=2) == (slice(0, 6), slice(3, 11))


@pytest.mark.parametrize("width", [65, 66, 80, 81])
def test_large_radii_are_right_to_a_quarter_of_a_pixel(width):
    mask = np.ones((width, 100), dtype=bool)
    assert abs(inscribed_radius(mask) - width / 2) <= 0.25
