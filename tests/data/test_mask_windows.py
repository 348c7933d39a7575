"""Masks as windows, against masks of whole images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_masks

from semiconv_d2.data.geometry import contact
from semiconv_d2.data.mask_windows import MaskWindow, contact_of_windows, encode_windows


def random_masks(random_seed, size=(9, 7), number=40):
    """Masks of any density, some empty, some full, in rectangles anywhere in the image."""
    rng = np.random.default_rng(random_seed)
    masks = np.zeros((number, *size), dtype=bool)
    for mask in masks:
        (top, bottom), (left, right) = (np.sort(rng.integers(0, n + 1, 2)) for n in size)
        density = rng.choice([0.3, 0.7, 1.0])
        mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < density
    masks[0], masks[1] = False, True
    return masks


@pytest.mark.parametrize("random_seed", range(5))
def test_windows_are_the_masks(random_seed):
    masks = random_masks(random_seed)
    windows = [MaskWindow.of(mask) for mask in masks]
    for mask, window in zip(masks, windows, strict=True):
        np.testing.assert_array_equal(window.whole(mask.shape), mask)
        assert window.area == mask.sum()
        if mask.any():
            for axis in (0, 1):
                assert window.pixels.any(axis=axis)[[0, -1]].all()  # nothing to cut off
    for mask, window in zip(masks[:10], windows, strict=False):
        for other, others in zip(masks, windows, strict=True):
            assert window.overlap(others) == (mask & other).sum()


@pytest.mark.parametrize("random_seed", range(5))
def test_windows_are_encoded_as_pycocotools_encodes_masks(random_seed):
    masks = random_masks(random_seed)
    expected = [coco_masks.encode(np.asfortranarray(mask)) for mask in masks.astype(np.uint8)]
    assert encode_windows([MaskWindow.of(mask) for mask in masks], masks.shape[1:]) == expected


def test_no_windows():
    assert encode_windows([], (5, 6)) == []


def test_a_window_moves_from_its_tile_into_the_image():
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 2:] = True
    moved = MaskWindow.of(mask).moved(10, 20)
    assert moved.slices == (slice(11, 13), slice(22, 25))
    assert moved.whole((30, 30))[11:13, 22:25].all()
    assert moved.whole((30, 30)).sum() == 6


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(2, 4), st.integers(1, 9), st.integers(1, 14))))
def test_contact_of_windows_is_that_of_whole_masks(masks):
    windows = [MaskWindow.of(mask) for mask in masks]
    np.testing.assert_array_equal(contact_of_windows(windows), contact(list(masks)))
