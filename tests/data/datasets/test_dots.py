from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets.dots import DotSettings, draw_dots, draw_stamp, prepare_dots
from semiconv_d2.errors import DatasetError


def drawn(settings: DotSettings, images: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_dots(settings, np.random.default_rng(seed)) for seed in range(images)]


def corners(masks: np.ndarray) -> list[tuple[int, int]]:
    """First row and first column of each mask."""
    return [(int(mask.any(1).argmax()), int(mask.any(0).argmax())) for mask in masks]


@pytest.mark.parametrize("background", ["black", "grey", "noise"])
def test_all_dots_are_the_same_pixels_in_a_regular_grid(background):
    settings = DotSettings(
        rows=(2, 4), columns=(3, 5), radius=4, spacing=11, background=background, noise=60
    )
    stamp = draw_stamp(4)
    grids = set()
    for image, masks in drawn(settings, 40):
        places = corners(masks)
        assert places == sorted(places)
        rows, columns = ({place[axis] for place in places} for axis in (0, 1))
        assert len(places) == len(rows) * len(columns)
        for lines in (rows, columns):
            assert set(np.diff(sorted(lines))) == {11}
        for mask, (top, left) in zip(masks, places, strict=True):
            window = (slice(top, top + 8), slice(left, left + 8))
            np.testing.assert_array_equal(mask[window], stamp)
            assert mask.sum() == stamp.sum()
            assert (image[window][stamp] == 255).all()
        assert masks.sum(axis=0).max() == 1
        np.testing.assert_array_equal(image == 255, masks.any(axis=0))
        grids.add((len(rows), len(columns)))
    assert grids == {(rows, columns) for rows in (2, 3, 4) for columns in (3, 4, 5)}


def test_a_pixel_is_a_dots_where_its_centre_is_within_the_radius():
    for radius in range(1, 8):
        naive = [
            [
                math.hypot(row + 0.5 - radius, column + 0.5 - radius) <= radius
                for column in range(2 * radius)
            ]
            for row in range(2 * radius)
        ]
        np.testing.assert_array_equal(draw_stamp(radius), naive)
        assert draw_stamp(radius)[0].any()
        assert draw_stamp(radius)[:, 0].any()


def test_a_pixel_is_a_bars_where_its_centre_is_within_the_radius_of_a_line():
    for radius, length in ((1, 1), (3, 4), (4, 9)):
        naive = [
            [
                min(
                    math.hypot(row + 0.5 - radius, column + 0.5 - (radius + t * length / 100))
                    for t in range(101)
                )
                <= radius
                for column in range(2 * radius + length)
            ]
            for row in range(2 * radius)
        ]
        np.testing.assert_array_equal(draw_stamp(radius, length), naive)


def test_bars_are_as_far_apart_as_dots():
    settings = DotSettings((2, 4), (2, 3), radius=3, spacing=8, margin=2, offset=2, length=7)
    assert settings.image_size == (30 + 2 * 4, 43 + 2 * 4)
    for image, masks in drawn(settings, 20):
        places = corners(masks)
        for axis, pitch in ((0, 8), (1, 8 + 7)):
            assert set(np.diff(sorted({place[axis] for place in places}))) == {pitch}
        for mask, (top, left) in zip(masks, places, strict=True):
            stamp = mask[top : top + 6, left : left + 13]
            np.testing.assert_array_equal(stamp, draw_stamp(3, 7))
            assert mask.sum() == stamp.sum()
        np.testing.assert_array_equal(image == 255, masks.any(axis=0))


@pytest.mark.parametrize("length", [0, 5])
def test_rings_are_dots_without_masks_around_the_grid(length):
    options = {"radius": 3, "spacing": 8, "margin": 1, "offset": 0, "length": length}
    [(image, masks)] = drawn(DotSettings((2, 2), (3, 3), rings=2, **options), 1)
    [(whole, all_masks)] = drawn(DotSettings((6, 6), (7, 7), **options), 1)
    np.testing.assert_array_equal(image, whole)
    inner = all_masks.reshape(6, 7, *whole.shape)[2:-2, 2:-2].reshape(masks.shape)
    np.testing.assert_array_equal(masks, inner)


def test_the_margin_lies_around_the_rings():
    settings = DotSettings((1, 3), (1, 3), radius=2, spacing=6, margin=4, offset=3, rings=1)
    assert settings.image_size == (4 * 6 + 4 + 2 * (4 + 3),) * 2
    for image, _ in drawn(settings, 50):
        assert (image[:4] == 0).all()
        assert (image[-4:] == 0).all()
        assert (image[:, :4] == 0).all()
        assert (image[:, -4:] == 0).all()


def test_the_grid_is_moved_to_every_place_that_the_offset_allows():
    settings = DotSettings((2, 2), (3, 3), radius=3, spacing=10, margin=4, offset=2)
    assert settings.image_size == (16 + 2 * (4 + 2), 26 + 2 * (4 + 2))
    first = [corners(masks)[0] for _, masks in drawn(settings, 300)]
    assert set(first) == {(row, column) for row in range(4, 9) for column in range(4, 9)}

    still = DotSettings((2, 2), (3, 3), radius=3, spacing=10, margin=4, offset=0, size=(40, 50))
    assert {corners(masks)[0] for _, masks in drawn(still, 5)} == {(12, 12)}


def test_the_margin_is_kept_and_dots_do_not_touch_where_they_are_as_dense_as_can_be():
    settings = DotSettings((1, 4), (1, 4), radius=3, spacing=7, margin=2, offset=3)
    for image, masks in drawn(settings, 50):
        inside = np.zeros(image.shape, dtype=bool)
        inside[2:-2, 2:-2] = True
        assert not (masks & ~inside).any()
        labels = np.einsum("n,nij->ij", np.arange(1, len(masks) + 1), masks)
        for one, other in (
            (labels[1:], labels[:-1]),
            (labels[:, 1:], labels[:, :-1]),
            (labels[1:, 1:], labels[:-1, :-1]),
            (labels[1:, :-1], labels[:-1, 1:]),
        ):
            assert not ((one != other) & (one > 0) & (other > 0)).any()


def test_backgrounds_differ_and_the_dots_stay():
    pictures = {
        background: draw_dots(DotSettings(background=background), np.random.default_rng(3))
        for background in ("black", "grey", "noise")
    }
    behind = ~pictures["black"][1].any(axis=0)
    for image, masks in pictures.values():
        assert image.dtype == np.uint8
        assert masks.dtype == bool
        np.testing.assert_array_equal(masks, pictures["black"][1])
    assert set(pictures["black"][0][behind]) == {0}
    assert set(pictures["grey"][0][behind]) == {128}
    noise = pictures["noise"][0][behind].astype(float)
    assert noise.mean() == pytest.approx(128, abs=1)
    assert noise.std() == pytest.approx(20, abs=1)


def test_a_seed_gives_the_same_image_again_and_another_one_does_not():
    settings = DotSettings(background="noise")
    first, again, other = (draw_dots(settings, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": (0, 3)}, "rows"),
        ({"rows": (5, 3)}, "rows"),
        ({"columns": (0, 3)}, "columns"),
        ({"columns": (3, math.nan)}, "columns"),
        ({"radius": 0}, "radius must be at least 1: 0"),
        ({"length": -1}, "length must be at least 0: -1"),
        ({"rings": -1}, "rings must be at least 0: -1"),
        ({"margin": -1}, "margin must be at least 0: -1"),
        ({"offset": -1}, "offset must be at least 0: -1"),
        ({"radius": 5, "spacing": 10}, r"spacing .* at least 2 x radius \+ 1, .* 10, radius 5"),
        ({"size": (170, 169)}, r"size .* at least \(170, 170\) pixels .*: \(170, 169\)"),
        ({"size": (169, 300)}, r"size .* at least \(170, 170\) pixels"),
        ({"background": "white"}, "background must be one of black, grey, noise: white"),
        ({"noise": -1}, "noise .* 0 to 255: -1"),
        ({"noise": math.nan}, "noise"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(DatasetError, match=message) as caught:
        DotSettings(**settings)
    assert "\n" not in str(caught.value)


def test_prepared_images_and_masks_are_those_drawn(tmp_path, read_masks):
    settings = DotSettings(rows=(2, 3), columns=(2, 3))
    summary = prepare_dots(tmp_path, settings, seed=5, train_images=3, val_images=2)

    assert summary.images == {"train": 3, "val": 2}
    for index, split in enumerate(("train", "val")):
        read = read_masks(tmp_path / f"{split}.json")
        assert list(read) == [f"{split}_{n:05d}.png" for n in range(summary.images[split])]
        assert summary.instances[split] == sum(map(len, read.values()))
        for number, (name, dots) in enumerate(read.items()):
            image, masks = draw_dots(settings, np.random.default_rng((5, index, number)))
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "images" / name)), image)
            np.testing.assert_array_equal([mask for mask, _ in dots], masks)
            assert {category for _, category in dots} == {"dot"}


def test_wrong_numbers_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="seed must not be negative: -1"):
        prepare_dots(tmp_path, seed=-1)
    with pytest.raises(DatasetError, match="'val' has no images"):
        prepare_dots(tmp_path, train_images=1, val_images=0)
    assert not list(tmp_path.glob("*.json"))
