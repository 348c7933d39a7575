"""The subnet: what is quick on the CPU is the same as what is trained."""

import pytest
import torch
from torch import nn

from semiconv_d2 import EmbeddingHead
from semiconv_d2.modeling.embedding_head import shifted_convolution, sum_levels


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (13, 9)])
def test_a_shifted_convolution_is_a_convolution(side, size):
    conv = nn.Conv2d(6, 4, side, padding=side // 2).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    y = torch.randn(1, 6, 5, 4, dtype=torch.float64)
    for found, one in zip(shifted_convolution([x, y], conv.weight, conv.bias), (x, y), strict=True):
        torch.testing.assert_close(found, conv(one))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_test_and_training_agree(dtype):
    head = EmbeddingHead(in_channels=16, hidden_dim=32, embedding_dim=8)
    nn.init.normal_(head.embedding.weight, std=0.1)
    nn.init.normal_(head.embedding.bias, std=0.1)
    features = [torch.randn(2, 16, *size) for size in ((20, 27), (10, 14), (5, 7))]
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        trained = head(features)
        with torch.no_grad():
            tested = head(features)
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.5}
    )
    for a, b in zip(trained, tested, strict=True):
        assert a.dtype == b.dtype
        assert a.requires_grad
        assert not b.requires_grad
        torch.testing.assert_close(a, b, **tolerance)


def test_a_single_layer_has_no_shifts():
    head = EmbeddingHead(in_channels=4, hidden_dim=0, embedding_dim=2)
    x = torch.randn(1, 4, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(head([x])[0], head.embedding(x))


def summing_head(dim: int = 3, strides=(4, 8, 16)) -> EmbeddingHead:
    return EmbeddingHead(in_channels=4, hidden_dim=0, embedding_dim=dim, sum_strides=strides)


@pytest.mark.parametrize("grad", [True, False])
def test_levels_are_summed_in_cells_of_the_finest(grad):
    """Levels of constants: geometric channels count cells of their level, the others do not."""
    head = summing_head()
    nn.init.ones_(head.embedding.weight)
    head.embedding.learn_faster(1.0)
    maps = [
        torch.full((1, 4, 8 // r, 16 // r), v / 4) for r, v in ((1, 1.0), (2, 10.0), (4, 100.0))
    ]
    with torch.set_grad_enabled(grad):
        [total] = head(maps)
    assert total.shape == (1, 3, 8, 16)
    weight = head.embedding.kernel()[0][0, 0, 0, 0].item()
    torch.testing.assert_close(total[:, :2], torch.full((1, 2, 8, 16), weight * (1 + 20 + 400)))
    torch.testing.assert_close(total[:, 2], torch.full((1, 8, 16), weight * 111.0))


def test_summed_levels_are_sampled_between_their_cells():
    """A ramp over the coarse level is the same ramp over the fine one, away from the border."""
    coarse = torch.arange(8.0).expand(1, 2, 4, 8)  # x in cells of 8 pixels, less half a cell
    scales = summing_head(2, (4, 8)).level_scales
    total = sum_levels([torch.zeros(1, 2, 8, 16), coarse], scales)
    expected = 2 * ((torch.arange(16.0) + 0.5) / 2 - 0.5)  # the same place, in cells of 4 pixels
    torch.testing.assert_close(total[0, 0, 0, 1:-1], expected[1:-1])


def test_scales_are_no_part_of_a_checkpoint():
    assert set(summing_head().state_dict()) == {
        "embedding.weight",
        "embedding.bias",
        "embedding.unit",
    }
