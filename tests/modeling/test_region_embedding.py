"""Ψ of regions: where it is pooled, and the coordinates of the same points."""

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from semiconv_d2 import RegionEmbedding

STRIDES = (4, 8, 16, 32)


def region_embedding(
    levels: int = 1, pooler_type: str = "ROIAlignV2", **options
) -> RegionEmbedding:
    scales = [1 / stride for stride in STRIDES[:levels]]
    pooler = ROIPooler(7, scales=scales, sampling_ratio=0, pooler_type=pooler_type)
    return RegionEmbedding(pooler=pooler, **options)


def empty_maps(images: int = 1, levels: int = 1) -> list[torch.Tensor]:
    return [torch.zeros(images, 8, 256 // s, 256 // s) for s in STRIDES[:levels]]


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("mixing", ["additive", "none"])
def test_a_region_sees_coordinates_of_the_image(mixing, levels):
    """Φ = 0: what is left is where the sample points are, in cells, or nothing."""
    region = region_embedding(levels, mixing=mixing)
    boxes = [Boxes(torch.tensor([[8.0, 16, 64, 44]])), Boxes(torch.tensor([[-20.0, 0, 8, 28]]))]
    psi = region(empty_maps(2, levels), boxes)
    assert psi.shape == (2, 8, 7, 7)
    if mixing == "none":
        assert not psi.any()
        return
    assert (4 * psi[0, 0, 0]).tolist() == pytest.approx([8 + 8 * (j + 0.5) for j in range(7)])
    assert (4 * psi[0, 1, :, 0]).tolist() == pytest.approx([16 + 4 * (i + 0.5) for i in range(7)])
    assert (4 * psi[1, 0, 0]).tolist() == pytest.approx([-20 + 4 * (j + 0.5) for j in range(7)])
    assert not psi[:, 2:].any()


def test_coordinates_count_cells_of_the_assigned_level():
    """With Φ = 0, a region twice as large, on the next level, has the same Ψ; where all are pooled
    from the finest level it has one twice as large."""
    small, large = (Boxes(torch.tensor([[0.0, 0, 100 * f, 60 * f]])) for f in (1, 2))
    for levels, ratio in ((4, 1), (1, 2)):
        region = region_embedding(levels)
        assert region.shares_a_map == (levels == 1)
        a, b = (region(empty_maps(1, levels), [boxes]) for boxes in (small, large))
        torch.testing.assert_close(b, ratio * a)


def test_no_regions():
    region = region_embedding()
    psi = region(empty_maps(), [Boxes(torch.zeros(0, 4))])
    assert psi.shape == (0, 8, 7, 7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_boxes_and_coordinates_are_not_rounded_to_half_precision(dtype):
    region = region_embedding(4)
    ramp = torch.arange(64.0).expand(64, 64)  # exact in both precisions
    maps = [ramp[: 256 // s, : 256 // s].expand(1, 8, -1, -1).to(dtype) for s in STRIDES]
    boxes = [Boxes(torch.tensor([[3.37, 5.21, 250.13, 240.77], [10.9, 20.3, 60.7, 44.1]]))]
    with torch.autocast("cpu", dtype=dtype):
        psi = region(maps, boxes)
    assert psi.dtype == torch.float32
    torch.testing.assert_close(psi, region([m.float() for m in maps], boxes))


@pytest.mark.parametrize("pooler", ["ROIAlign", "ROIPool"])
def test_poolers_that_move_boxes_are_refused(pooler):
    with pytest.raises(ValueError, match="POOLER_TYPE to 'ROIAlignV2'"):
        region_embedding(pooler_type=pooler)
