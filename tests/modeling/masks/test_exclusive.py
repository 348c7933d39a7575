"""Masks of which no two have a pixel in common."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances, ROIMasks

from semiconv_d2.modeling.masks.exclusive import ExclusiveMasks

BOXES = torch.tensor([[2.0, 3.0, 30.0, 25.0], [14.0, 8.0, 44.0, 36.0], [10.0, 1.0, 25.0, 39.0]])


def paste(masks, height=40, width=50):
    return masks.to_bitmasks(Boxes(BOXES), height, width, 0.5).tensor


def test_contested_pixels_go_to_the_largest_claim_and_no_others_change():
    torch.manual_seed(0)
    probabilities = torch.rand(3, 14, 14).sqrt()
    claims = torch.tensor([0.1, 0.7, 0.4])[:, None, None].expand(3, 14, 14)
    stock, own = paste(ROIMasks(probabilities)), paste(ExclusiveMasks(probabilities, claims))
    count = stock.sum(dim=0)
    assert (count > 1).sum() > 100
    assert torch.equal(own.sum(dim=0), count.clamp(max=1))
    assert torch.equal(own[:, count < 2], stock[:, count < 2])
    order = torch.tensor([1, 2, 0])  # by claim
    for rank, number in enumerate(order):
        stronger = stock[order[:rank]].any(dim=0)
        assert torch.equal(own[number], stock[number] & ~stronger)


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_against_a_loop_over_pixels(threshold):
    """Also where masks reach beyond their boxes, and boxes beyond the image."""
    torch.manual_seed(0)
    boxes = torch.cat([BOXES, torch.tensor([[-9.0, 20.0, 12.0, 60.0], [45.0, 2.0, 70.0, 9.0]])])
    probabilities, claims = torch.rand(5, 7, 7).sqrt(), torch.rand(5, 7, 7)
    stock = ROIMasks(probabilities).to_bitmasks(Boxes(boxes), 40, 50, threshold).tensor
    own = ExclusiveMasks(probabilities, claims).to_bitmasks(Boxes(boxes), 40, 50, threshold).tensor
    expected = torch.zeros_like(stock)
    for y in range(40):
        for x in range(50):
            there = stock[:, y, x].nonzero()[:, 0].tolist()
            if there:
                found = [claim_at(claims[i], boxes[i], x + 0.5, y + 0.5) for i in there]
                expected[there[found.index(max(found))], y, x] = True
    assert (stock.sum(dim=0) > 1).sum() > 100
    assert torch.equal(own, expected)


def claim_at(claims, box, x, y) -> float:
    """Bilinear, from the nearest cells."""
    x0, y0, x1, y1 = box.tolist()
    u, v = ((x - x0) / (x1 - x0) * 7 - 0.5), ((y - y0) / (y1 - y0) * 7 - 0.5)
    u, v = min(max(u, 0), 6), min(max(v, 0), 6)
    i, j = min(int(v), 5), min(int(u), 5)
    top = claims[i, j] * (1 - (u - j)) + claims[i, j + 1] * (u - j)
    bottom = claims[i + 1, j] * (1 - (u - j)) + claims[i + 1, j + 1] * (u - j)
    return float(top * (1 - (v - i)) + bottom * (v - i))


def test_claims_are_compared_where_the_pixels_are():
    """Two regions over the same box, the first claiming more in its left half."""
    boxes = Boxes(torch.tensor([[10.0, 10.0, 30.0, 20.0]] * 2))
    ramp = torch.linspace(1, 0, 10).expand(10, 10)
    masks = ExclusiveMasks(torch.ones(2, 10, 10), torch.stack([ramp, ramp.flip(1)]))
    pasted = masks.to_bitmasks(boxes, 40, 50).tensor
    inside = torch.zeros(2, 40, 50, dtype=torch.bool)
    inside[0, 10:20, 10:20] = inside[1, 10:20, 20:30] = True
    assert torch.equal(pasted, inside)


def test_postprocessing_takes_them_as_masks():
    """Boxes that vanish are left out, and scaled ones are pasted where they are in the output."""
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    boxes = torch.cat([BOXES, torch.tensor([[60.0, 5.0, 70.0, 9.0]])])
    full = torch.ones(4, 14, 14)
    stock, own = (
        detector_postprocess(
            Instances((40, 50), pred_boxes=Boxes(boxes.clone()), pred_masks=masks), 80, 100
        ).pred_masks
        for masks in (ROIMasks(full), ExclusiveMasks(full, scores[:, None, None] * full))
    )
    assert own.shape == (3, 80, 100)
    assert own.sum(dim=0).max() == 1
    assert torch.equal(own.any(dim=0), stock.any(dim=0))
    assert torch.equal(own[0], stock[0])


def test_no_masks_and_other_devices():
    masks = ExclusiveMasks(torch.zeros(0, 14, 14), torch.zeros(0, 14, 14))
    assert masks.to_bitmasks(Boxes(torch.zeros(0, 4)), 40, 50).tensor.shape == (0, 40, 50)
    moved = ExclusiveMasks(torch.ones(2, 3, 3), torch.ones(2, 3, 3)).to("meta")
    assert isinstance(moved, ExclusiveMasks)
    assert moved.tensor.device.type == moved.claims.device.type == "meta"
