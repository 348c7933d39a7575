"""Another program loads a shipped config: SAHI, which merges it over Detectron2's bare defaults."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.benchmarks.mosaics import LEAST, with_sahi

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_sahi_cuts_an_image_into_slices(tmp_path, monkeypatch):
    pytest.importorskip("sahi", reason="no SAHI: pip install 'sahi==0.12.*'")
    sample = np.asarray(Image.open(ROOT / "docs" / "images" / "sample.png").convert("L"))
    Image.fromarray(np.vstack([np.hstack([sample] * 2)] * 2)).save(tmp_path / "slide.tif")
    monkeypatch.chdir(ROOT)
    [found] = with_sahi(tmp_path / "slide.tif", None, [LEAST])
    assert len(found) > 30  # 15 worms in each of the four
    assert all(mask.area > 0 for mask in found.masks)
