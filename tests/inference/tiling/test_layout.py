"""Where tiles lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from semiconv_d2.inference.tiling.layout import Tiling, TrainedScale

KEYS = {"MIN_SIZE_TEST": 800, "MAX_SIZE_TEST": 1333, "TRAINED_SIZE": (520, 696)}


@pytest.mark.parametrize("size", [(1, 1), (100, 100), (101, 350), (1000, 99), (257, 258)])
@pytest.mark.parametrize("overlap", [0, 10, 50])
def test_tiles_cover_the_image_and_overlap(size, overlap):
    tiling = Tiling(100, overlap, 1.0)
    cover = np.zeros(size, dtype=int)
    for tile in tiling.tiles(size):
        cover[tile.slices] += 1
        assert tile.bottom - tile.top == min(100, size[0])
        assert tile.right - tile.left == min(100, size[1])
    assert cover.min() == 1
    for axis in (0, 1):
        starts = sorted({tile[axis] for tile in tiling.tiles(size)})
        assert all(b - a <= 100 - overlap for a, b in itertools.pairwise(starts))
        least = -(-max(0, size[axis] - 100) // (100 - overlap)) + 1
        assert len(starts) == least


def test_the_scale_is_that_of_a_training_image():
    scale = TrainedScale.of(KEYS | {"TRAINED_LENGTH": 131})
    assert scale == (800 / 520, 696, 131)
    long = TrainedScale.of(KEYS | {"TRAINED_SIZE": (500, 2000)})
    assert long == (1333 / 2000, 2000, 0)
    assert TrainedScale.of(KEYS | {"TRAINED_SIZE": (0, 0)}) == (None, 0, 0)


def test_the_overlap_holds_an_instance_and_its_surroundings():
    scale = TrainedScale.of(KEYS | {"TRAINED_LENGTH": 131})
    assert Tiling.choose("auto", trained=scale) == (696, 196, 800 / 520)
    assert Tiling.choose(200, trained=scale).overlap == 100
    assert Tiling.choose(200, factor=1, trained=TrainedScale()).overlap == 50


def test_objects_of_another_magnification_have_another_length():
    scale = TrainedScale(2.0, 696, 100)
    assert Tiling.choose("auto", factor=1.0, trained=scale).overlap == 300
    assert Tiling.choose("auto", factor=4.0, trained=scale).overlap == 75


def test_an_overlap_shorter_than_objects_is_told(caplog):
    scale = TrainedScale(2.0, 696, 100)
    Tiling.choose(300, 100, trained=scale)
    Tiling.choose(64, trained=TrainedScale(2.0, 696, 0))  # the length is not known
    assert not caplog.records
    Tiling.choose(64, trained=scale)
    assert "Tiles of 64 pixels share 32, but objects are up to 100 long" in caplog.text
    assert "--tile 300" in caplog.text
