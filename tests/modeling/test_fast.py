"""Models that were made faster compute the same."""

from __future__ import annotations

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from semiconv_d2.modeling.fast import fold_norms, has_bfloat16, make_fast, use_bfloat16


class Small(nn.Module):
    def __init__(self, norm: nn.Module | None, bias: bool):
        super().__init__()
        self.conv = Conv2d(3, 6, 3, stride=2, bias=bias, norm=norm, activation=nn.ReLU())

    def forward(self, x):
        return self.conv(x)


def trained(norm: nn.Module) -> nn.Module:
    """Normalisation by statistics and weights that matter."""
    for name in ("running_mean", "bias", "running_var", "weight"):
        values = getattr(norm, name)
        if values is not None:
            values.data.copy_(torch.rand(6) + (name in ("running_var", "weight")))
    return norm


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.BatchNorm2d(6, eps=0.1),
        lambda: nn.BatchNorm2d(6, affine=False),
        lambda: nn.SyncBatchNorm(6),
        lambda: FrozenBatchNorm2d(6, eps=0.1),
    ],
    ids=["batch", "plain", "sync", "frozen"],
)
def test_folded_normalisation_computes_the_same(norm, bias):
    model = Small(trained(norm()), bias).eval()
    images = torch.randn(2, 3, 9, 11)
    with torch.no_grad():
        before = model(images)
        assert fold_norms(model) == 1
        assert model.conv.norm is None
        torch.testing.assert_close(model(images), before)
        assert before.std() > 0.1


@pytest.mark.parametrize(
    "norm",
    [None, nn.GroupNorm(2, 6), nn.BatchNorm2d(6, track_running_stats=False)],
    ids=["none", "group", "batch statistics"],
)
def test_other_normalisation_stays(norm):
    model = Small(norm, bias=True).eval()
    weight = model.conv.weight.clone()
    assert fold_norms(model) == 0
    assert model.conv.norm is norm
    assert torch.equal(model.conv.weight, weight)


def test_only_the_backbone_computes_in_bfloat16(make_model, make_batch):
    model, batch = make_model().eval(), make_batch(2, 1)
    seen = []
    model.roi_heads.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    with torch.no_grad():
        model(batch)
        use_bfloat16(model, "cpu")
        model(batch)
    plain, fast = seen
    assert plain.keys() == fast.keys()
    for name, features in fast.items():
        assert features.dtype == torch.float32
        error = (features - plain[name]).norm() / plain[name].norm()
        assert 1e-5 < error < 0.1


@pytest.mark.parametrize("supported", [False, True])
def test_bfloat16_is_used_where_the_device_has_it(make_model, monkeypatch, supported):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert has_bfloat16(torch.device("cpu")) == supported
    model = make_fast(make_model())
    assert not model.training
    assert ("forward" in vars(model.backbone)) == supported


@pytest.mark.parametrize(("capability", "supported"), [((7, 5), False), ((8, 0), True)])
def test_bfloat16_of_gpus(monkeypatch, capability, supported):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_bfloat16(torch.device("cuda")) == supported
    assert not has_bfloat16(torch.device("mps"))
