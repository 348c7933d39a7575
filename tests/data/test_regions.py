"""Parts of images have the pixels that the whole image has."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from PIL import Image

from semiconv_d2.data.limits import VARIABLE
from semiconv_d2.data.pixels import IntensityRange, Reading, read_rgb
from semiconv_d2.data.regions import WholeImage, open_regions
from semiconv_d2.errors import DatasetError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (100, 130, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 4000, (100, 130), dtype=np.uint16)
TILES = {"tile": (32, 48), "compression": "zlib"}
PARTS = [
    (slice(0, 100), slice(0, 130)),
    (slice(31, 70), slice(47, 97)),
    (slice(99, 100), slice(0, 1)),
]


def with_pages(path):
    tifffile.imwrite(
        path, np.stack([DEEP, DEEP // 2, DEEP // 3]), photometric="minisblack", **TILES
    )


def with_imagej(path):
    tifffile.imwrite(path, np.stack([DEEP, DEEP // 2, DEEP // 3]), imagej=True)


def with_pyramid(path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(COLOURS, photometric="rgb", subifds=1, **TILES)
        tiff.write(COLOURS[::2, ::2], photometric="rgb", subfiletype=1, **TILES)


def tiff(values, **options):
    return lambda path: tifffile.imwrite(path, values, **options)


STORED = {
    "tiles": tiff(COLOURS, photometric="rgb", **TILES),
    "tiles that are not compressed": tiff(COLOURS, photometric="rgb", tile=(32, 48)),
    "strips": tiff(COLOURS, photometric="rgb", rowsperstrip=7, compression="zlib"),
    "one piece": tiff(COLOURS, photometric="rgb"),
    "planes": tiff(
        np.moveaxis(COLOURS, 2, 0).copy(), photometric="rgb", planarconfig="separate", **TILES
    ),
    "planes in one piece": tiff(
        np.moveaxis(COLOURS, 2, 0).copy(), photometric="rgb", planarconfig="separate"
    ),
    "alpha": tiff(
        np.dstack([COLOURS, COLOURS[..., 0]]), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "grey": tiff(COLOURS[..., 0], photometric="minisblack", **TILES),
    "white is zero": tiff(COLOURS[..., 0], photometric="miniswhite", **TILES),
    "16 bits": tiff(DEEP, **TILES),
    "16 bits, other byte order": tiff(DEEP, byteorder=">"),
    "16 bits, other byte order, tiles": tiff(DEEP, byteorder=">", **TILES),
    "16 bits, white is zero": tiff(DEEP, photometric="miniswhite"),
    "fractions": tiff((DEEP / 7).astype(np.float32), **TILES),
    "BigTIFF": tiff(COLOURS, photometric="rgb", bigtiff=True, **TILES),
    "pages": with_pages,
    "a stack of ImageJ": with_imagej,
    "three pages in one": with_pages,
    "pages in one piece": lambda path: [
        tifffile.imwrite(path, DEEP // n, photometric="minisblack", append=n > 1) for n in (1, 2, 3)
    ],
    "a pyramid": with_pyramid,
}  # fmt: skip
READINGS = {
    "pages": Reading(pages=(1,)),
    "three pages in one": Reading(pages=(2, 0, 1)),
    "pages in one piece": Reading(pages=(2,)),
    "a stack of ImageJ": Reading(pages=(2, 0, 1)),
}


@pytest.mark.parametrize("name", STORED)
def test_a_tiff_is_read_in_parts(tmp_path, monkeypatch, name):
    path, reading = tmp_path / "a.tif", READINGS.get(name, Reading())
    STORED[name](path)
    whole = read_rgb(path, reading)
    monkeypatch.setenv(VARIABLE, "0.01")  # less than the image, more than a tile
    with open_regions(path, reading) as regions:
        assert not isinstance(regions, WholeImage)
        assert regions.size == whole.shape[:2]
        for rows, columns in PARTS:
            part = regions.read(rows, columns)
            assert part.dtype == np.uint8
            np.testing.assert_array_equal(part, whole[rows, columns])


WHOLE = {
    "a.png": lambda path: Image.fromarray(COLOURS).save(path),
    "palette.tif": lambda path: Image.fromarray(COLOURS).convert("P").save(path),
    "one_bit.tif": lambda path: Image.fromarray(COLOURS).convert("1").save(path),
    "turned.tif": lambda path: tifffile.imwrite(
        path, COLOURS, photometric="rgb", extratags=[(274, "H", 1, 6, True)]
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_other_files_are_read_whole(tmp_path, monkeypatch, name):
    path = tmp_path / name
    WHOLE[name](path)
    whole = read_rgb(path)
    with open_regions(path) as regions:
        assert regions.size == whole.shape[:2]
        np.testing.assert_array_equal(regions.read(*PARTS[1]), whole[PARTS[1]])
    monkeypatch.setenv(VARIABLE, "0.01")
    with pytest.raises(DatasetError, match=r"cannot be read in parts, since it.*: save it as"):
        open_regions(path).__enter__()


def write_lzw(path):
    Image.fromarray(COLOURS).save(path, compression="tiff_lzw", tiffinfo={278: 20})


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs is installed")
def test_some_compressions_need_a_package(tmp_path, monkeypatch):
    write_lzw(tmp_path / "a.tif")
    with open_regions(tmp_path / "a.tif") as regions:
        np.testing.assert_array_equal(regions.read(*PARTS[1]), COLOURS[PARTS[1]])
    monkeypatch.setenv(VARIABLE, "0.01")
    with pytest.raises(DatasetError, match="pip install imagecodecs"):
        open_regions(tmp_path / "a.tif").__enter__()


def test_with_that_package_they_are_read_in_parts(tmp_path):
    pytest.importorskip("imagecodecs", reason="no imagecodecs: pip install imagecodecs")
    write_lzw(tmp_path / "lzw.tif")
    smooth = np.repeat(np.repeat(COLOURS[::10, ::10], 10, axis=0), 10, axis=1)[:96, :128]
    tifffile.imwrite(
        tmp_path / "jpeg.tif", smooth, photometric="ycbcr", compression="jpeg", tile=(32, 32)
    )
    for name in ("lzw.tif", "jpeg.tif"):
        with open_regions(tmp_path / name) as regions:
            assert not isinstance(regions, WholeImage)
            part = regions.read(slice(10, 80), slice(5, 90)).astype(int)
        assert np.abs(part - read_rgb(tmp_path / name)[10:80, 5:90]).max() <= 3


def test_the_limit_is_that_of_a_tile(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", COLOURS, photometric="rgb", compression="zlib")
    monkeypatch.setenv(VARIABLE, "0.01")  # one strip has the whole image
    with pytest.raises(DatasetError, match=r"a\.tif: a tile or strip of it has 100 × 130 pixels"):
        open_regions(tmp_path / "a.tif").__enter__()


def test_a_damaged_tile_is_told(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOURS, photometric="rgb", **TILES)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[place : place + 20] = b"\0" * 20
    path.write_bytes(content)
    with open_regions(path) as regions:
        regions.read(slice(0, 10), slice(0, 10))
        with pytest.raises(DatasetError, match=r"cannot read the image .*a\.tif"):
            regions.read(slice(90, 100), slice(120, 130))


@pytest.mark.parametrize("kind", ["percentiles 1 99", "bounds 100 3000", "full"])
def test_intensities_are_those_of_the_whole_image(tmp_path, kind):
    values = np.sort(DEEP.ravel()).reshape(DEEP.shape)  # dark above, bright below
    tifffile.imwrite(tmp_path / "a.tif", values, **TILES)
    reading = Reading(IntensityRange.parse(kind))
    with open_regions(tmp_path / "a.tif", reading) as regions:
        above, below = (regions.read(slice(t, t + 10), slice(0, 130)) for t in (0, 90))
    np.testing.assert_array_equal(above, read_rgb(tmp_path / "a.tif", reading)[:10])
    assert above.mean() < below.mean()


def test_percentiles_of_a_huge_image_are_those_of_some_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("semiconv_d2.data.regions._SAMPLED", 2000)
    values = np.sort(DEEP.ravel()).reshape(DEEP.shape)
    tifffile.imwrite(tmp_path / "a.tif", values, **TILES)
    with open_regions(tmp_path / "a.tif") as regions:
        part = regions.read(slice(0, 100), slice(0, 130))
    difference = part.astype(int) - read_rgb(tmp_path / "a.tif")
    assert 0 < np.abs(difference).max() <= 5


def test_errors_of_the_reader_of_whole_images_stay(tmp_path):
    with pytest.raises(DatasetError, match="there is no image"):
        open_regions(tmp_path / "none.tif").__enter__()
    with_pages(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match="has 3 pages: choose one"):
        open_regions(tmp_path / "a.tif").__enter__()
