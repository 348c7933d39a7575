"""Another program loads a shipped config: SAHI, which merges it over Detectron2's bare defaults."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorials" / "large_images.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sahi_cuts_an_image_into_slices(tmp_path, monkeypatch):
    pytest.importorskip("sahi", reason="no SAHI: pip install 'sahi==0.12.*'")
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    sample = np.asarray(Image.open(ROOT / "docs" / "images" / "sample.png").convert("RGB"))
    Image.fromarray(np.vstack([np.hstack([sample] * 2)] * 2)).save(tmp_path / "slide.png")
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(code, scope)
    assert type(scope["model"].model.model.roi_heads).__name__ == "SemiConvROIHeads"
    found = scope["found"].object_prediction_list
    assert len(found) > 30  # 15 worms in each of the four
    assert all(one.mask is not None for one in found)
    assert list((tmp_path / "pictures").iterdir())
