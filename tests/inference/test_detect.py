"""`Predictor.detect` finds what `Predictor.__call__` finds, and makes no whole masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling import GeneralizedRCNNWithTTA, build_model
from detectron2.structures import ROIMasks
from torch import nn

from semiconv_d2 import Predictor
from semiconv_d2.cli import main
from semiconv_d2.data.datasets.bbbc010 import read_foreground
from semiconv_d2.inference.detections import Detections
from semiconv_d2.inference.outputs.coco import coco_results
from semiconv_d2.training import load_config

KINDS = {
    "as it is": (),
    "stock": ("MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
    "exclusive": ("MODEL.SEMICONV.EXCLUSIVE_MASKS", "True"),
    "mask score": ("MODEL.SEMICONV.MASK_SCORE", "True"),
    "class-agnostic": ("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", "True"),
    "boxes": ("MODEL.MASK_ON", "False"),
    "more than fits": ("TEST.DETECTIONS_PER_IMAGE", "300"),
}
SMALL = ("INPUT.MIN_SIZE_TEST", "192")


def check(predictor: Predictor, image: Path | np.ndarray, least: int = 1) -> None:
    expected, found = Detections.of(predictor(image)), predictor.detect(image)
    assert found.size == expected.size
    assert len(found) == len(expected) >= least
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    if expected.masks is None:
        assert found.masks is None
        return
    assert len(found.masks) == len(found)
    for own, other in zip(found.masks, expected.masks, strict=True):
        assert own[:2] == other[:2]
        np.testing.assert_array_equal(own.pixels, other.pixels)


@pytest.fixture(scope="module")
def worms(datasets_folder) -> Path:
    return sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[0]


@pytest.fixture
def no_whole_masks(monkeypatch):
    def fail(*_):
        raise AssertionError("masks of the whole image were made")

    monkeypatch.setattr(ROIMasks, "to_bitmasks", fail)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_instances_of_every_kind_of_model(kind, threshold, worms):
    predictor = Predictor.load(
        "demo_semiconv",
        weights="checkpoints/demo_mask_rcnn.pth",
        score_threshold=threshold,
        overrides=[*SMALL, *KINDS[kind]],
    )
    check(predictor, worms, least=2)


def test_a_cascade(worms, tmp_path):
    """The shipped model's box head three times."""
    weights = torch.load("checkpoints/demo_mask_rcnn.pth", weights_only=True)["model"]
    for name in ("roi_heads.box_head.", "roi_heads.box_predictor."):
        for key in [k for k in weights if k.startswith(name)]:
            values = weights.pop(key)
            one_box = values[:4] if "bbox_pred" in key else values
            weights |= {key.replace(name, f"{name}{i}."): one_box for i in range(3)}
    torch.save({"model": weights}, tmp_path / "cascade.pth")
    predictor = Predictor.load(
        "demo_semiconv",
        weights=tmp_path / "cascade.pth",
        overrides=[
            *SMALL,
            *("MODEL.ROI_HEADS.NAME", "SemiConvCascadeROIHeads"),
            *("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True"),
        ],
    )
    check(predictor, worms, least=2)


@pytest.mark.parametrize("weights", ["one_stage", "mask_rcnn"])
@pytest.mark.parametrize("well", ["A05", "C17", "D11"])
def test_the_same_instances_in_real_wells(real_bbbc010, weights, well):
    predictor = Predictor.load(
        "bbbc010_small_semiconv", weights=f"checkpoints/bbbc010_small_{weights}.pth"
    )
    check(predictor, read_foreground(real_bbbc010, well), least=5)


def test_no_instances(worms):
    predictor = Predictor.load(
        "demo_semiconv",
        weights="checkpoints/demo_mask_rcnn.pth",
        score_threshold=1,
        overrides=SMALL,
    )
    assert predictor.detect(worms).masks == ()
    check(predictor, worms, least=0)


def test_whole_masks_are_not_made(worms, no_whole_masks):
    predictor = Predictor.load(
        "demo_semiconv",
        weights="checkpoints/demo_mask_rcnn.pth",
        overrides=[*SMALL, "MODEL.SEMICONV.EXCLUSIVE_MASKS", "True"],
    )
    assert len(predictor.detect(worms)) > 2
    with pytest.raises(AssertionError, match="whole image"):
        predictor(worms)


@pytest.mark.parametrize("kind", ["as it is", "boxes"])
def test_results_are_those_that_detectron2_writes(kind, worms):
    predictor = Predictor.load(
        "demo_semiconv",
        weights="checkpoints/demo_mask_rcnn.pth",
        overrides=[*SMALL, *KINDS[kind]],
    )
    expected = instances_to_coco_json(predictor(worms), 7)
    assert len(expected) > 2
    assert coco_results(predictor.detect(worms), 7) == expected
    assert coco_results(predictor.detect(worms)[[]], 7) == []


def test_the_command_makes_whole_masks_for_pictures_only(worms, tmp_path, no_whole_masks, capsys):
    command = ["predict", "--model", "demo_semiconv", "--input", str(worms)]
    path = tmp_path / "results.json"
    options = ["--json", str(path), "--opts", *SMALL]
    assert main([*command, *options]) == 0
    assert len(json.loads(path.read_text())) > 2
    with pytest.raises(AssertionError, match="whole image"):
        main([*command, "--output", str(tmp_path / "pictures"), *options])


def test_coloring_has_whole_masks(worms):
    cfg = load_config("configs/demo_coloring.yaml", ["MODEL.WEIGHTS", "", *SMALL])
    check(Predictor(build_model(cfg), score_threshold=0), worms)


def test_models_of_other_kinds(worms):
    loaded = Predictor.load(
        "demo_semiconv", weights="checkpoints/demo_mask_rcnn.pth", overrides=SMALL
    )
    cfg = load_config("configs/demo_semiconv.yaml", [*SMALL, "TEST.AUG.MIN_SIZES", "(160, 192)"])
    check(Predictor(GeneralizedRCNNWithTTA(cfg, loaded.model)), worms, least=2)
    check(Predictor(Wrapped(loaded.model)), worms, least=2)


class Wrapped(nn.Module):
    """Somebody's own model around another one, with a result of its own."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: list[dict]) -> list[dict]:
        [output] = self.model(inputs)
        return [{"instances": output["instances"][1:]}]
