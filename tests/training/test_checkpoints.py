"""The checkpoints that are shipped fit their configs."""

from __future__ import annotations

from pathlib import Path

import pytest
from detectron2.modeling import build_model

from semiconv_d2.training import load_config
from semiconv_d2.training.loading import load_trained

FOLDER = Path(__file__).resolve().parents[2] / "checkpoints"
CONFIGS = {
    "demo_mask_rcnn": "demo_mask_rcnn",
    "bbbc010_small_mask_rcnn": "bbbc010_small_mask_rcnn",
    "bbbc010_small_fit": "bbbc010_small_mask_rcnn",
}


def test_every_checkpoint_has_its_config():
    assert sorted(CONFIGS) == sorted(path.stem for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_checkpoint_lacks_nothing(name):
    model = build_model(load_config(f"configs/{CONFIGS[name]}.yaml", ["MODEL.DEVICE", "cpu"]))
    load_trained(model, str(FOLDER / f"{name}.pth"))  # which raises where weights are missing
