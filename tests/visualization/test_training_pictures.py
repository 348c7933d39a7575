"""The embedding that goes to TensorBoard beside the tiles of the regions."""

from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler

from semiconv_d2.modeling import SemiConvMixin
from semiconv_d2.modeling.rescoring import RegionEmbedding
from semiconv_d2.visualization.embedding import draw_map


@pytest.mark.parametrize("mixing", ["additive", "none"])
def test_the_first_image_is_shown_without_what_its_batch_is_padded_with(mixing):
    scales = (1 / 4, 1 / 8)
    pooler = ROIPooler(output_size=7, scales=scales, sampling_ratio=0, pooler_type="ROIAlignV2")
    maps = [torch.randn(2, 5, 16, 24, requires_grad=True), torch.randn(2, 5, 8, 12)]
    heads = SimpleNamespace(
        region_embedding=RegionEmbedding(pooler=pooler, mixing=mixing),
        embedding_maps=lambda features: maps,
    )
    picture = SemiConvMixin._draw_embedding(heads, {}, (40, 52))  # of 64 × 96 with the padding
    psi = heads.region_embedding.embed_map(maps[0][0])
    assert picture.shape == (3, 40, 52)
    assert picture.dtype == torch.uint8
    assert torch.equal(picture, draw_map(psi[:, :10, :13]))
    assert not picture.requires_grad
    assert SemiConvMixin._draw_embedding(heads, {}, (1, 1)).shape == (3, 4, 4)
