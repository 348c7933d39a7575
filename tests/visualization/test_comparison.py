"""The comparison picture: what is drawn where."""

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from PIL import Image

from semiconv_d2.visualization.comparison import RegionView, draw_comparison
from semiconv_d2.visualization.masks import instance_colours


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
    painted = 0.35 + 0.65 * instance_colours(1)[0]  # over white
    share = colour_share(picture, painted)
    assert share[0, 1] > 0.3
    assert share[0, 2] == pytest.approx(share[0, 1], abs=0.05)
    assert share[0, 0] == share[0, 3] == 0
    assert share[1].max() == 0  # nothing to view


def test_the_region_is_viewed_below(scene, tmp_path):
    image, truth, predictions = scene
    red = np.broadcast_to([1.0, 0.0, 1.0], (10, 10, 3))
    weights = np.zeros((4, 4))
    weights[1, 2] = 1.0
    kernel, mask = np.ones((4, 4)), np.zeros((4, 4))
    view = RegionView(red, np.array([0.25, 0.25, 0.75, 0.75]), weights, kernel, mask)
    draw_comparison(tmp_path / "picture.png", image, truth, predictions, view)
    picture = np.asarray(Image.open(tmp_path / "picture.png"))
    lowest, highest = np.array([68, 1, 84]) / 255, np.array([253, 231, 37]) / 255  # viridis
    assert colour_share(picture, np.array([1.0, 0.0, 1.0]))[1, 0] > 0.4
    assert colour_share(picture, highest)[1, 2] > 0.4
    assert colour_share(picture, lowest)[1, 3] > 0.4
    assert 0.02 < colour_share(picture, highest)[1, 1] < 0.1  # one of 16 samples
