"""Masks of regions that are larger than their boxes."""

from __future__ import annotations

import copy

import pytest
import torch
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.structures import Boxes, Instances, ROIMasks

from semiconv_d2.modeling.masks.exclusive import ExclusiveMasks
from semiconv_d2.modeling.masks.wide import WideMasks, cut_margin, wide_boxes, widen

BOXES = Boxes(torch.tensor([[4.0, 6.0, 24.0, 16.0], [-3.0, 0.0, 45.0, 40.0]]))
MARGIN = ("MODEL.SEMICONV.MASK_MARGIN", 0.25)
STOCK = (
    *("MODEL.SEMICONV.RESCORE", False),
    *("MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT", 0.0, "MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", 0.0),
)


def windows_of(masks, boxes=BOXES):
    return [(w.pixels.tolist(), w.top, w.left) for w in masks.to_windows(boxes, 40, 50)]


def test_masks_are_pasted_where_the_larger_regions_are():
    torch.manual_seed(0)
    probabilities, claims = torch.rand(2, 9, 9), torch.rand(2, 9, 9)
    wide, regions = WideMasks(probabilities, 0.25), widen(BOXES, 0.25)
    expected = ROIMasks(probabilities).to_bitmasks(regions, 40, 50).tensor
    assert torch.equal(wide.to_bitmasks(BOXES, 40, 50).tensor, expected)
    assert expected[0, :, :4].any()  # beyond the box
    assert windows_of(wide) == windows_of(WideMasks(probabilities), regions)
    exclusive = ExclusiveMasks(probabilities, claims, 0.25)
    known = ExclusiveMasks(probabilities, claims)
    for some in (exclusive, exclusive.to("cpu"), exclusive[torch.arange(2)]):
        pasted = some.to_bitmasks(BOXES, 40, 50).tensor
        assert torch.equal(pasted, known.to_bitmasks(regions, 40, 50).tensor)
        assert windows_of(some) == windows_of(known, regions)


def test_a_mask_of_the_box_is_cut_out_of_that_of_the_region():
    slopes = torch.tensor([[1.0, 0.0], [0.2, -0.7]])
    places = (2 * torch.arange(8) + 1) / 8 - 1  # of cells in a region from -1 to 1

    def ramps(scale):
        y, x = torch.meshgrid(places * scale, places * scale, indexing="ij")
        return (slopes[:, :1, None] * x + slopes[:, 1:, None] * y)[:, None]

    torch.testing.assert_close(cut_margin(ramps(1.5), 0.25), ramps(1.0))  # 1.5 = 1 + 2 × 0.25
    assert cut_margin(torch.zeros(0, 1, 8, 8), 0.25).shape == (0, 1, 8, 8)


def test_boxes_are_wide_for_a_while():
    found = Instances((40, 50), pred_boxes=BOXES)
    with wide_boxes([found], 0.25):
        assert torch.equal(found.pred_boxes.tensor, widen(BOXES, 0.25).tensor)
    assert found.pred_boxes is BOXES


ALONE = ("MODEL.SEMICONV.COMPETITION", False)


@pytest.mark.parametrize("other", [ALONE, STOCK], ids=["semiconv", "stock"])
def test_masks_with_a_margin_are_those_of_larger_boxes(make_model, make_batch, other):
    plain = make_model(*other).eval()
    model = make_model(*other, *MARGIN, like=plain).eval()
    for heads in (plain.roi_heads, model.roi_heads):
        if heads.mask_branch is not None:
            heads.mask_branch.seed_kernel.gain.set(1.0)
    batch = make_batch(3)
    with torch.no_grad():
        features = plain.backbone(plain.preprocess_image(batch).tensor)
        [found] = plain.inference(batch, do_postprocess=False)
        given, larger = copy.deepcopy(found), copy.deepcopy(found)
        larger.pred_boxes = widen(found.pred_boxes, 0.25)
        [expected] = plain.roi_heads.forward_with_given_boxes(features, [larger])
        [result] = model.roi_heads.forward_with_given_boxes(features, [given])
        [finished] = model.inference(batch, do_postprocess=False)
    torch.testing.assert_close(result.wide_masks, expected.pred_masks)
    torch.testing.assert_close(result.pred_masks, cut_margin(expected.pred_masks, 0.25))
    assert torch.equal(result.pred_boxes.tensor, found.pred_boxes.tensor)
    torch.testing.assert_close(finished.pred_masks.tensor, expected.pred_masks[:, 0])
    assert not finished.has("wide_masks")


@pytest.mark.parametrize("other", [(), STOCK], ids=["semiconv", "stock"])
@pytest.mark.parametrize("masks", ["bitmask", "polygon"])
def test_masks_are_learned_in_the_larger_regions(make_model, make_batch, losses_of, other, masks):
    """The squares fill their boxes, and less of larger regions."""
    plain = make_model(*other)
    model = make_model(*other, *MARGIN, like=plain)
    for heads in (plain.roi_heads, model.roi_heads):
        torch.nn.init.zeros_(heads.mask_head.predictor.weight)
        torch.nn.init.constant_(heads.mask_head.predictor.bias, 3.0)
    batch = make_batch(2, 1, masks=masks)
    before, after = losses_of(plain, batch), losses_of(model, batch)
    assert before.keys() == after.keys()
    assert after["loss_mask"] > before["loss_mask"] + 0.5
    for name in ("loss_cls", "loss_box_reg", "loss_rpn_cls"):
        assert torch.equal(before[name], after[name])


def test_masks_reach_out_of_their_boxes_in_the_image(make_model, make_batch, predict):
    model = make_model(*STOCK, *MARGIN)
    torch.nn.init.constant_(model.roi_heads.mask_head.predictor.bias, 9.0)
    [found] = predict(model, make_batch(2))
    regions = widen(found.pred_boxes, 0.25).tensor.clamp(min=0, max=96)
    areas = (regions[:, 2:] - regions[:, :2]).prod(dim=1)
    assert (found.pred_masks.sum(dim=(1, 2)) / areas - 1).abs().max() < 0.2


@pytest.mark.parametrize("exclusive", [False, True])
def test_test_time_augmentation_ends_masks_at_the_box(make_cfg, make_model, make_batch, exclusive):
    options = (*MARGIN, "MODEL.SEMICONV.EXCLUSIVE_MASKS", exclusive, "TEST.AUG.MIN_SIZES", (96,))
    model = make_model(*options).eval()
    torch.nn.init.constant_(model.roi_heads.mask_head.predictor.bias, 9.0)
    batch = [{k: v for k, v in x.items() if k != "instances"} for x in make_batch(2)]
    with torch.no_grad():
        [found] = GeneralizedRCNNWithTTA(make_cfg(*options), model)(batch)
    found = found["instances"]
    boxes = found.pred_boxes.tensor
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    assert len(found)
    assert (found.pred_masks.sum(dim=(1, 2)) / areas - 1).abs().max() < 0.2


@pytest.mark.parametrize("margin", [-0.1, 1.5])
def test_a_margin_out_of_range_is_refused(make_model, margin):
    with pytest.raises(ValueError, match=r"MASK_MARGIN is .*\[0, 1\]"):
        make_model("MODEL.SEMICONV.MASK_MARGIN", margin)
