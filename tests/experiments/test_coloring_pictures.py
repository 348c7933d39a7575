"""Pictures of instance colouring: whose colour is where, and where embeddings meet."""

import numpy as np
import pytest
from PIL import Image

from experiments.documents import coloring_pictures
from experiments.documents.coloring_pictures import (
    ColoringView,
    Meeting,
    align,
    draw_centres,
    draw_colorings,
)
from semiconv_d2.visualization.masks import PALETTE


def squares(*corners: int, size: int = 40) -> np.ndarray:
    masks = np.zeros((len(corners), size, size), dtype=bool)
    for mask, corner in zip(masks, corners, strict=True):
        mask[corner : corner + 10, corner : corner + 10] = True
    return masks


def view(truth: np.ndarray, found: np.ndarray, **options) -> ColoringView:
    instances, rows, columns = truth.nonzero()
    image = np.repeat(truth.any(axis=0)[..., None], 3, axis=2) * np.uint8(255)
    values = {
        "name": "well",
        "image": image,
        "truth": truth,
        "found": found,
        "colours": np.full(image.shape, 0.5),
        "votes": np.stack([columns, rows], axis=1) + 0.5,
        "voters": instances,
    }
    return ColoringView(**(values | options))


def test_quality_is_the_mean_iou_of_what_fits_best():
    truth = squares(2, 20)
    assert view(truth, truth).quality == 1
    assert view(truth, truth[:1]).quality == 0.5
    assert view(truth, truth[:0]).quality == 0
    assert view(truth[:0], truth).quality == 1


def pixels_of(path, colour, tolerance=0.06) -> int:
    picture = np.asarray(Image.open(path).convert("RGB")) / 255
    return int((np.abs(picture - colour).max(axis=2) < tolerance).sum())


def test_found_masks_have_the_colour_of_their_instance_and_others_are_grey(tmp_path):
    truth = squares(2, 20)
    strange = np.zeros((1, 40, 40), dtype=bool)
    strange[0, 30:40, 0:10] = True
    pale_truth = 0.9 * PALETTE[:2] + 0.1 * (255 - 255 // 4) / 255
    draw_colorings(tmp_path / "both.png", [view(truth, np.concatenate([truth, strange]))])
    draw_colorings(tmp_path / "one.png", [view(truth, truth[:1])])
    for colour, more in zip(pale_truth, (1.0, 2.0), strict=True):
        in_both, in_one = (pixels_of(tmp_path / f"{n}.png", colour) for n in ("both", "one"))
        assert in_one > 1000
        assert in_both / in_one == pytest.approx(more, rel=0.3)
    dark = 0.9 * 0.25 + 0.1
    grey = [pixels_of(tmp_path / f"{name}.png", dark, 0.02) for name in ("both", "one")]
    assert grey[0] - grey[1] > 1000


def test_votes_are_drawn_where_they_point_to(tmp_path):
    truth = squares(2)
    at = np.tile([30.0, 5.0], (100, 1))
    draw_colorings(tmp_path / "votes.png", [view(truth, truth[:0], votes=at)])
    picture = np.asarray(Image.open(tmp_path / "votes.png").convert("RGB")) / 255
    height, width = picture.shape[:2]
    panel = picture[height // 2 :, : width // 2]
    rows, columns = (np.abs(panel - PALETTE[0]).max(axis=2) < 0.1).nonzero()
    assert len(rows)
    # To the right and up in its panel.
    assert columns.mean() / panel.shape[1] == pytest.approx(30 / 40, abs=0.06)
    assert rows.mean() / panel.shape[0] == pytest.approx(5 / 40, abs=0.12)


def bent(turn: int) -> np.ndarray:
    """A U whose ends point up, turned by quarters."""
    mask = np.zeros((40, 60), dtype=bool)
    mask[25:30, 10:50] = True
    mask[15:30, 10:14] = mask[15:30, 46:50] = True
    return np.rot90(mask, turn).copy()


@pytest.mark.parametrize("turn", range(4))
def test_aligned_instances_lie_along_x_with_their_ends_up(turn):
    mask = bent(turn)
    rows, columns = mask.nonzero()
    centroid = np.array([columns.mean(), rows.mean()]) + 0.5
    towards_the_ends = {0: (0, -5), 1: (-5, 0), 2: (0, 5), 3: (5, 0)}[turn]
    aligned = align(Meeting("well", 0, mask, np.zeros(2), centroid + towards_the_ends, 1.0))
    assert np.ptp(aligned.body[:, 0]) == pytest.approx(2)
    assert aligned.point == pytest.approx([0, 5 / 19.5], abs=1e-6)
    ends = aligned.body[np.abs(aligned.body[:, 0]) > 0.9]
    assert ends[:, 1].mean() > 0


def test_a_meeting_knows_what_its_instance_covers():
    meeting = Meeting(
        "well", 3, squares(20)[0][15:, 10:], np.array([10, 15]), np.array([24.0, 26.0]), 1.5
    )
    assert meeting.centroid.tolist() == [25.0, 25.0]
    assert meeting.covers(meeting.point)
    assert not meeting.covers(np.array([5.0, 25.0]))
    assert not meeting.covers(np.array([-1.0, 500.0]))
    assert meeting.to_json() == {
        "image": "well",
        "instance": 3,
        "point": [24.0, 26.0],
        "spread": 1.5,
        "centroid": [25.0, 25.0],
    }


def test_centres_are_drawn(tmp_path):
    meetings = [
        Meeting("well", i, bent(i), np.zeros(2), np.array([20.0, 20.0]), 2.0) for i in range(4)
    ]
    draw_centres(tmp_path / "centres.png", meetings)
    assert pixels_of(tmp_path / "centres.png", PALETTE[0]) > 500


def test_centres_lie_where_embeddings_meet_and_lines_at_the_medians(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(coloring_pictures, "save", lambda figure, *_, **__: figures.append(figure))
    mask = bent(0)
    centroid = Meeting("well", 0, mask, np.zeros(2), np.zeros(2), 0.0).centroid
    distances, spreads = (1.0, 2.0, 6.0), (10.0, 1.0, 4.0)
    draw_centres(
        tmp_path / "centres.png",
        [
            Meeting("well", i, mask, np.zeros(2), centroid - (0, d), s)  # towards the ends
            for i, (d, s) in enumerate(zip(distances, spreads, strict=True))
        ],
    )
    [figure] = figures
    left, middle, right = figure.axes
    [points] = left.collections
    expected = [(0, d / 19.5) for d in distances]
    np.testing.assert_allclose(points.get_offsets(), expected, atol=1e-6)
    assert left.get_xlim() == (-1.3, 1.3)
    assert left.get_ylim() == (-0.8, 0.8)
    for ax, title, median in (
        (middle, "meeting point to centroid", 2),
        (right, "votes to meeting point", 4),
    ):
        assert ax.get_title().startswith(title)
        assert f"median {median}.0 px" in ax.get_title()
        [line] = ax.lines
        assert list(line.get_xdata()) == pytest.approx([median, median])
        assert line.get_color() == pytest.approx(PALETTE[4])
