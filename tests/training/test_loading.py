"""Models from configs, weights from checkpoints, and what is said where they do not fit."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager
from torch import nn

from semiconv_d2.errors import ConfigError
from semiconv_d2.training import load_config
from semiconv_d2.training.loading import build_checked, load_trained, reading_weights

STOCK, SHIPPED = "configs/demo_mask_rcnn.yaml", "checkpoints/demo_mask_rcnn.pth"


def build(config: str = STOCK, *overrides) -> nn.Module:
    return build_model(load_config(config, [*overrides, "MODEL.DEVICE", "cpu"]))


@pytest.fixture(scope="module")
def stock() -> nn.Module:
    return build()


def shipped() -> dict[str, torch.Tensor]:
    return torch.load(SHIPPED, weights_only=True)["model"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("MODEL.ROI_HEADS.NAME", "Nope", "No object named 'Nope' found in 'ROI_HEADS' registry"),
        ("MODEL.ROI_HEADS.IN_FEATURES", "['p9']", r"KeyError p9 in roi_heads\.py"),
        ("MODEL.FPN.FUSE_TYPE", "mean", r"AssertionError in fpn\.py, `assert fuse_type"),
        ("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "x", "Unknown pooler type: x"),
    ],
)
def test_a_model_that_cannot_be_says_why(key, value, reason):
    cfg = load_config(STOCK, [key, value])
    with pytest.raises(ConfigError, match=rf"^a\.yaml: {reason}") as caught:
        build_checked(lambda: build_model(cfg), "a.yaml")
    assert "\n" not in str(caught.value)


def truncated(path: Path) -> None:
    path.write_bytes(Path(SHIPPED).read_bytes()[:5000])


def garbage(path: Path) -> None:
    path.write_bytes(b"\xe6garbage" * 100)


def load_weights(model, weights: str) -> None:
    """As in training."""
    with reading_weights(weights):
        DetectionCheckpointer(model).load(weights)


def of_numbers(path: Path) -> None:
    torch.save({"model": {"a": 1}}, path)


@pytest.mark.parametrize("load", [load_weights, load_trained])
@pytest.mark.parametrize("ending", [".pth", ".pkl"])
@pytest.mark.parametrize("write", [truncated, garbage, of_numbers, Path.touch])
def test_broken_files_get_one_clear_error(stock, tmp_path, load, ending, write):
    path = tmp_path / f"broken{ending}"
    write(path)
    with pytest.raises(ConfigError, match=r"broken\.p.* cannot be loaded: .*damaged") as caught:
        load(stock, str(path))
    assert "weights_only" not in str(caught.value)  # PyTorch's advice
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_weights, load_trained])
@pytest.mark.parametrize(
    ("beside", "name"), [(np.float64(3.2), "numpy"), (argparse.Namespace(lr=1), "argparse")]
)
def test_what_is_beside_the_weights_is_named(stock, tmp_path, load, beside, name):
    path = tmp_path / "x.pth"
    torch.save({"model": shipped(), "beside": beside}, path)
    with pytest.raises(
        ConfigError, match=rf"also contains {name}\S+, which PyTorch .*only the wei"
    ):
        load(stock, str(path))
    assert name not in str(torch.load(path, weights_only=False)["model"])  # as the message says


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: weights,
        lambda weights: {"model": {f"module.{key}": value for key, value in weights.items()}},
    ],
    ids=["state_dict", "bare", "module."],
)
def test_weights_are_read_as_others_wrap_them(tmp_path, wrap):
    model, expected = build(), shipped()
    torch.save(wrap(dict(expected)), tmp_path / "x.pth")
    load_trained(model, str(tmp_path / "x.pth"))
    for key, value in model.state_dict().items():
        if key in expected:
            assert torch.equal(value, expected[key].float()), key


@pytest.mark.parametrize("weights", ["https://nowhere.invalid/a.pth", "detectron2://a/b.pkl"])
def test_without_a_network_it_says_what_to_do(stock, monkeypatch, weights):
    def get_local_path(path):
        raise URLError("no network")

    monkeypatch.setattr(PathManager, "get_local_path", get_local_path)
    with pytest.raises(ConfigError, match=r"cannot be fetched: .*name the file in MODEL\.WEIGHTS"):
        load_weights(stock, weights)


def test_another_number_of_classes_is_refused_where_nothing_is_trained():
    model = build(STOCK, "MODEL.ROI_HEADS.NUM_CLASSES", "3")
    load_weights(model, SHIPPED)  # in training the other parameters start anew
    message = r"number of classes is 1, the config's is 3 \(.*cls_score.* \(2, \d+\) in .* \(4,"
    with pytest.raises(ConfigError, match=message):
        load_trained(model, SHIPPED)


def test_other_shapes_are_refused_where_nothing_is_trained():
    model = build(STOCK, "MODEL.ROI_MASK_HEAD.CONV_DIM", "32")
    message = (
        r"mask_fcn1\.weight has the shape \(64, 64, 3, 3\) in the checkpoint, \(32, .* in the model"
    )
    with pytest.raises(ConfigError, match=message):
        load_trained(model, SHIPPED)


def test_missing_parameters_are_refused_but_for_those_just_attached(stock, tmp_path):
    load_trained(build("configs/demo_semiconv.yaml"), SHIPPED)
    backbone = {k: v for k, v in shipped().items() if k.startswith("backbone")}
    torch.save({"model": backbone}, tmp_path / "backbone.pth")
    load_weights(stock, str(tmp_path / "backbone.pth"))
    with pytest.raises(ConfigError, match=r"lack \d+ of the model's parameters, such as proposal_"):
        load_trained(stock, str(tmp_path / "backbone.pth"))


@pytest.mark.parametrize("heuristics", [False, True])
def test_weights_of_the_model_zoo_load(tmp_path, heuristics):
    """Arrays of NumPy, without what Caffe2 does not keep."""
    arrays = {k: v.numpy() for k, v in shipped().items() if "num_batches_tracked" not in k}
    content = {"model": arrays, "__author__": "zoo", "matching_heuristics": heuristics}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(content))
    model = build()
    load_trained(model, str(tmp_path / "zoo.pkl"))
    name = "roi_heads.box_predictor.cls_score.weight"
    torch.testing.assert_close(model.state_dict()[name], torch.from_numpy(arrays[name]).float())
    arrays[name] = arrays[name][:1]
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ConfigError, match="number of classes is 0, the config's is 1"):
        load_trained(model, str(tmp_path / "other.pkl"))
