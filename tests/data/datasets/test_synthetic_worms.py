from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets.synthetic_worms import (
    WormSettings,
    draw_worms,
    paint_curve,
    prepare_synthetic_worms,
)
from semiconv_d2.errors import DatasetError


def drawn(settings: WormSettings, images: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_worms(settings, np.random.default_rng(seed)) for seed in range(images)]


def touching(masks: np.ndarray) -> np.ndarray:
    """(N, N) bool: whether two masks share pixels or have neighbouring ones, diagonals too."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    height, width = masks.shape[1:]
    grown = np.any(
        [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0
    )
    return np.array([[(a & b).any() for b in masks] for a in grown])


@pytest.mark.parametrize("crowding", [0, 0.6, 1])
def test_images_are_what_the_settings_say(crowding):
    settings = WormSettings(size=(160, 200), worms=(4, 7), crowding=crowding)
    numbers = set()
    for image, masks in drawn(settings, 25):
        assert image.shape == (160, 200)
        assert image.dtype == np.uint8
        assert masks.dtype == bool
        np.testing.assert_array_equal(image, masks.any(axis=0) * np.uint8(255))
        covering = masks.sum(axis=0)
        assert covering.max() <= 2
        assert (masks & (covering == 1)).sum(axis=(1, 2)).min() >= 30
        numbers.add(len(masks))
    assert numbers == {4, 5, 6, 7}


def test_a_seed_gives_the_same_image_again_and_another_one_does_not():
    settings = WormSettings()
    first, again, other = (draw_worms(settings, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_no_crowding_keeps_all_worms_apart():
    for _, masks in drawn(WormSettings(crowding=0), 10):
        np.testing.assert_array_equal(touching(masks), np.eye(len(masks), dtype=bool))


def test_full_crowding_lays_every_worm_to_an_earlier_one():
    crossings = touches = 0
    for _, masks in drawn(WormSettings(crowding=1, crossing=0.5, overlap=1), 10):
        near = touching(masks)
        for index in range(1, len(masks)):
            assert near[index, :index].any()
            crossed = (masks[:index] & masks[index]).any(axis=(1, 2))
            crossings += crossed.sum()
            touches += (near[index, :index] & ~crossed).sum()
    assert crossings > 20
    assert touches > 2


@pytest.mark.parametrize("overlap", [0, 0.05, 0.3])
def test_others_cover_no_more_of_a_worm_than_asked_for(overlap):
    touching_ones, covered = 0, []
    for _, masks in drawn(WormSettings(crowding=0.8, overlap=overlap), 10):
        shared = masks & (masks.sum(axis=0) > 1)
        covered.extend(shared.sum(axis=(1, 2)) / masks.sum(axis=(1, 2)))
        touching_ones += touching(masks).sum() - len(masks)
    assert overlap / 2 <= max(covered) <= overlap
    assert touching_ones > 20


def test_worms_lie_mostly_inside_and_have_their_length_and_width():
    settings = WormSettings(width=(8, 8), length=(80, 80), worms=(5, 5))
    areas = np.concatenate([masks.sum(axis=(1, 2)) for _, masks in drawn(settings, 30)])
    whole = np.median(areas)
    # The taper takes a worm's area from length times width to about 0.8 of it.
    assert 0.7 * 80 * 8 < whole < 0.95 * 80 * 8
    assert areas.min() > 0.85 * whole
    assert areas.max() < 1.1 * whole


def test_a_pixel_is_painted_where_its_centre_is_within_the_radius():
    points = np.stack([np.linspace(-3, 12, 31), np.linspace(2, 9, 31)], axis=1)
    radii = np.linspace(0.4, 3, 31)
    naive = [
        [
            any(
                math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius
                for (x, y), radius in zip(points, radii, strict=True)
            )
            for column in range(11)
        ]
        for row in range(9)
    ]
    np.testing.assert_array_equal(paint_curve(points, radii, (9, 11)), naive)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 192)}, "size"),
        ({"worms": (0, 3)}, "worms"),
        ({"worms": (5, 3)}, "worms"),
        ({"width": (9, 6)}, "width"),
        ({"width": (0.5, 6)}, "width"),
        ({"length": (110, 60)}, "length"),
        ({"length": (math.nan, 60)}, "length"),
        ({"crowding": -0.1}, r"crowding .*\[0, 1\]"),
        ({"crowding": 1.1}, r"crowding .*\[0, 1\]"),
        ({"crowding": math.nan}, r"crowding .*\[0, 1\]"),
        ({"crossing": 1.1}, r"crossing .*\[0, 1\]"),
        ({"overlap": 1.1}, r"overlap .*\[0, 1\]"),
        ({"overlap": math.nan}, r"overlap .*\[0, 1\]"),
        ({"crossing": 0.5}, "cannot cross where others may cover 0.05 .* raise overlap to 0.2"),
        ({"length": (15, 60)}, "at least twice as long"),
        ({"size": (100, 192)}, "longest worm must fit into the image"),
        ({"length": (12, 20), "width": (2, 3)}, "at least 60 pixels"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WormSettings(**settings)


def test_too_many_worms_for_the_image_end_in_an_error():
    settings = WormSettings(size=(64, 64), worms=(12, 12), length=(60, 60), crowding=0)
    with pytest.raises(DatasetError, match="12 worms find no place"):
        draw_worms(settings, np.random.default_rng(0))


def test_prepared_images_and_masks_are_those_drawn(tmp_path, read_masks):
    settings = WormSettings(size=(120, 150), worms=(3, 4))
    summary = prepare_synthetic_worms(tmp_path, settings, seed=5, train_images=3, val_images=2)

    train, val = read_masks(tmp_path / "train.json"), read_masks(tmp_path / "val.json")
    assert (len(train), len(val)) == (3, 2)
    assert set(train) | set(val) == {path.name for path in (tmp_path / "images").iterdir()}
    instances = {
        split: sum(map(len, read.values())) for split, read in (("train", train), ("val", val))
    }
    assert summary.instances == instances
    assert summary.images == {"train": 3, "val": 2}
    pictures = []
    for name, worms in (train | val).items():
        picture = np.asarray(Image.open(tmp_path / "images" / name))
        union = np.any([mask for mask, _ in worms], axis=0)
        np.testing.assert_array_equal(picture, union * np.uint8(255))
        assert {category for _, category in worms} == {"worm"}
        pictures.append(picture.tobytes())
    assert len(set(pictures)) == 5


def test_an_image_is_drawn_from_the_seed_its_split_and_its_number(tmp_path):
    settings = WormSettings(size=(120, 120), worms=(2, 3))
    prepare_synthetic_worms(tmp_path, settings, seed=7, train_images=2, val_images=2)
    for index, split in enumerate(("train", "val")):
        for number in range(2):
            expected, _ = draw_worms(settings, np.random.default_rng((7, index, number)))
            picture = Image.open(tmp_path / "images" / f"{split}_{number:05d}.png")
            np.testing.assert_array_equal(np.asarray(picture), expected)


def test_more_images_leave_the_first_ones_and_another_seed_changes_them(tmp_path):
    settings = WormSettings(size=(120, 120), worms=(2, 3))

    def prepare(folder: str, seed: int, train_images: int) -> dict[str, bytes]:
        prepare_synthetic_worms(tmp_path / folder, settings, seed, train_images, val_images=1)
        return {path.name: path.read_bytes() for path in (tmp_path / folder / "images").iterdir()}

    few, more, others = prepare("few", 0, 1), prepare("more", 0, 3), prepare("others", 1, 1)
    assert few.items() < more.items()
    assert all(others[name] != few[name] for name in few)


def test_wrong_numbers_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="seed must not be negative: -1"):
        prepare_synthetic_worms(tmp_path, seed=-1)
    with pytest.raises(DatasetError, match="'val' has no images"):
        prepare_synthetic_worms(tmp_path, train_images=1, val_images=0)
    assert not list(tmp_path.glob("*.json"))
