import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks, ROIMasks

from semiconv_d2.modeling import ground_truth
from semiconv_d2.modeling.ground_truth import (
    CroppedMasks,
    crop_masks,
    crop_shared,
    leave_out_shared,
    shared_pixels,
)


def image_with(masks, height=40, width=50) -> Instances:
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 0, 1, 1]] * len(masks)))
    instances.gt_masks = masks
    return instances


def random_masks(num=4, height=40, width=50) -> torch.Tensor:
    return torch.rand(num, height, width) > 0.6


def test_shared_pixels_of_bit_masks():
    masks = random_masks()
    [[shared]] = shared_pixels([image_with(BitMasks(masks))])
    assert torch.equal(shared.bool(), masks.sum(dim=0) >= 2)


def test_shared_pixels_of_polygons_are_those_of_their_bit_masks():
    """Triangles that overlap, reach out of the image and have several parts."""
    polygons = PolygonMasks(
        [
            [[3.2, 4.1, 30.7, 6.4, 15.5, 33.3]],
            [[-8.0, 20.0, 25.5, 10.5, 20.2, 55.0]],
            [[40.0, 2.0, 48.0, 3.0, 44.0, 12.0], [30.5, 30.5, 60.0, 31.0, 45.0, 39.0]],
            [[100.0, 100.0, 110.0, 100.0, 105.0, 110.0]],  # wholly outside
        ]
    )
    boxes = polygons.get_bounding_boxes().tensor
    bits = BitMasks.from_polygon_masks(polygons.polygons, 40, 50)
    maps = [shared_pixels([image_with(m)])[0] for m in (polygons, bits)]
    assert len(boxes) == 4
    assert maps[1].any()
    # Shifted polygons meet other ties when pycocotools rounds: a few pixels of the outline.
    assert (maps[0] != maps[1]).sum() <= 0.05 * maps[1].sum()


def test_shared_pixels_pad_images_of_different_sizes_and_take_empty_ones():
    first = image_with(BitMasks(random_masks(2, 20, 30)), 20, 30)
    empty = Instances((25, 10))
    empty.gt_boxes = Boxes(torch.zeros(0, 4))
    maps = shared_pixels([first, empty])
    assert maps.shape == (2, 1, 25, 30)
    assert not maps[0, :, 20:].any()
    assert not maps[1].any()


def test_shared_pixels_are_cropped_as_masks_themselves():
    masks = random_masks(2)
    masks = torch.nn.functional.max_pool2d(masks.float()[None], 5, 1, 2)[0].bool()
    masks[1, :, :25] = False
    image = image_with(BitMasks(masks))
    boxes = Boxes(torch.tensor([[3.3, 2.1, 37.7, 33.9], [10.0, 5.0, 44.5, 30.25]]))
    shared = crop_shared(shared_pixels([image]), [boxes], 14)
    both = BitMasks(masks.all(dim=0).expand(2, -1, -1)).crop_and_resize(boxes.tensor, 14)
    assert torch.equal(shared, both)
    assert both.any()


def test_shared_pixels_are_left_out_unless_an_instance_has_no_others():
    own = torch.zeros(3, 4, 4, dtype=torch.bool)
    own[0, :2] = own[1, 1:3] = True  # the third has no pixel at all
    shared = torch.zeros_like(own)
    shared[:, 1:] = True
    kept = leave_out_shared(own, shared)
    assert torch.equal(kept[0], own[0] & ~shared[0])
    assert torch.equal(kept[1], own[1])
    assert not kept[2].any()


def test_other_masks_are_refused_with_the_way_out():
    masks = ROIMasks(torch.zeros(1, 28, 28))
    with pytest.raises(TypeError, match=r"ROIMasks; SemiConv needs.*MASK_FORMAT to 'bitmask'"):
        shared_pixels([image_with(masks)])


def test_crops_of_an_image_without_masks():
    empty = Instances((25, 10))
    empty.gt_boxes = Boxes(torch.zeros(0, 4))
    [crop] = crop_masks([empty], [Boxes(torch.zeros(0, 4))], 14)
    assert crop.shape == (0, 14, 14)
    assert crop.dtype == torch.bool


def test_cropped_masks_refuse_another_crop():
    masks = CroppedMasks(torch.zeros(3, 14, 14, dtype=torch.bool))
    assert masks.crop_and_resize(torch.zeros(3, 4), 14) is masks.crops
    with pytest.raises(ValueError, match="for 2 masks of side 14; there are 3 crops of side 14"):
        masks.crop_and_resize(torch.zeros(2, 4), 14)
    with pytest.raises(ValueError, match="side 28"):
        masks.crop_and_resize(torch.zeros(3, 4), 28)


@pytest.mark.parametrize("side", [7, 28])
def test_crops_of_bit_masks_are_detectron2_s(side):
    """Boxes inside, across and outside of the image; a half-covered pixel may be rounded either
    way."""
    masks = BitMasks(random_masks(200, 90, 70))
    corners = torch.rand(200, 2) * torch.tensor([110.0, 130.0]) - 20
    boxes = Boxes(torch.cat([corners, corners + 0.5 + 60 * torch.rand(200, 2)], dim=1))
    boxes.tensor[:4] = torch.tensor(
        [[-40.0, 0, -10, 30], [80, 95, 99, 99], [0, 0, 70, 90], [-0.4, -0.4, 0.3, 0.3]]
    )
    [crops] = crop_masks([image_with(masks, 90, 70)], [boxes], side)
    expected = masks.crop_and_resize(boxes.tensor, side)
    assert (crops != expected).float().mean() < 1e-4
    assert crops.dtype == torch.bool
    assert crops.float().mean() > 0.05


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_crops_in_parts_are_those_of_all_masks_at_once(monkeypatch, at_once):
    """As bit masks on a GPU are cropped."""
    monkeypatch.setattr(ground_truth, "_PIXELS_AT_ONCE", at_once * 40 * 50)
    masks = BitMasks(random_masks(5))
    corners = torch.rand(5, 2) * 20
    boxes = torch.cat([corners, corners + 3 + torch.rand(5, 2) * 20], dim=1)
    crops = ground_truth._crop_parts(masks, boxes, 9)
    assert torch.equal(crops >= 0.5, masks.crop_and_resize(boxes, 9))
    none = ground_truth._crop_parts(BitMasks(torch.zeros(0, 40, 50)), torch.zeros(0, 4), 9)
    assert none.shape == (0, 9, 9)


def test_hundreds_of_masks_over_one_pixel_are_counted():
    for num in (254, 255, 256, 257, 510, 511, 600):
        masks = torch.zeros(num, 3, 4, dtype=torch.bool)
        masks[:, 0, 0] = masks[-1, 1, 1] = True
        [[shared]] = shared_pixels([image_with(BitMasks(masks), 3, 4)])
        assert torch.equal(shared.bool(), masks.sum(dim=0) >= 2)
