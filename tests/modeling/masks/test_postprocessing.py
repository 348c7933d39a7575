"""Masks pasted into windows are those that Detectron2 pastes into the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks

from semiconv_d2.modeling.masks.exclusive import ExclusiveMasks
from semiconv_d2.modeling.masks.pasting import paste_windows
from semiconv_d2.modeling.masks.postprocessing import postprocess

HEIGHT, WIDTH = 60, 90  # of the model's input
SIZES = [(HEIGHT, WIDTH), (45, 130), (7, 5)]


def random_boxes(number: int) -> torch.Tensor:
    """Boxes of all sizes: in the image, over its border, beside it, tiny and of no area."""
    corners = torch.rand(number, 2) * torch.tensor([1.4 * WIDTH, 1.4 * HEIGHT]) - 15
    sides = torch.rand(number, 2) ** 3 * 70
    sides[::7] = 1e-3
    sides[::11, 0] = 0
    boxes = torch.cat([corners, corners + sides], dim=1)
    boxes[::5] = boxes[::5].round()
    boxes[-1] = torch.tensor([0.0, 0.0, WIDTH, HEIGHT])
    return boxes


def found(kind: str, number: int = 200, side: int = 14) -> Instances:
    """What ROI heads return."""
    torch.manual_seed(3)
    probabilities = torch.rand(number, side, side).sqrt()
    probabilities[::4] = 1
    probabilities[1::4] = 0.2
    instances = Instances((HEIGHT, WIDTH))
    instances.pred_boxes = Boxes(random_boxes(number) if number else torch.zeros(0, 4))
    instances.scores = torch.linspace(1, 0, number)
    instances.pred_classes = torch.arange(number) % 3
    if kind == "exclusive":
        claims = probabilities * torch.rand(number, 1, 1)
        instances.pred_masks = ExclusiveMasks(probabilities, claims)
    elif kind != "boxes":
        instances.pred_masks = {
            "tensor": lambda: probabilities[:, None],
            "regions": lambda: ROIMasks(probabilities),
            "own": lambda: Upside(probabilities),
        }[kind]()
    return instances


class Upside(ROIMasks):
    """Somebody's own masks of regions, pasted upside down."""

    def __getitem__(self, item):
        return Upside(self.tensor[item])

    def to(self, device):
        return Upside(self.tensor.to(device))

    def to_bitmasks(self, boxes, height, width, threshold=0.5):
        masks = super().to_bitmasks(boxes, height, width, threshold).tensor
        return BitMasks(masks.flip(1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threshold", [0.0, 0.4])
@pytest.mark.parametrize("kind", ["tensor", "regions", "exclusive", "own"])
def test_masks_and_boxes_are_those_of_detectron2(kind, threshold, size):
    expected = detector_postprocess(found(kind), *size)
    expected = expected[expected.scores >= threshold]
    instances, windows = postprocess(found(kind), size, threshold)
    assert 50 < len(instances) < 200
    assert instances.image_size == size
    assert sorted(instances.get_fields()) == ["pred_boxes", "pred_classes", "scores"]
    assert torch.equal(instances.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(instances.scores, expected.scores)
    assert torch.equal(instances.pred_classes, expected.pred_classes)
    whole = np.stack([window.whole(size) for window in windows])
    np.testing.assert_array_equal(whole, expected.pred_masks.numpy())
    assert 0 < sum(window.area == 0 for window in windows) < len(windows)


@pytest.mark.parametrize("kind", ["tensor", "exclusive", "boxes"])
@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_no_instances(kind, threshold):
    instances, windows = postprocess(found(kind, number=0 if threshold == 0 else 9), (45, 130), 1.1)
    assert len(instances) == 0
    assert windows == (None if kind == "boxes" else [])


def test_boxes_alone():
    expected = detector_postprocess(found("boxes"), 45, 130)
    instances, windows = postprocess(found("boxes"), (45, 130))
    assert windows is None
    assert torch.equal(instances.pred_boxes.tensor, expected.pred_boxes.tensor)


def test_other_fields_stay_with_their_instances():
    raw = found("tensor")
    raw.number = torch.arange(len(raw))
    expected = detector_postprocess(found("tensor"), HEIGHT, WIDTH)
    instances, _ = postprocess(raw, (HEIGHT, WIDTH))
    assert torch.equal(instances.scores, raw.scores[instances.number])
    assert len(expected) == len(instances) < len(raw)


def test_memory_is_that_of_the_windows():
    """An image of 10 gigapixels; its masks are a few pixels."""
    boxes = torch.tensor([[99_990.0, 5.0, 99_999.0, 9.0], [7.0, 50_000.0, 9.0, 50_004.0]])
    first, second = paste_windows(torch.ones(2, 28, 28), boxes, (100_000, 100_000))
    assert (first.top, first.left, first.pixels.shape) == (5, 99_990, (4, 9))
    assert (second.top, second.left, second.area) == (50_000, 7, 8)
