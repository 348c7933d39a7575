"""Classifiers of timm as backbones."""

from __future__ import annotations

import builtins

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone

from semiconv_d2 import add_semiconv_config
from semiconv_d2.modeling import TimmBackbone

timm = pytest.importorskip("timm", reason="timm is not installed")

NAME = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    model = timm.create_model(NAME).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return model


def save(state, path):
    torch.save(state, path)
    return path


def test_feature_maps_have_the_strides_of_an_fpn():
    for name in (NAME, "resnet18", "convnext_atto"):
        backbone = TimmBackbone(name).eval()
        maps = backbone(torch.zeros(2, 3, 64, 96))
        shapes = backbone.output_shape()
        assert list(maps) == list(shapes) == ["res2", "res3", "res4", "res5"]
        for stage, stride in zip(shapes, (4, 8, 16, 32), strict=True):
            assert shapes[stage].stride == stride
            assert maps[stage].shape == (2, shapes[stage].channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize("renamed", [False, True])
def test_weights_of_a_classifier_give_its_features(classifier, tmp_path, renamed):
    state = classifier.state_dict()
    if renamed:
        state = {f"other_{i}": v for i, v in enumerate(state.values())}
    backbone = TimmBackbone(NAME, save(state, tmp_path / "weights.pth")).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = classifier.forward_intermediates(x, intermediates_only=True)
        found = backbone(x)
    for stage, values in zip(("res2", "res3", "res4", "res5"), expected[1:], strict=True):
        torch.testing.assert_close(found[stage], values)


def test_frozen_statistics_stay_in_training(tmp_path):
    x = torch.rand(2, 3, 64, 64)
    for freeze in (True, False):
        backbone = TimmBackbone(NAME, freeze_norm=freeze).train()
        before = {k: v.clone() for k, v in backbone.state_dict().items()}
        backbone(x)
        changed = [k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])]
        assert bool(changed) != freeze


@pytest.mark.parametrize("name", [NAME, "resnet18", "convnext_atto"])
@pytest.mark.parametrize("freeze_at", [0, 2, 4])
def test_frozen_stages_get_no_gradient(name, freeze_at):
    backbone = TimmBackbone(name, freeze_at=freeze_at, freeze_norm=False).train()
    maps = backbone(torch.rand(2, 3, 64, 64))
    for stage, values in maps.items():
        assert values.requires_grad == (int(stage[-1]) > freeze_at)
    maps["res5"].sum().backward()
    first, *_, last = backbone.parameters()
    assert (first.grad is None) == (first.requires_grad is False) == bool(freeze_at)
    assert last.grad is not None


def test_freezing_leaves_the_network_as_it_is(classifier, tmp_path):
    weights = save(classifier.state_dict(), tmp_path / "weights.pth")
    for freeze_norm in (True, False):
        plain = TimmBackbone(NAME, weights, freeze_norm=freeze_norm)
        frozen = TimmBackbone(NAME, weights, freeze_at=3, freeze_norm=freeze_norm)
        assert [m.training for m in plain.modules()] == [m.training for m in frozen.modules()]
        state = frozen.state_dict()
        assert all(torch.equal(v, state[k]) for k, v in plain.state_dict().items())


def test_the_config_builds_a_mask_rcnn():
    cfg = get_cfg()
    add_semiconv_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.BACKBONE.NAME = "build_timm_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 32
    assert cfg.MODEL.BACKBONE.FREEZE_AT == 2
    backbone = build_backbone(cfg, ShapeSpec(channels=3)).eval()
    assert not backbone.bottom_up(torch.zeros(1, 3, 64, 64))["res2"].requires_grad
    maps = backbone(torch.zeros(1, 3, 64, 64))
    assert {k: v.shape[1:] for k, v in maps.items()} == {
        f"p{level}": (32, 64 // 2**level, 64 // 2**level) for level in range(2, 7)
    }


def test_bad_values_are_told(classifier, tmp_path):
    with pytest.raises(ValueError, match=r"MODEL\.TIMM\.NAME is 'nonsense': Unknown model"):
        TimmBackbone("nonsense")
    with pytest.raises(ValueError, match=r"'vit_tiny_patch16_224', whose feature maps have the"):
        TimmBackbone("vit_tiny_patch16_224")
    with pytest.raises(
        ValueError, match=r"MODEL\.BACKBONE\.FREEZE_AT is 1; for a backbone of timm"
    ):
        TimmBackbone(NAME, freeze_at=1)
    with pytest.raises(FileNotFoundError, match=r"MODEL\.TIMM\.WEIGHTS is missing\.pth"):
        TimmBackbone(NAME, "missing.pth")
    path = save(classifier.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="296 tensors do not match the 122 of resnet18"):
        TimmBackbone("resnet18", path)
    path = save({"epoch": 3, "lr": 0.1}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="2 tensors do not match the 122 of resnet18"):
        TimmBackbone("resnet18", path)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_weights_of_a_training(classifier, tmp_path, key):
    state = classifier.state_dict()
    plain = TimmBackbone(NAME, save(state, tmp_path / "plain.pth")).state_dict()
    nested = TimmBackbone(NAME, save({"epoch": 3, key: state}, tmp_path / "nested.pth"))
    assert all(torch.equal(v, plain[k]) for k, v in nested.state_dict().items())


def test_without_timm_the_way_out_is_told(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "timm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install timm"):
        TimmBackbone(NAME)
