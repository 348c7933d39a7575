"""Models that were made faster compute the same."""

from __future__ import annotations

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from semiconv_d2.modeling.fast import (
    fold_norms,
    has_bfloat16,
    has_mixed_precision,
    make_fast,
    train_in_bfloat16,
    use_bfloat16,
)


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


def test_training_in_bfloat16_rounds_convolutions_and_no_regions(make_model, make_batch, losses_of):
    model = make_model()
    train_in_bfloat16(model)
    kinds: dict[str, set] = {"pooled from": set(), "convolved": set(), "predicted": set()}

    def note(kind):
        def hook(module, inputs, output):
            x = inputs[0] if kind == "pooled from" else output
            kinds[kind].update(y.dtype for y in (x if isinstance(x, list) else [x]))

        return hook

    heads = model.roi_heads
    for pooler in (heads.box_pooler, heads.mask_pooler):
        pooler.register_forward_hook(note("pooled from"))
    for convolution in (model.backbone.bottom_up.stem.conv1, heads.mask_head.mask_fcn1):
        convolution.register_forward_hook(note("convolved"))
    losses = losses_of(model, make_batch(2, 1))
    sum(losses.values()).backward()
    assert kinds["pooled from"] == {torch.float32}
    assert kinds["convolved"] == {torch.bfloat16}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}

    heads.mask_head.predictor.register_forward_hook(note("predicted"))
    with torch.no_grad():
        model.eval()(make_batch(2))
    assert kinds["predicted"] == {torch.float32}


@pytest.mark.parametrize("device", ["cuda", "mps", "meta"])
def test_mixed_precision_is_for_known_devices(device):
    assert has_mixed_precision(torch.device(device)) is (device == "cuda")
