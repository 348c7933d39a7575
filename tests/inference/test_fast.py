"""`fast` finds the same instances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.layers import Conv2d

from semiconv_d2 import Predictor
from semiconv_d2.cli import main
from semiconv_d2.data.mask_windows import MaskWindow

MODEL = ("demo_semiconv", "checkpoints/demo_mask_rcnn.pth")
SIZE = ("INPUT.MIN_SIZE_TEST", "192")


def load(*, fast: bool) -> Predictor:
    name, weights = MODEL
    return Predictor.load(name, weights=weights, overrides=SIZE, fast=fast)


@pytest.fixture(scope="module")
def worms(datasets_folder) -> list[Path]:
    return sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[:3]


def iou(a: MaskWindow, b: MaskWindow) -> float:
    return a.overlap(b) / (a.area + b.area - a.overlap(b))


def norms(predictor: Predictor) -> list:
    layers = predictor.model.modules()
    return [m for m in layers if isinstance(m, Conv2d) and m.norm is not None]


@pytest.mark.parametrize("bfloat16", [False, True])
def test_fast_models_find_the_same_instances(worms, monkeypatch, bfloat16):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
    plain, fast = load(fast=False), load(fast=True)
    assert norms(plain)
    assert not norms(fast)
    ious = []
    for path in worms:
        expected, found = plain.detect(path), fast.detect(path)
        assert found.scores.dtype == np.float32
        whole = fast(path)
        assert torch.equal(whole.scores, torch.from_numpy(found.scores))
        for window, mask in zip(found.masks, whole.pred_masks, strict=True):
            np.testing.assert_array_equal(window.whole(found.size), mask)
        ious += [max(iou(a, b) for b in found.masks) for a in expected.masks]
        assert len(fast.explain(path).instances) == len(found)
    assert len(ious) > 8
    assert np.median(ious) > (0.97 if bfloat16 else 0.999)


def test_the_command_makes_models_fast(worms, tmp_path):
    name, weights = MODEL
    scores = {}
    for options in ((), ("--fast",)):
        path = tmp_path / "results.json"
        arguments = [
            *("predict", "--model", name, "--weights", weights, "--input", str(worms[0])),
            *("--json", str(path), *options, "--opts", *SIZE),
        ]
        assert main(arguments) == 0
        scores[options] = [result["score"] for result in json.loads(path.read_text())]
    expected = load(fast=True).detect(worms[0]).scores.tolist()
    assert scores["--fast",] == expected
    assert scores[()] != expected
