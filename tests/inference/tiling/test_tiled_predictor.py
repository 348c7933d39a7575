"""A model that looks at large images tile by tile, at the scale that it was trained with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from experiments.benchmarks.mosaics import format_mosaics
from semiconv_d2 import Predictor, get_config_file
from semiconv_d2.cli.predict import main
from semiconv_d2.data.limits import VARIABLE
from semiconv_d2.errors import ConfigError, DatasetError

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "tutorials" / "large_images.md").read_text(encoding="utf-8")
CONFIG = get_config_file("demo_semiconv")
WEIGHTS = "checkpoints/demo_mask_rcnn.pth"
SIDE = 192  # of a training image


def load(**tiles) -> Predictor:
    return Predictor.load(CONFIG, weights=WEIGHTS, device="cpu", **tiles)


@pytest.fixture(scope="module")
def plain() -> Predictor:
    return load()


@pytest.fixture(scope="module")
def tiled() -> Predictor:
    return load(tile="auto", overlap=64)


@pytest.fixture(scope="module")
def worms(datasets_folder) -> np.ndarray:
    """Four images of 192 pixels, with a margin so that no seam lies between them."""
    paths = sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[:4]
    a, b, c, d = (np.asarray(Image.open(path).convert("RGB")) for path in paths)
    return np.pad(np.vstack([np.hstack([a, b]), np.hstack([c, d])]), ((30, 30), (30, 30), (0, 0)))


def same(a, b) -> bool:
    return torch.equal(a.scores, b.scores) and torch.equal(a.pred_masks, b.pred_masks)


@pytest.mark.parametrize("size", [(192, 192), (150, 192), (100, 60)])
def test_an_image_that_fits_into_a_tile_is_seen_as_without_tiles(plain, tiled, worms, size):
    image = worms[40 : 40 + size[0], 40 : 40 + size[1]]
    assert same(tiled(image), plain(image))


def test_tiles_find_what_is_missed_in_one_piece(plain, tiled, worms, caplog):
    alone = [plain(worms[t : t + SIDE, e : e + SIDE]) for t in (30, 222) for e in (30, 222)]
    expected = sum(map(len, alone))
    found = tiled.detect(worms)
    assert found.size == worms.shape[:2]
    assert abs(len(found) - expected) <= 0.1 * expected
    assert len(plain(worms)) < 0.8 * len(found)
    whole = tiled(worms)
    assert whole.pred_masks.shape == (len(found), *worms.shape[:2])
    np.testing.assert_array_equal(whole.pred_masks.sum((1, 2)), [m.area for m in found.masks])


def test_an_image_in_one_large_tile_has_the_scale_of_training(worms):
    whole = load(tile=1000)
    factor = 256 / SIDE
    assert whole.tiling.factor == factor
    height, width = worms.shape[:2]
    by_factor = load(overrides=["INPUT.MIN_SIZE_TEST", str(round(factor * min(height, width)))])
    assert same(whole(worms), by_factor(worms))


def test_a_shrunk_image_is_told_once(worms, caplog):
    predictor = load()
    predictor(worms[:SIDE, :SIDE])
    assert "smaller than in training" not in caplog.text
    predictor(worms)
    predictor(worms)
    assert caplog.text.count("444 × 444 pixels. Resized for the model, its objects are 2.3") == 1
    assert "--tile" in caplog.text


def test_a_tiff_is_read_tile_by_tile(tiled, worms, tmp_path, monkeypatch):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, worms, photometric="rgb", tile=(64, 64), compression="zlib")
    expected = tiled.detect(worms)
    monkeypatch.setenv(VARIABLE, "0.1")  # less than the image
    found = tiled.detect(path)
    assert found.scores.tolist() == expected.scores.tolist()
    with pytest.raises(DatasetError, match="cut it into tiles"):
        load().detect(path)


def test_the_scale_can_be_given(worms):
    given = load(tile=SIDE, overlap=64, scale_factor=1.0)
    assert given.tiling == (SIDE, 64, 1.0)
    unknown = ["INPUT.TRAINED_SIZE", "(0, 0)"]
    assert load(tile=SIDE, scale_factor=2, overrides=unknown).tiling.factor == 2
    with pytest.raises(ConfigError, match=r"how large its training images were.*--scale-factor"):
        load(tile=SIDE, overrides=unknown)
    with pytest.raises(ConfigError, match="such as --tile 1024"):
        load(tile="auto", scale_factor=2, overrides=unknown)
    same_size = [*unknown, "INPUT.MIN_SIZE_TEST", "0"]
    assert load(tile=SIDE, overrides=same_size).tiling.factor == 1


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ({"tile": 0}, "size of a tile is 0"),
        ({"tile": "large"}, "size of a tile is 'large'"),
        ({"tile": 1.5}, "size of a tile is 1.5"),
        ({"tile": 100, "overlap": 51}, "overlap of tiles is 51; it must be from 0 to 50"),
        ({"tile": 100, "scale_factor": 0.0}, "scale factor is 0.0"),
        ({"overlap": 10}, "give tile"),
        ({"scale_factor": 2.0}, "give tile"),
    ],
)
def test_what_cannot_be_is_told(plain, tiles, message):
    with pytest.raises(ConfigError, match=message):
        Predictor(plain.model, trained_scale=plain._trained_scale, **tiles)


def test_a_tile_that_would_fill_the_memory_is_refused(worms, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(DatasetError, match=r"A tile, resized .* limit is 1 million: .*--tile"):
        load(tile=SIDE, overlap=64, scale_factor=50).detect(worms)


def test_the_command(worms, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "slide.tif", worms, photometric="rgb", tile=(64, 64))
    command = [
        *("--model", CONFIG, "--weights", WEIGHTS, "--device", "cpu", "--tile", "--overlap", "64"),
        *("--input", str(tmp_path / "slide.tif"), "--output", str(tmp_path / "pictures")),
    ]
    assert main(command) == 0
    assert (tmp_path / "pictures" / "slide_masks.png").exists()
    found = len(load(tile="auto", overlap=64).detect(worms))
    assert f"1 of 1 inputs, {found} instances." in capsys.readouterr().out


# --- The page on large images


@pytest.mark.slow
def test_the_code_of_the_page_finds_the_worms_of_a_mosaic(tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    sample = np.asarray(Image.open(ROOT / "docs" / "images" / "sample.png").convert("L"))
    tifffile.imwrite(tmp_path / "slide.tif", np.pad(np.tile(sample, (2, 2)), 61), tile=(256, 256))
    for name in ("checkpoints", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(code, scope)
    found = scope["found"]
    assert found.size == (2 * sample.shape[0] + 122, 2 * sample.shape[1] + 122)
    assert 50 <= len(found) <= 62  # 15 worms in each of the four
    assert all(area > 100 for area in scope["areas"])


def test_tiles_find_what_the_page_says():
    content = json.loads((ROOT / "experiments" / "results" / "large_images.json").read_text())
    assert format_mosaics(content) in PAGE
    rows = {(row["wells"], row["way"]): row for row in content["rows"]}
    for wells in (16, 64):
        alone, tiles = (rows[wells, way] for way in ("the wells one by one", "tiles"))
        assert tiles["AP"] >= alone["AP"] - 1
        assert tiles["found"] >= alone["found"]
        assert tiles["again"] <= alone["again"]
    assert rows[16, "tiles"]["at seams"] == 0
    for way in ("SAHI", "supervision"):
        assert all(rows[n, way]["AP"] < rows[n, "tiles"]["AP"] for n in (4, 16))
    large = rows[143, "tiles"]
    assert large["GiB"] < 4
    assert large["height"] == large["width"] == 8192
    pixels = [rows[n, "tiles"]["height"] * rows[n, "tiles"]["width"] for n in (16, 64, 143)]
    seconds = [rows[n, "tiles"]["CPU seconds"] for n in (16, 64, 143)]
    ratios = [second / count for second, count in zip(seconds, pixels, strict=True)]
    assert max(ratios) < 1.5 * min(ratios)  # linear in pixels
