"""Exported models, compared with PyTorch; and the program of docs/how_to/export.md."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image
from torch import nn

from semiconv_d2 import Predictor
from semiconv_d2.cli import export as command
from semiconv_d2.data.datasets.bbbc010 import read_foreground
from semiconv_d2.data.pixels import Reading
from semiconv_d2.errors import ConfigError, ExportError
from semiconv_d2.inference.export import exporting, formats
from semiconv_d2.inference.export.exporting import export_model
from semiconv_d2.inference.export.networks import network_of
from semiconv_d2.inference.loading import LoadedModel
from semiconv_d2.training import load_config

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how_to" / "export.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "docs" / "images" / "sample.png"
CONFIG = ROOT / "configs" / "bbbc010_small_semiconv.yaml"
SHIPPED = ROOT / "checkpoints" / "bbbc010_small_one_stage.pth"

needs_onnx = pytest.mark.skipif(
    not (find_spec("onnx") and find_spec("onnxruntime")),
    reason="no ONNX: pip install onnx onnxruntime",
)
EXCLUSIVE = ("MODEL.SEMICONV.EXCLUSIVE_MASKS", "True")
FORMATS = ["torchscript", pytest.param("onnx", marks=needs_onnx)]


def export_shipped(form: str, path: Path, *more: str) -> int:
    words = [str(CONFIG), "--weights", str(SHIPPED), "--format", form, "--output", str(path)]
    return command.main([*words, "--images", str(SAMPLE), *more])


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor.load(CONFIG, weights=SHIPPED, device="cpu")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> dict:
    """The names of the page's program, run beside the model that the command exports."""
    pytest.importorskip("onnxruntime", reason="no ONNX: pip install onnx onnxruntime")
    pytest.importorskip("onnx", reason="no ONNX: pip install onnx onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    assert export_shipped("onnx", folder / "model.onnx") == 0
    code = next(c for c in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def find" in c)
    scope: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(code, scope)
    return scope


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_compares_and_describes(form, tmp_path, capsys, shipped):
    path = tmp_path / "new" / "model.bin"
    assert export_shipped(form, path) == 0
    out = capsys.readouterr().out
    assert re.search(r"1071 × 800 pixels, 27 instances: boxes \S+ px, scores \S+, classes 0", out)
    assert "714 × 480 pixels, " in out
    assert "320 × 256 pixels, 0 instances" in out

    about = json.loads(exporting.description_path(path).read_text())
    assert about["format"] == form
    assert about["classes"] == shipped.classes == ["worm"]
    assert about["input"]["resize"]["shorter_side"] == 800
    assert [(x["name"], x["shape"]) for x in about["outputs"]] == [
        ("boxes", ["N", 4]),
        ("scores", ["N"]),
        ("classes", ["N"]),
        ("masks", ["N", 56, 56]),
    ]
    # An image of a size that the command has not tried.
    image = shipped.prepare(SAMPLE)["image"].float()[:, 100:600, 37:801].contiguous()
    outputs = formats.load_network(path.read_bytes(), form)(image.numpy())
    with torch.no_grad():
        [found] = shipped.model.inference([{"image": image}], do_postprocess=False)
    assert len(found) > 10
    np.testing.assert_allclose(outputs[0], found.pred_boxes.tensor, atol=1e-3)
    np.testing.assert_allclose(outputs[1], found.scores, atol=1e-4)
    np.testing.assert_allclose(outputs[3], found.pred_masks[:, 0], atol=1e-3)


def same_instances(found: list, expected, names: list[str]) -> float:
    """Whether a program's instances are a predictor's. Returns the share of pixels, of all masks,
    in which they differ."""
    assert [x[0] for x in found] == [names[i] for i in expected.pred_classes]
    np.testing.assert_allclose([x[1] for x in found], expected.scores, atol=1e-4)
    boxes = np.array([x[2] for x in found]).reshape(-1, 4)
    np.testing.assert_allclose(boxes, expected.pred_boxes.tensor, atol=1e-3)
    masks = np.array([x[3] for x in found]).reshape(-1, *expected.image_size)
    truth = expected.pred_masks.numpy()
    return (masks ^ truth).sum() / max(1, (masks | truth).sum())


def test_the_program_of_the_page_finds_what_the_predictor_finds(program, shipped, tmp_path):
    expected = shipped(SAMPLE)
    assert len(expected) > 10
    assert same_instances(program["find"](SAMPLE), expected, shipped.classes) < 1e-3
    Image.new("RGB", (1500, 300)).save(tmp_path / "black.png")  # limited by its longer side
    assert program["find"](tmp_path / "black.png") == []
    assert program["prepare"](Image.new("RGB", (1500, 300))).shape == (3, 267, 1333)


@pytest.mark.slow
def test_twenty_real_wells(program, shipped, real_bbbc010, tmp_path):
    wells = (real_bbbc010 / "test_wells.txt").read_text().split()[:20]
    for well in wells:
        path = tmp_path / f"{well}.png"
        Image.fromarray(read_foreground(real_bbbc010, well)).save(path)
        expected = shipped(path)
        assert len(expected) > 5
        assert same_instances(program["find"](path), expected, shipped.classes) < 1e-3


def untrained(config: str, *overrides) -> nn.Module:
    """A model with random weights that finds instances with all kinds of scores."""
    keys = ("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "TEST.DETECTIONS_PER_IMAGE", 20)
    keys += ("MODEL.RPN.POST_NMS_TOPK_TEST", 100, *overrides)
    torch.manual_seed(2)
    model = build_model(load_config(str(ROOT / "configs" / f"{config}.yaml"), list(keys))).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("cls_score.weight"):
            nn.init.normal_(parameter, std=0.003)
        elif name.endswith("cls_score.bias"):
            nn.init.constant_(parameter[:1], 2.0)
    return model


def loaded(model: nn.Module, augmentations: tuple = ()) -> LoadedModel:
    return LoadedModel(model, [], list(augmentations), "BGR", Reading(), True)


NOISE = np.random.default_rng(0).integers(0, 256, (150, 210, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("demo_mask_rcnn", ()),
        ("demo_semiconv", ("MODEL.ROI_HEADS.NAME", "StandardROIHeads")),
        ("demo_semiconv", ("MODEL.SEMICONV.COMPETITION", False)),
        ("demo_semiconv", ("MODEL.MASK_ON", False)),
        (
            "demo_semiconv",
            (
                *("MODEL.ROI_HEADS.NAME", "SemiConvCascadeROIHeads"),
                *("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
            ),
        ),
        ("photos_small_semiconv", ("MODEL.ROI_HEADS.NUM_CLASSES", 5, "MODEL.TIMM.WEIGHTS", "")),
    ],
    ids=["stock", "standard", "paper", "boxes", "cascade", "photos"],
)
def test_other_models(form, config, overrides, tmp_path):
    if config.startswith("photos"):
        pytest.importorskip("timm", reason="timm is not installed")
    model = untrained(config, *overrides)
    first, *_ = export_model(loaded(model), form, tmp_path / "model", [NOISE])
    found = int(re.search(r"pixels, (\d+) instances: ", first)[1])
    assert found > 0
    assert ("masks" in first) == ("MODEL.MASK_ON" not in overrides)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("foreground", ["image", "learned"])
def test_coloring_is_exported_without_its_decoder(form, foreground, tmp_path):
    model = untrained("demo_coloring", "MODEL.COLORING.FOREGROUND", foreground)
    export_model(loaded(model), form, tmp_path / "model", [NOISE])
    about = json.loads((tmp_path / "model.json").read_text())
    shapes = {x["name"]: x["shape"] for x in about["outputs"]}
    assert shapes == {"embedding": [8, "height", "width"], "foreground": [1, "height", "width"]}
    assert about["sigma"] == pytest.approx(model.kernel.sigma.item())
    image = torch.rand(3, 77, 101) * 255
    embedding, probability = formats.load_network((tmp_path / "model").read_bytes(), form)(
        image.numpy()
    )
    [expected] = model.color([{"image": image}])
    np.testing.assert_allclose(embedding, expected.embedding, atol=1e-3)
    np.testing.assert_allclose(probability, expected.foreground, atol=1e-3)


@needs_onnx
def test_a_model_that_differs_is_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(formats, "OPSET", 14)  # its ROIAlign is the old one
    assert export_shipped("onnx", tmp_path / "model.onnx") == 1
    assert "error: The exported model differs from PyTorch in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", range(4))
def test_each_output_is_compared(output, tmp_path, monkeypatch, shipped):
    def load(content, form):
        run = formats.load_network(content, form)

        def wrong(image):
            outputs = [x.copy() for x in run(image)]
            if output == 3:
                outputs[3] = 1 - outputs[3]
            else:
                outputs[output] += np.ones(1, outputs[output].dtype)
            return outputs

        return wrong

    monkeypatch.setattr(exporting, "load_network", load)
    model = loaded(shipped.model)
    with pytest.raises(ExportError, match="differs from PyTorch in 2 of 3 images, so no file"):
        export_model(model, "torchscript", tmp_path / "model", [SAMPLE])
    assert list(tmp_path.iterdir()) == []


def test_instances_may_come_in_another_order(tmp_path, monkeypatch, shipped):
    def load(content, form):
        run = formats.load_network(content, form)
        return lambda image: tuple(x[::-1] for x in run(image))

    monkeypatch.setattr(exporting, "load_network", load)
    model = loaded(shipped.model)
    first, *_ = export_model(model, "torchscript", tmp_path / "model", [SAMPLE])
    assert " instances: boxes 0 px" in first


def test_what_cannot_be_exported_is_told_before(tmp_path, monkeypatch, capsys):
    path = tmp_path / "model.onnx"
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert export_shipped("onnx", path) == 1
    assert "pip install onnx onnxruntime" in capsys.readouterr().err

    assert export_shipped("torchscript", tmp_path / "m.ts", "--opts", *EXCLUSIVE) == 1
    assert "EXCLUSIVE_MASKS False" in capsys.readouterr().err

    assert export_shipped("torchscript", tmp_path) == 1
    assert "that is a folder" in capsys.readouterr().err

    assert export_shipped("torchscript", path) == 1
    assert "the ending of another format, onnx: use one such as .ts" in capsys.readouterr().err

    with pytest.raises(ConfigError, match="A Linear cannot be exported"):
        network_of(nn.Linear(1, 1))
    assert list(tmp_path.iterdir()) == []


def test_an_image_or_a_checkpoint_is_never_replaced(tmp_path, capsys):
    image, weights = tmp_path / "image.png", tmp_path / "model.pth"
    for path, message in ((image, "which this command reads"), (weights, "another format")):
        path.write_text("mine")
        words = [str(CONFIG), "--weights", str(weights), "--format", "torchscript"]
        assert command.main([*words, "--output", str(path), "--images", str(image)]) == 1
        assert message in capsys.readouterr().err
        assert path.read_text() == "mine"


def test_images_without_instances_compare_little(tmp_path, shipped):
    black = np.zeros((100, 100), np.uint8)
    lines = export_model(loaded(shipped.model), "torchscript", tmp_path / "model", [black])
    assert "no instances in any image" in lines[-1]
    assert (tmp_path / "model").is_file()
