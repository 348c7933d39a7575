"""The one reader of images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from detectron2.data.detection_utils import read_image
from PIL import Image

from semiconv_d2.data.image_headers import read_header
from semiconv_d2.data.pixels import IntensityRange, Reading, read_rgb, scale_to_8bit
from semiconv_d2.errors import ConfigError, DatasetError

COLOURS = (np.arange(20 * 30 * 3).reshape(20, 30, 3) * 7 % 4000).astype(np.uint16)
GREY = COLOURS[..., 0]


def opencv(path, values):
    """Writes RGB or RGBA."""
    cv2.imwrite(str(path), values[..., [2, 1, 0, 3][: values.shape[2]]])


DEEP = {
    "colours.png": lambda path: opencv(path, COLOURS),
    "alpha.png": lambda path: opencv(path, np.dstack([COLOURS, np.full_like(GREY, 65535)])),
    "colours.tif": lambda path: opencv(path, COLOURS),
    "colours.ppm": lambda path: opencv(path, COLOURS),
    "planes.tif": lambda path: tifffile.imwrite(
        path, np.moveaxis(COLOURS, 2, 0).copy(), photometric="rgb", planarconfig="separate"
    ),
    "alpha.tif": lambda path: tifffile.imwrite(
        path, np.dstack([COLOURS, GREY]), photometric="rgb", extrasamples=["unassalpha"]
    ),
}
DEEP_GREY = {
    "grey.png": lambda path: cv2.imwrite(str(path), GREY),
    "grey.pgm": lambda path: cv2.imwrite(str(path), GREY),
    "lzw.tif": lambda path: Image.fromarray(GREY).save(path, compression="tiff_lzw"),
    "white_is_zero.tif": lambda path: tifffile.imwrite(path, 65535 - GREY, photometric=0),
    "float.tif": lambda path: tifffile.imwrite(path, GREY.astype(np.float32) / 7),
    "signed.tif": lambda path: tifffile.imwrite(path, GREY.astype(np.int32) - 2000),
    "grey_alpha.tif": lambda path: tifffile.imwrite(
        path, np.dstack([GREY, GREY]), photometric="minisblack", extrasamples=["unassalpha"]
    ),
}


@pytest.mark.parametrize("name", [*DEEP, *DEEP_GREY])
def test_more_than_8_bits_are_scaled_and_not_cut_off(tmp_path, name):
    (DEEP | DEEP_GREY)[name](tmp_path / name)
    stored = COLOURS if name in DEEP else np.repeat(GREY[..., None], 3, axis=2)
    limits = np.percentile(COLOURS if name in DEEP else GREY, (0.1, 99.9))
    expected = np.round(np.clip((stored - limits[0]) / np.ptp(limits), 0, 1) * 255)
    pixels = read_rgb(tmp_path / name)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels - expected).max() <= 1  # the percentiles of fractions are rounded
    header = read_header(tmp_path / name)
    assert header.bits > 8
    assert header.channels == (3 if name in DEEP else 1)


USUAL = {
    **{f"rgb.{form}": "RGB" for form in ("png", "bmp", "gif", "webp", "jpg", "tif", "ppm")},
    **{f"grey.{form}": "L" for form in ("png", "tif", "pgm")},
    **{"la.png": "LA", "rgba.png": "RGBA", "rgba.tif": "RGBA", "cmyk.tif": "CMYK"},
    **{"palette.png": "P", "palette.tif": "P", "one_bit.png": "1", "one_bit.tif": "1"},
}


@pytest.mark.parametrize("name", USUAL)
def test_files_of_8_bits_are_read_as_detectron2_reads_them(tmp_path, name):
    image = Image.fromarray((COLOURS >> 4).astype(np.uint8))
    image.convert(USUAL[name]).save(tmp_path / name)
    np.testing.assert_array_equal(
        read_rgb(tmp_path / name), read_image(str(tmp_path / name), "RGB")
    )


@pytest.mark.parametrize("form", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_images(tmp_path, form, orientation):
    corner = np.zeros((16, 24, 3), np.uint8)
    corner[:8, :8] = 255
    corner[:8, 8:16] = 128
    path, exif = tmp_path / f"x.{form}", Image.Exif()
    exif[274] = orientation
    keys = {"tiffinfo": {274: orientation}} if form == "tif" else {"exif": exif}
    Image.fromarray(corner).save(path, **keys)
    # By EXIF's own words: where row 0 and column 0 of what is stored are shown.
    transposed = corner.swapaxes(0, 1)
    expected = {
        **{1: corner, 2: corner[:, ::-1], 3: corner[::-1, ::-1], 4: corner[::-1]},
        **{5: transposed, 6: transposed[:, ::-1], 7: transposed[::-1, ::-1], 8: transposed[::-1]},
    }[orientation]
    pixels = read_rgb(path)
    assert read_header(path).size == expected.shape[:2] == pixels.shape[:2]
    assert np.abs(pixels.astype(int) - expected).max() < (20 if form == "jpg" else 1)


def test_deep_images_are_turned_too(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", GREY, extratags=[(274, 3, 1, 6, True)])
    expected = scale_to_8bit(GREY, IntensityRange())
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "x.tif")[..., 0], expected.swapaxes(0, 1)[:, ::-1]
    )


STACK = np.stack([np.full((5, 6), value, np.uint8) for value in (10, 20, 30)])


def write_stack(path, kind):
    if kind == "pages":
        first, *others = map(Image.fromarray, STACK)
        first.save(path, save_all=True, append_images=others)
    elif kind == "imagej":
        tifffile.imwrite(path, STACK, imagej=True)
    elif kind == "ome":
        tifffile.imwrite(path, STACK, ome=True, metadata={"axes": "ZYX"})
    else:  # one header for all planes, as ImageJ writes large stacks
        with tifffile.TiffWriter(path, imagej=True) as file:
            file.write(STACK, contiguous=True, metadata={"axes": "ZYX"})
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            offset = file.pages[0].offset
        entries = int.from_bytes(content[offset : offset + 2], "little")
        end = offset + 2 + 12 * entries
        content[end : end + 4] = bytes(4)  # no header follows
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["pages", "imagej", "ome", "one header"])
def test_a_stack_needs_a_choice(tmp_path, kind):
    path = tmp_path / "stack.tif"
    write_stack(path, kind)
    with pytest.raises(DatasetError, match=r"stack\.tif has 3 pages: choose .* INPUT\.PAGES"):
        read_rgb(path)
    assert (read_rgb(path, Reading(pages=(2,))) == 30).all()
    assert (read_rgb(path, Reading(pages=(2, 0, 1))) == (30, 10, 20)).all()
    with pytest.raises(DatasetError, match=r"3 pages, counted .* \(--plane\) is \(3,\)"):
        read_rgb(path, Reading(pages=(3,)))


def test_reduced_copies_in_a_pyramid_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(np.full((32, 32, 3), 9, np.uint8), photometric="rgb")
        file.write(np.full((16, 16, 3), 9, np.uint8), photometric="rgb", subfiletype=1)
    assert read_rgb(tmp_path / "x.tif").shape == (32, 32, 3)


def test_an_animation_has_pages_too(tmp_path):
    first, *others = map(Image.fromarray, STACK)
    first.save(tmp_path / "x.gif", save_all=True, append_images=others)
    with pytest.raises(DatasetError, match="3 pages"):
        read_rgb(tmp_path / "x.gif")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("number", [2, 4, 5])
def test_other_channels_than_grey_and_rgb_need_a_choice(tmp_path, kind, number):
    values = np.stack([np.full((5, 6), 40 * n, kind) for n in range(number)], axis=2)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DatasetError, match=rf"{number} channels: choose .* INPUT\.CHANNELS"):
        read_rgb(path)
    everything = IntensityRange("bounds", 0, 255)
    assert (read_rgb(path, Reading(everything, channels=(1,))) == 40).all()
    with pytest.raises(
        DatasetError, match=rf"has {number} channels, counted from 0, .* \(0, 1, 9\)"
    ):
        read_rgb(path, Reading(channels=(0, 1, 9)))


def test_a_channel_of_a_colour_image(tmp_path):
    Image.fromarray(np.full((4, 4, 3), (1, 2, 3), np.uint8)).save(tmp_path / "x.png")
    assert (read_rgb(tmp_path / "x.png", Reading(channels=(1,))) == 2).all()
    assert (read_rgb(tmp_path / "x.png", Reading(channels=(2, 1, 0))) == (3, 2, 1)).all()


def test_what_is_too_large_is_not_decoded(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    what = r"20000 × 20000 pixels.*tiles.*SEMICONV_MAX_MEGAPIXELS=400"
    with pytest.raises(DatasetError, match=what):
        read_rgb(tmp_path / "huge.png")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("full", np.array([0, 65535, 6554], np.uint16), [0, 255, 26]),
        ("full", np.array([-32768, 32767], np.int16), [0, 255]),
        ("bounds 100 1100", np.array([0, 100, 600, 1100, 9000], np.uint16), [0, 0, 128, 255, 255]),
        ("bounds -1 1", np.array([-1, 0, 1, np.nan, np.inf, -np.inf]), [0, 128, 255, 0, 255, 0]),
        ("percentiles 0 100", np.array([7, 8, 9], np.int32), [0, 128, 255]),
        ("percentiles 0 50", np.array([0.0, 1, 2, np.nan]), [0, 255, 255, 0]),
        ("percentiles 0.1 99.9", np.array([7, 7, 7], np.uint16), [0, 0, 0]),
        ("percentiles 0.1 99.9", np.array([np.nan, np.nan]), [0, 0]),
    ],
)
def test_intensity_ranges(text, values, expected):
    assert scale_to_8bit(values, IntensityRange.parse(text)).tolist() == expected
    assert str(IntensityRange.parse(text)) == text


def test_fractions_have_no_full_range():
    with pytest.raises(DatasetError, match="fractions, which have no full range"):
        scale_to_8bit(np.zeros(3), IntensityRange.parse("full"))


@pytest.mark.parametrize(
    "text",
    ["", "all", "bounds", "bounds 3", "bounds 3 1", "bounds a b", "percentiles -1 50", "full 1"]
    + ["percentiles 5 101", "percentiles 1 2 3", "bounds nan 1", "bounds 0 inf"],
)
def test_an_intensity_range_that_is_none(text):
    with pytest.raises(ConfigError, match="must be 'percentiles LOW HIGH'"):
        IntensityRange.parse(text)


@pytest.mark.parametrize("key", ["PAGES", "CHANNELS"])
@pytest.mark.parametrize("value", [(0, 1), (-1,), ("a",), (1.0,), (True,), 1, "0"])
def test_pages_and_channels_that_are_none(key, value):
    with pytest.raises(ConfigError, match=rf"INPUT\.{key} is"):
        Reading.of({key: value})


def test_keys_that_lack_have_their_defaults():
    assert Reading.of({}) == Reading()
    assert Reading.of({"PAGES": [1]}) == Reading(pages=(1,))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.jpg"])
def test_damaged_files_are_named(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 65535, (64, 64), np.uint16)
    image = Image.fromarray(noise if name != "x.jpg" else noise.astype(np.uint8))
    image.save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DatasetError, match=rf"cannot read the image .*{name}"):
        read_rgb(path)
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"cannot read the image .*{name}"):
        read_rgb(path)
    with pytest.raises(DatasetError, match=r"there is no image .*none\.png"):
        read_rgb(tmp_path / "none.png")
