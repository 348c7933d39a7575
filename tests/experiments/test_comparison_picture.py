"""The picture of a comparison: what is drawn where."""

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from matplotlib import colormaps
from PIL import Image

from experiments import comparison
from experiments.comparison import RegionView, draw_comparison, window_around
from semiconv_d2.visualization.masks import instance_colours
from semiconv_d2.visualization.regions import InstanceView


def prediction(mask: np.ndarray, score: float) -> Instances:
    found = Instances(mask.shape)
    found.pred_masks = torch.from_numpy(mask[None].copy())
    found.scores = torch.tensor([score])
    return found


@pytest.fixture
def scene():
    image = np.full((40, 40, 3), 255, dtype=np.uint8)
    truth = np.zeros((1, 40, 40), dtype=bool)
    truth[0, 5:35, 5:35] = True
    predictions = {"sure": prediction(truth[0], 0.9), "unsure": prediction(truth[0], 0.2)}
    return image, truth, predictions


def colour_share(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Share of the pixels of each of the 2 × 4 panels that have about that colour."""
    near = np.abs(picture[..., :3] / 255 - colour).max(axis=2) < 0.05
    height, width = near.shape
    panels = near[: height // 2 * 2, : width // 4 * 4].reshape(2, height // 2, 4, width // 4)
    return panels.mean(axis=(1, 3))


def test_masks_have_their_truth_s_colour_and_unsure_ones_are_left_out(scene, tmp_path):
    image, truth, predictions = scene
    draw_comparison(tmp_path / "picture.png", image, truth, predictions, None)
    picture = np.asarray(Image.open(tmp_path / "picture.png"))
    assert picture.shape[1] == 1600
    painted = 0.15 + 0.85 * instance_colours(1)[0]  # over white
    share = colour_share(picture, painted)
    assert share[0, 1] > 0.3
    assert share[0, 2] == pytest.approx(share[0, 1], abs=0.05)
    assert share[0, 0] == share[0, 3] == 0
    assert share[1].max() == 0  # nothing to view


def test_the_region_is_viewed_below(scene, tmp_path):
    image, truth, predictions = scene
    pink = np.broadcast_to([1.0, 0.0, 1.0], (40, 40, 3))
    weights = np.zeros((4, 4))
    weights[0, 3] = 1.0
    logits = np.full((4, 4), 5.0)
    instance = InstanceView(
        "",
        np.array([10.0, 10.0, 30.0, 30.0]),
        np.array([20.0, 20.0]),
        weights,
        np.zeros((4, 4)),
        logits,
        -logits,
        truth[0],
    )
    view = RegionView(instance, (0, 0, 40), pink)
    draw_comparison(tmp_path / "picture.png", image, truth, predictions, view)
    picture = np.asarray(Image.open(tmp_path / "picture.png"))
    assert colour_share(picture, np.array([1.0, 0.0, 1.0]))[1, 0] > 0.4
    assert 0.02 < colour_share(picture, colormaps["viridis"](1.0)[:3])[1, 1] < 0.1  # one of 16
    assert colour_share(picture, colormaps["viridis"](0.0)[:3])[1, 1] > 0.4
    assert colour_share(picture, colormaps["cividis"](1.0)[:3])[1, 2] > 0.4
    assert colour_share(picture, colormaps["PuOr_r"](0.0)[:3])[1, 3] > 0.4


def test_the_region_s_box_and_its_seed_are_marked(scene, monkeypatch):
    image, truth, predictions = scene
    figures, grid = [], np.zeros((4, 4))
    monkeypatch.setattr(comparison, "save", lambda figure, path: figures.append(figure))
    box, seed = np.array([10.0, 12.0, 30.0, 20.0]), np.array([21.0, 17.0])
    instance = InstanceView("", box, seed, grid, grid, grid, grid, truth[0])
    view = RegionView(instance, (0, 0, 40), np.zeros((40, 40, 3)))
    draw_comparison("picture.png", image, truth, predictions, view)
    above, below = figures[0].axes[:4], figures[0].axes[4:]
    corners = [[10, 12], [30, 12], [30, 20], [10, 20], [10, 12]]
    for ax in (above[3], below[0]):
        assert [line.get_xydata().tolist() for line in ax.lines] == [corners] * 2
    for ax in above[:3]:
        assert not ax.lines
    for ax in below[1:]:
        assert [line.get_xydata().tolist() for line in ax.lines] == [[[21, 17]]] * 2
        assert {line.get_marker() for line in ax.lines} == {"+"}


def test_crowds_are_shown_at_large(scene, tmp_path):
    image, truth, predictions = scene
    image[:10, 20:30] = [255, 0, 255]  # a quarter of the window
    grid = np.zeros((4, 4))
    box = np.array([12.0, 2.0, 20.0, 8.0])
    instance = InstanceView("", box, box[:2], grid, grid, grid, grid, truth[0])
    view = RegionView(instance, (10, 0, 20), np.zeros((20, 20, 3)))
    draw_comparison(tmp_path / "picture.png", image, truth, predictions, view)
    share = colour_share(np.asarray(Image.open(tmp_path / "picture.png")), np.array([1.0, 0, 1.0]))
    assert share[0, 0] == pytest.approx(0.25 * 2.0 / 2.29, abs=0.02)  # beside the title


@pytest.mark.parametrize(
    ("box", "size", "window"),
    [
        ((40, 45, 60, 55), (100, 100), (20, 20, 60)),
        ((0, 45, 20, 55), (100, 100), (0, 20, 60)),  # at the border
        ((80, 90, 100, 100), (100, 100), (40, 40, 60)),
        ((40, 20, 60, 30), (50, 100), (25, 0, 50)),  # no room for more
        ((10, 10, 90, 20), (50, 100), (10, 0, 80)),  # the whole box, beyond the image if need be
    ],
)
def test_window_around_a_box(box, size, window):
    assert window_around(np.array(box, dtype=float), size) == window


def test_a_long_region_is_shown_undistorted(tmp_path):
    """Its square reaches beyond the image; its embedding does not."""
    image, truth = np.zeros((20, 60, 3), dtype=np.uint8), np.zeros((1, 20, 60), dtype=bool)
    grid, box = np.zeros((4, 4)), np.array([5.0, 5.0, 55.0, 15.0])
    instance = InstanceView("", box, box[:2], grid, grid, grid, grid, truth[0])
    view = RegionView(instance, (5, 0, 50), np.broadcast_to([1.0, 0.0, 1.0], (20, 50, 3)))
    predictions = {"a": prediction(truth[0], 0.9), "b": prediction(truth[0], 0.9)}
    draw_comparison(tmp_path / "picture.png", image, truth, predictions, view)
    pink = colour_share(np.asarray(Image.open(tmp_path / "picture.png")), np.array([1.0, 0, 1.0]))
    assert 0.2 < pink[1, 0] < 0.2 + 0.2  # 20 of 50 rows of the panel, less the box and the title
