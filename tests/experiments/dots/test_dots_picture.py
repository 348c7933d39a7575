"""The picture of the experiment with dots: colours of instances, and what is drawn where."""

import numpy as np
import pytest
from PIL import Image

from experiments.dots import picture as dots
from experiments.dots.picture import (
    BEHIND,
    FLOOR,
    NOTHING,
    Curve,
    Panel,
    draw_experiment,
    paint_labels,
)
from semiconv_d2.visualization.masks import PALETTE, instance_colours

TRUTH = np.full((20, 20), -1)
TRUTH[2:8, 2:18] = 0
TRUTH[12:18, 2:18] = 1


def test_a_pixel_has_the_colour_of_what_it_is_said_to_be_of():
    labels = np.where(TRUTH >= 0, 1, -1)
    labels[2, 2] = -1
    labels[3, 3] = 7  # of an instance that is not in the window
    painted = paint_labels(labels, TRUTH)
    np.testing.assert_array_equal(painted[0, 0], [BEHIND] * 3)
    np.testing.assert_array_equal(painted[2, 2], [NOTHING] * 3)
    np.testing.assert_array_equal(painted[3, 3], instance_colours(8)[7])
    for row in (5, 15):
        np.testing.assert_array_equal(painted[row, 10], instance_colours(2)[1])


def curve(name, *values, spread=0.0, dashed=False):
    return Curve(name, dashed, np.arange(1, 4), np.array(values), np.full(3, spread))


PLOTS = {
    "one": [curve("a", 0.9, 0.8, 0.9, spread=0.05), curve("b", 0.4, 0.2, 0.1, dashed=True)],
    "two": [curve("b", 0.4, 0.2, 0.15, spread=0.1)],
}
BORDER = [curve("b", 1.0, 0.1, 0.0, dashed=True), curve("c", 0.5, 0.2, 0.01)]


def draw(path):
    image = np.where(TRUTH >= 0, 255, 0).astype(np.uint8)
    swapped = np.where(TRUTH >= 0, 1 - TRUTH, -1)
    panels = [
        Panel("first", image, {"truth": TRUTH, "right": TRUTH}),
        Panel("second", image, {"truth": TRUTH, "wrong": swapped}),
    ]
    draw_experiment(path, panels, PLOTS, BORDER, 2, "dashes")


@pytest.fixture
def picture(tmp_path):
    draw(tmp_path / "picture.png")
    return np.asarray(Image.open(tmp_path / "picture.png"))[..., :3] / 255


def share(part: np.ndarray, colour: np.ndarray) -> float:
    return (np.abs(part - colour).max(axis=2) < 0.05).mean()


def test_rows_and_columns_are_where_they_belong(picture):
    height, width = picture.shape[:2]
    cells = [
        [picture[r * 200 : r * 200 + 200, c * width // 3 : (c + 1) * width // 3] for c in range(3)]
        for r in range(2)
    ]
    first, second = instance_colours(2)
    for row, column in np.ndindex(2, 3):
        top, bottom = np.split(cells[row][column], 2)
        if column == 0:
            assert share(top, np.zeros(3)) > 0.2
            assert share(top, first) == 0
        else:
            above, under = (second, first) if (row, column) == (1, 2) else (first, second)
            assert share(top, above) > 0.1 > share(top, under)
            assert share(bottom, under) > 0.1 > share(bottom, above)
    plots = np.split(picture[height - 360 :, : width // 3 * 3], 3, axis=1)
    lines = [[share(plot, colour) > 1e-3 for colour in PALETTE[:2]] for plot in plots]
    assert lines == [[True, True], [False, True], [False, True]]


def test_curves_lie_at_their_means_in_the_colours_of_the_legend(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(dots, "save", lambda figure, *_, **__: figures.append(figure))
    draw(tmp_path / "picture.png")
    [figure] = figures
    below = figure.subfigs[1]
    [legend] = below.legends
    entries = dict(
        zip([t.get_text() for t in legend.get_texts()], legend.legend_handles, strict=True)
    )
    assert list(entries) == ["a", "b", "c", "dashes"]
    assert entries["dashes"].get_linestyle() == "--"
    border = [c._replace(mean=np.maximum(c.mean, FLOOR)) for c in BORDER]  # 0 has no logarithm
    looks = {}
    for ax, curves in zip(below.axes, (*PLOTS.values(), border), strict=True):
        for drawn, expected in zip(ax.containers, curves, strict=True):
            line, _, (spread,) = drawn.lines
            np.testing.assert_allclose(line.get_xydata().T, [expected.x, expected.mean])
            ends = [[(x, m - s), (x, m + s)] for x, m, s in zip(*expected[2:], strict=True)]
            np.testing.assert_allclose(spread.get_segments(), ends)
            assert line.get_linestyle() == ("--" if expected.dashed else "-")
            look = *line.get_color(), line.get_marker()
            assert looks.setdefault(expected.name, look) == look
    assert [ax.get_title() for ax in below.axes[:2]] == list(PLOTS)
    for (name, look), colour in zip(looks.items(), PALETTE, strict=False):
        assert look[:3] == pytest.approx(colour)
        assert (*entries[name].get_color(), entries[name].get_marker()) == look
    assert len(looks) == 3
