"""The checkpoints that are shipped fit their configs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from detectron2.modeling import build_model

from semiconv_d2 import Predictor
from semiconv_d2.data.datasets.bbbc010 import find_worms, read_foreground, read_worm
from semiconv_d2.inference.options import SHIPPED
from semiconv_d2.training import load_config
from semiconv_d2.training.loading import load_trained

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDER = Path(__file__).resolve().parents[2] / "checkpoints"
CONFIGS = {
    "demo_mask_rcnn": "demo_mask_rcnn",
    "crossing_worms": "demo_mask_rcnn",
    "bbbc010_small_mask_rcnn": "bbbc010_small_mask_rcnn",
    "bbbc010_small_fit": "bbbc010_small_mask_rcnn",
    "bbbc010_small_one_stage": "bbbc010_small_semiconv",
}


def test_every_checkpoint_has_its_config():
    assert sorted(CONFIGS) == sorted(path.stem for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_checkpoint_lacks_nothing(name):
    model = build_model(load_config(f"configs/{CONFIGS[name]}.yaml", ["MODEL.DEVICE", "cpu"]))
    load_trained(model, str(FOLDER / f"{name}.pth"))  # which raises where weights are missing


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_with_a_name_has_its_card(name):
    config, weights = SHIPPED[name]
    file = FOLDER.parent / weights
    _, _, card = (DOCS / "reference" / "models.md").read_text().partition(f"\n## {name}\n")
    card, _, _ = card.partition("\n## ")
    size = file.stat().st_size
    assert size < 8e6
    assert f"`{weights}`, half precision, {size / 1e6:.1f} MB" in card
    assert f"`configs/{config}.yaml`" in card
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card


def test_the_shipped_model_finds_the_worms_of_a_test_well(real_bbbc010):
    well = "C04"
    foreground = read_foreground(real_bbbc010, well)
    worms = np.stack([read_worm(p, foreground.shape) for p in find_worms(real_bbbc010)[well]])
    weights = FOLDER / "bbbc010_small_one_stage.pth"
    predictor = Predictor.load("bbbc010_small_semiconv", weights=weights)
    found = predictor(np.repeat(foreground[..., None], 3, axis=2))
    masks = found.pred_masks[found.scores > 0.5].numpy()
    ious = np.array([[(m & w).sum() / (m | w).sum() for m in masks] for w in worms])
    assert predictor.trained_embedding
    assert len(masks) < 1.3 * len(worms)
    assert np.mean(ious.max(axis=1) > 0.75) > 0.8
