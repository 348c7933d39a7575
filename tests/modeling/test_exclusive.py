"""Masks of which no two have a pixel in common."""

from __future__ import annotations

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances, ROIMasks

from semiconv_d2.modeling import exclusive
from semiconv_d2.modeling.exclusive import ExclusiveMasks

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


def test_pixels_are_looked_at_in_blocks(monkeypatch):
    masks = ExclusiveMasks(torch.rand(3, 14, 14).sqrt(), torch.rand(3, 14, 14))
    whole = paste(masks)
    monkeypatch.setattr(exclusive, "_BLOCK", 7)
    assert torch.equal(paste(masks), whole)


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
