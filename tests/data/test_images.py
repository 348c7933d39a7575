from __future__ import annotations

import numpy as np
import pytest
from own_images import save

from semiconv_d2.data.images import read_8bit


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_stretching_cuts_off_the_extremes(tmp_path, kind):
    pixels = np.tile(np.arange(100, 600), (4, 1)).astype(kind)
    pixels[0, 0], pixels[-1, -1] = 0, 60000
    save(tmp_path / "x.tif", pixels)
    read = read_8bit(tmp_path / "x.tif")
    assert read.dtype == np.uint8
    assert read[1, 250] == pytest.approx(127.5, abs=2)
    assert (read[0, 0], read[-1, -1]) == (0, 255)
    save(tmp_path / "flat.tif", np.full((3, 4), 7, kind))
    assert (read_8bit(tmp_path / "flat.tif") == 0).all()


def test_fractions_that_are_no_numbers_are_black(tmp_path):
    pixels = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    pixels[0, -1] = np.nan
    save(tmp_path / "x.tif", pixels)
    assert read_8bit(tmp_path / "x.tif")[0, -1] == 0
    save(tmp_path / "none.tif", np.full((3, 4), np.nan, np.float32))
    assert (read_8bit(tmp_path / "none.tif") == 0).all()
