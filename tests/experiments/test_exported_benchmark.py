"""Exported models beside PyTorch: the table, and that a difference is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.benchmarks import exported
from experiments.documents.tables import FORMATS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def crop(tmp_path, monkeypatch) -> Path:
    """A part of the sample image, and one model and one format, which is always there."""
    config, weights = exported.MODELS["SemiConv"]
    monkeypatch.setattr(exported, "MODELS", {"SemiConv": (config, ROOT / weights)})
    monkeypatch.setattr(exported, "FORMATS", {"TorchScript": "torchscript"})
    Image.open(ROOT / "docs" / "images" / "sample.png").crop((0, 80, 350, 300)).save(
        tmp_path / "crop.png"
    )
    return tmp_path / "crop.png"


def test_the_table_has_times_and_differences(crop):
    content = exported.compare_exported([crop], repeats=1)
    pytorch, traced = content["rows"]
    assert pytorch[0] == "SemiConv, PyTorch"
    assert pytorch[1] > 0
    assert traced[1] > 0
    assert traced[2] < 1
    assert traced[3] < 10
    assert traced[4] < 1000
    assert "SemiConv, TorchScript" in FORMATS["table"](content)


def test_masks_that_differ_are_measured(crop, monkeypatch):
    def load(content, form):
        def halved(image):
            boxes, scores, classes, masks = run(image)
            masks = masks.copy()
            masks[..., : masks.shape[-1] // 2] = 0
            return boxes + np.float32(1), scores, classes, masks

        run = original(content, form)
        return halved

    original = exported.load_network
    monkeypatch.setattr(exported, "load_network", load)
    _, traced = exported.compare_exported([crop], repeats=1)["rows"]
    assert traced[2] > 200
    assert traced[4] > 100_000
