"""Length and width of masks, against drawn curves whose length is known."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from semiconv_d2.data.lengths import measure_extent

T = np.linspace(0, 1, 4000)
CURVES = {
    "along the rows": (60.5 + 100 * T, 80 + 0 * T),
    "diagonal": (60.3 + 80 * T, 60.7 + 80 * T),
    "30 degrees": (60.3 + 87 * T, 60.7 + 50 * T),
    "arc": (120 + 50 * np.cos(3 * T), 120 + 50 * np.sin(3 * T)),
    "S": (60 + 120 * T, 120 + 25 * np.sin(2 * np.pi * T)),
}


def draw(x: np.ndarray, y: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """A stroke with round ends along a curve, (240, 240) bool, and its length in pixels."""
    line = np.stack([x, y], axis=1)
    centres = np.stack(np.meshgrid(np.arange(240), np.arange(240)), axis=-1) + 0.5
    distances, _ = cKDTree(line).query(centres)
    return distances <= width / 2, np.hypot(*np.diff(line, axis=0).T).sum() + width


@pytest.mark.parametrize("width", [3, 5, 8, 12])
@pytest.mark.parametrize("curve", CURVES)
def test_strokes_have_their_length_and_width(curve, width):
    mask, length = draw(*CURVES[curve], width)
    found = measure_extent(mask)
    assert found.length == pytest.approx(length, rel=0.015)
    assert found.width == pytest.approx(mask.sum() / length, rel=0.015)


def test_a_tight_bend_of_a_thick_stroke_is_less_exact():
    mask, length = draw(120 + 15 * np.cos(4 * T), 120 + 15 * np.sin(4 * T), 10)
    assert measure_extent(mask).length == pytest.approx(length, rel=0.05)


def test_a_stroke_that_is_turned_has_the_same_length():
    mask, length = draw(*CURVES["S"], 6)
    for turned in (mask.T, mask[::-1], np.rot90(mask)):
        assert measure_extent(turned).length == pytest.approx(length, rel=0.015)


@pytest.mark.parametrize(
    ("mask", "length"),
    [
        (np.ones((1, 1)), 1),
        (np.ones((1, 9)), 9),
        (np.ones((40, 5)), 40),
        (np.hypot(*(np.mgrid[:50, :50] - 25)) < 20, 40),
    ],
)
def test_simple_masks(mask, length):
    found = measure_extent(mask.astype(bool))
    assert found.length == pytest.approx(length, rel=0.03)
    assert found.width == pytest.approx(mask.sum() / length, rel=0.03)


def test_the_largest_piece_is_measured_and_the_border_of_the_image_does_not_matter():
    mask = np.zeros((20, 30), bool)
    mask[0:3, 0:12] = mask[10:12, 5:8] = True
    length, width = measure_extent(mask)
    assert length == pytest.approx(12, abs=0.2)
    assert width == pytest.approx(3, abs=0.1)
    assert measure_extent(np.zeros((4, 4), bool)) == (0, 0)


def test_a_hole_does_not_shorten_a_mask():
    mask = np.zeros((20, 60), bool)
    mask[5:15, 5:55] = True
    whole = measure_extent(mask).length
    mask[9:11, 25:35] = False
    assert measure_extent(mask).length == pytest.approx(whole, rel=0.1)
