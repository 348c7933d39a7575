"""The embedding that goes to TensorBoard beside the tiles of the regions."""

from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler

from semiconv_d2 import RegionEmbedding, SemiConvMixin
from semiconv_d2.modeling.mask_branch import Scene
from semiconv_d2.visualization.embedding import draw_map


@pytest.mark.parametrize("mixing", ["additive", "none"])
def test_the_first_image_is_shown_without_what_its_batch_is_padded_with(mixing):
    maps = [torch.randn(2, 5, 16, 24, requires_grad=True), torch.randn(2, 5, 8, 12)]
    pooler = ROIPooler(7, scales=(1 / 4, 1 / 8), sampling_ratio=0, pooler_type="ROIAlignV2")
    region = RegionEmbedding(pooler=pooler, mixing=mixing)
    heads = SimpleNamespace(
        mask_branch=SimpleNamespace(region_embedding=region),
        scene=lambda features: Scene(maps),
    )
    picture = SemiConvMixin._draw_embedding(heads, {}, (40, 52))  # of 64 × 96 with the padding
    psi = region.embed_map(maps[0][0])
    assert picture.shape == (3, 40, 52)
    assert picture.dtype == torch.uint8
    assert torch.equal(picture, draw_map(psi[:, :10, :13]))
    assert not picture.requires_grad
    assert SemiConvMixin._draw_embedding(heads, {}, (1, 1)).shape == (3, 4, 4)
