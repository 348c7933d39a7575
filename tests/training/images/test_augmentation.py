import numpy as np
import pytest
from detectron2.data import transforms
from detectron2.data.transforms import AugInput

import semiconv_d2
from semiconv_d2.training import Trainer, load_config, trainer
from semiconv_d2.training.images.augmentation import QuarterTurn, QuarterTurnTransform


@pytest.mark.parametrize("turns", range(4))
def test_coordinates_turn_with_the_pixels(turns):
    image = np.arange(4 * 7 * 3).reshape(4, 7, 3)
    turn = QuarterTurnTransform(turns, 4, 7)
    turned = turn.apply_image(image)
    for row in range(4):
        for column in range(7):
            [[x, y]] = turn.apply_coords(np.array([[column + 0.5, row + 0.5]]))
            assert (turned[int(y), int(x)] == image[row, column]).all()
    np.testing.assert_array_equal(turn.apply_segmentation(image[..., 0]), turned[..., 0])
    np.testing.assert_array_equal(turn.inverse().apply_image(turned), image)
    coordinates = np.random.default_rng(0).random((5, 2))
    there_and_back = turn.inverse().apply_coords(turn.apply_coords(coordinates))
    np.testing.assert_allclose(there_and_back, coordinates)


def test_boxes_turn_with_the_masks():
    mask = np.zeros((4, 7), dtype=np.uint8)
    mask[1:3, 2:6] = 1
    turn = QuarterTurnTransform(1, 4, 7)
    [[x0, y0, x1, y1]] = turn.apply_box(np.array([[2.0, 1.0, 6.0, 3.0]]))
    rows, columns = turn.apply_segmentation(mask).nonzero()
    assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_each_turn_comes_as_often():
    np.random.seed(0)
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    seen = [0] * 4
    for _ in range(400):
        given = AugInput(image)
        QuarterTurn()(given)
        [turns] = [k for k in range(4) if np.array_equal(given.image, np.rot90(image, k))]
        seen[turns] += 1
    assert min(seen) > 60


def test_quarter_turns_come_beside_what_the_config_asks_for(monkeypatch):
    monkeypatch.setattr(trainer, "build_train_loader", lambda cfg, mapper, progress: mapper)
    config = semiconv_d2.get_config_file("demo_coloring")
    mapper = Trainer.build_train_loader(load_config(config, ["INPUT.CROP.ENABLED", "True"]))
    kinds = [type(a) for a in mapper.augmentations.augs]
    assert transforms.RandomCrop in kinds
    assert kinds[-1] is QuarterTurn
