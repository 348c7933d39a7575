"""The subnet: what is quick on the CPU is the same as what is trained."""

import pytest
import torch
from torch import nn

from semiconv_d2 import EmbeddingHead
from semiconv_d2.modeling.embedding_head import shifted_convolution


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (13, 9)])
def test_a_shifted_convolution_is_a_convolution(side, size):
    conv = nn.Conv2d(6, 4, side, padding=side // 2).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    torch.testing.assert_close(shifted_convolution(x, conv.weight, conv.bias), conv(x))


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


def test_more_hidden_layers():
    head = EmbeddingHead(in_channels=4, hidden_dim=6, hidden_layers=3, embedding_dim=2)
    shapes = [tuple(p.shape) for n, p in head.named_parameters() if n.endswith("weight")]
    assert shapes == [(6, 4, 1, 1), (2, 6, 3, 3), (6, 6, 3, 3), (6, 6, 3, 3)]
    nn.init.normal_(head.embedding.weight)
    x = torch.randn(1, 4, 9, 9)
    hidden = head.hidden(x).relu()
    for layer in (head.deeper[0], head.deeper[2]):
        hidden = layer(hidden).relu()
    torch.testing.assert_close(head([x])[0], head.embedding(hidden))


@pytest.mark.parametrize("options", [{"hidden_layers": 0}, {"hidden_layers": 0, "hidden_dim": 0}])
def test_wrong_numbers_of_layers_are_refused(options):
    with pytest.raises(ValueError, match=r"HIDDEN_LAYERS is \d; it must be at least 1"):
        EmbeddingHead(in_channels=4, **options)
