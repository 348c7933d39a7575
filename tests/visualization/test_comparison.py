"""What changes from one model to another: maps, pictures and windows."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rendered import seen

from semiconv_d2.visualization.comparison import (
    CLEANED,
    DIFFERENCE_COLOURS,
    GAINED,
    LOST,
    SPOILT,
    UNCHANGED,
    UNMATCHED,
    difference_map,
    draw_differences,
    window_of_changes,
)
from semiconv_d2.visualization.masks import instance_colours, overlap


def naive_differences(truth, a, b):
    """`difference_map`, pixel by pixel."""
    height, width = truth.shape[1:]
    result = np.zeros((height, width), dtype=int)
    owners = []
    for masks in (a, b):
        owner, taken = [], {}
        for number, mask in enumerate(masks):
            ious = [overlap(mask[None], t[None])[0, 0] for t in truth]
            best = int(np.argmax(ious)) if ious and max(ious) > 0 else None
            owner.append(best)
            if best is not None and ious[best] > taken.get(best, (-1, 0.0))[1]:
                taken[best] = (number, ious[best])
        owners.append([k if k in taken and taken[k][0] == n else None for n, k in enumerate(owner)])
    for i in range(height):
        for j in range(width):
            right, wrong = [0, 0], [False, False]
            for side, masks in enumerate((a, b)):
                for mask, owner in zip(masks, owners[side], strict=True):
                    if mask[i, j] and owner is not None and truth[owner][i, j]:
                        right[side] += 1
                    elif mask[i, j]:
                        wrong[side] = True
            if right[1] != right[0]:
                result[i, j] = GAINED if right[1] > right[0] else LOST
            elif wrong[0] != wrong[1]:
                result[i, j] = SPOILT if wrong[1] else CLEANED
    return result


@pytest.mark.parametrize("seed", range(5))
def test_differences_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    truth, a, b = (rng.random((n, 9, 8)) > 0.6 for n in (3, 4, 2 + seed % 3))
    changes = difference_map(truth, a, b)
    np.testing.assert_array_equal(changes, naive_differences(truth, a, b))
    assert set(np.unique(changes)) == {UNCHANGED, GAINED, LOST, CLEANED, SPOILT}


def test_differences_of_nothing():
    none, some = np.zeros((0, 4, 5), dtype=bool), np.ones((1, 4, 5), dtype=bool)
    assert (difference_map(none, none, none) == UNCHANGED).all()
    assert (difference_map(some, some, some) == UNCHANGED).all()
    assert (difference_map(some, none, some) == GAINED).all()
    assert (difference_map(some, some, none) == LOST).all()
    assert (difference_map(none, none, some) == SPOILT).all()
    assert (difference_map(none, some, none) == CLEANED).all()


def test_two_models_that_swap_the_same_pixels_are_told_apart():
    """Where a mask runs into the neighbour, its pixels are wrong although an instance is there."""
    truth = np.zeros((2, 6, 12), dtype=bool)
    truth[0, :, :6] = truth[1, :, 6:] = True
    merged = truth.copy()
    merged[0, :, 6:8], merged[1, :, 6:8] = True, False
    changes = difference_map(truth, truth, merged)
    assert (changes[:, 6:8] == LOST).all()
    assert (np.delete(changes, (6, 7), axis=1) == UNCHANGED).all()


@pytest.fixture
def differences():
    """Two squares; A has the left one and a false one, B has both, the right one too large."""
    image = np.full((60, 90, 3), 255, dtype=np.uint8)
    truth = np.zeros((2, 60, 90), dtype=bool)
    truth[0, 10:30, 10:30] = truth[1, 10:30, 50:70] = True
    false = np.zeros((60, 90), dtype=bool)
    false[40:55, 10:30] = True
    a = np.stack([false, truth[0]])
    b = truth[::-1].copy()
    b[0, 30:38, 50:70] = True
    b[1, 10:30, 10:14] = False
    figure = draw_differences(image, truth, a, b, ("first", "second"))
    FigureCanvasAgg(figure).draw()
    return figure


def test_an_instance_has_one_colour_in_all_panels(differences):
    truth, a, b, _ = differences.axes
    left, right = (0.15 + 0.85 * c for c in instance_colours(2))
    for ax in (truth, a, b):
        np.testing.assert_allclose(seen(differences, ax, 20, 20), left, atol=0.01)
    for ax in (truth, b):
        np.testing.assert_allclose(seen(differences, ax, 60, 20), right, atol=0.01)
    np.testing.assert_allclose(seen(differences, a, 60, 20), 1)
    grey = 0.15 + 0.85 * UNMATCHED
    np.testing.assert_allclose(seen(differences, a, 20, 50), grey, atol=0.01)


def test_gains_and_losses_have_the_colours_of_the_legend(differences):
    changes = differences.axes[3]
    for code, (x, y) in {
        GAINED: (60, 20),
        LOST: (12, 20),
        CLEANED: (20, 50),
        SPOILT: (60, 34),
    }.items():
        colour = DIFFERENCE_COLOURS[code]
        np.testing.assert_allclose(seen(differences, changes, x, y), colour, atol=0.01)
    np.testing.assert_allclose(seen(differences, changes, 20, 20), 1)

    [legend] = differences.legends
    pixels = np.asarray(differences.canvas.buffer_rgba())[..., :3] / 255
    named = {
        text.get_text(): pixels[len(pixels) - int(np.mean([box.y0, box.y1])) - 1,
                                int(np.mean([box.x0, box.x1]))]
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
        for box in [patch.get_window_extent()]
    }  # fmt: skip
    expected = {
        "right only in second: 400 px": DIFFERENCE_COLOURS[GAINED],
        "right only in first: 80 px": DIFFERENCE_COLOURS[LOST],
        "wrong only in first: 300 px": DIFFERENCE_COLOURS[CLEANED],
        "wrong only in second: 160 px": DIFFERENCE_COLOURS[SPOILT],
        "matches no instance": [UNMATCHED] * 3,
    }
    assert set(named) == set(expected)
    for name, colour in expected.items():
        np.testing.assert_allclose(named[name], colour, atol=0.01)


def test_instances_may_be_given_to_masks_by_more_than_their_overlap():
    """A mask of the right place and of the wrong class matches no instance."""
    image = np.full((20, 30, 3), 255, dtype=np.uint8)
    truth = np.zeros((1, 20, 30), dtype=bool)
    truth[0, 5:15, 5:25] = True
    owners = np.array([-1]), np.array([0])
    assert (difference_map(truth, truth, truth)[truth[0]] == UNCHANGED).all()
    assert (difference_map(truth, truth, truth, owners)[truth[0]] == GAINED).all()
    figure = draw_differences(image, truth, truth, truth, owners=owners)
    FigureCanvasAgg(figure).draw()
    _, a, b, changes = figure.axes
    np.testing.assert_allclose(seen(figure, a, 15, 10), 0.15 + 0.85 * UNMATCHED, atol=0.01)
    right = 0.15 + 0.85 * instance_colours(1)[0]
    np.testing.assert_allclose(seen(figure, b, 15, 10), right, atol=0.01)
    np.testing.assert_allclose(seen(figure, changes, 15, 10), DIFFERENCE_COLOURS[GAINED], atol=0.01)


def test_dollar_signs_are_no_formulas():
    image, none = np.zeros((30, 40, 3), np.uint8), np.zeros((0, 30, 40), bool)
    figure = draw_differences(image, none, none, none, ("cost $x_{$", "$\\foo$"))
    FigureCanvasAgg(figure).draw()
    assert figure.axes[1].get_title().replace("\\$", "$") == "cost $x_{$"


def test_a_window_alone_is_shown_and_counted():
    image = np.full((60, 90, 3), 255, dtype=np.uint8)
    truth = np.zeros((2, 60, 90), dtype=bool)
    truth[0, 10:30, 10:30] = truth[1, 10:30, 50:70] = True
    window = slice(5, 35), slice(45, 90)
    figure = draw_differences(image, truth, truth[:0], truth, ("A", "B"), window)
    FigureCanvasAgg(figure).draw()
    for ax in figure.axes:
        assert ax.get_xlim() == (44.5, 89.5)
        assert ax.get_ylim() == (34.5, 4.5)
    np.testing.assert_allclose(
        seen(figure, figure.axes[3], 60, 20), DIFFERENCE_COLOURS[GAINED], atol=0.01
    )
    right = 0.15 + 0.85 * instance_colours(2)[1]
    np.testing.assert_allclose(seen(figure, figure.axes[0], 60, 20), right, atol=0.01)
    [legend] = figure.legends
    assert "right only in B: 400 px" in [t.get_text() for t in legend.get_texts()]


def test_the_window_of_changes_holds_what_changes_and_has_the_shape_of_the_image():
    truth = np.zeros((3, 100, 200), dtype=bool)
    truth[0, 10:20, 20:40] = truth[1, 40:50, 60:70] = truth[2, 80:90, 150:190] = True
    rows, columns = window_of_changes(truth, np.array([0.4, -0.3, 0.05]))  # the third hardly
    assert (rows, columns) == (slice(4, 56), slice(0, 104))  # 1.3 times 40 of 100 pixels
    rows, columns = window_of_changes(truth, np.array([0.01, 0.0, -0.02]))  # none: the largest
    assert columns == slice(144, 196)
    assert rows.stop - rows.start == 26
    whole = slice(0, 100), slice(0, 200)
    assert window_of_changes(truth[:0], np.zeros(0)) == whole
    assert window_of_changes(np.ones((1, 100, 200), dtype=bool), np.ones(1)) == whole


@pytest.mark.parametrize("size", [(60, 20), (20, 150), (300, 40)])
def test_texts_keep_clear_of_each_other(size):
    image, none = np.zeros((*size, 3), np.uint8), np.zeros((0, *size), bool)
    names = ("a model with quite a long name indeed", "Mask R-CNN, fine-tuned, semi-convolutional")
    figure = draw_differences(image, none, none, none, names)
    FigureCanvasAgg(figure).draw()
    titles = [ax.title.get_window_extent() for ax in figure.axes]
    width, height = figure.canvas.get_width_height()
    for left, right in (titles[:2], titles[2:]):
        assert left.x0 >= 0
        assert left.x1 < right.x0
        assert right.x1 <= width
    assert max(t.y1 for t in titles) <= height
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= width
    assert legend.y0 >= 0
    assert legend.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)
