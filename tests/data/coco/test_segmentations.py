from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semiconv_d2.data.coco.segmentations import (
    SegmentationError,
    check_encoding,
    clip_polygon,
    decode_counts,
    decode_mask,
    measure_runs,
    polygon_area,
)

masks = st.tuples(st.integers(1, 40), st.integers(1, 12)).flatmap(lambda size: arrays(bool, size))


def encode(mask: np.ndarray) -> dict:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def list_runs(mask: np.ndarray) -> list[int]:
    """Lengths of runs, pixel by pixel."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@settings(deadline=None)
@given(st.lists(masks, min_size=1, max_size=5), st.booleans())
def test_encodings_are_decoded_and_measured_together(images, listed):
    encodings = [encode(mask) for mask in images]
    if listed:
        encodings[0]["counts"] = list_runs(images[0])
    for mask, encoding in zip(images, encodings, strict=True):
        check_encoding(encoding, mask.shape)
        np.testing.assert_array_equal(decode_mask(encoding, mask.shape), mask)
    runs, numbers = decode_counts([encoding["counts"] for encoding in encodings])
    assert runs.tolist() == [length for mask in images for length in list_runs(mask)]
    assert numbers.tolist() == [len(list_runs(mask)) for mask in images]

    measures = measure_runs(runs, numbers, np.array([mask.shape for mask in images]))

    assert measures.valid.all()
    assert measures.areas.tolist() == [mask.sum() for mask in images]
    for mask, box in zip(images, measures.boxes, strict=True):
        if mask.any():
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [
                columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            ]  # fmt: skip
        else:
            assert np.isnan(box).all()


def test_long_runs_are_decoded():
    mask = np.zeros((3000, 2000), dtype=bool)
    mask[:, 1500:1700] = True
    np.testing.assert_array_equal(decode_mask(encode(mask), mask.shape), mask)


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_no_text_is_decoded_to_more_or_less_than_the_image(text):
    """pycocotools would fill the rest with whatever lies in memory."""
    try:
        mask = decode_mask({"size": [4, 5], "counts": text}, (4, 5))
    except SegmentationError:
        return
    np.testing.assert_array_equal(mask, mask_util.decode({"size": [4, 5], "counts": text}) > 0)


def test_polygons_that_are_none_are_left_out():
    triangle = [2, 2, 20, 2, 20, 20]
    mask = decode_mask([triangle, [1, 1, 2, 2], [float("nan")] * 6, "x"], (30, 40))
    np.testing.assert_array_equal(mask, decode_mask([triangle], (30, 40)))
    assert mask.any()
    assert not decode_mask([], (30, 40)).any()
    assert not decode_mask([[1, 1, 2, 2]], (30, 40)).any()


corners = st.tuples(st.integers(-30, 70), st.integers(-30, 70))


@settings(deadline=None)
@given(st.lists(corners, min_size=3, max_size=3, unique=True))
def test_a_clipped_polygon_covers_the_same_part_of_the_image(points):
    """Of a triangle, whose area can be had exactly; drawing rounds."""
    shapely = pytest.importorskip("shapely")
    points = np.array(points, dtype=float)
    clipped = clip_polygon(points, (30, 40))
    triangle = shapely.Polygon(points)
    expected = triangle.intersection(shapely.box(0, 0, 40, 30)).area if triangle.is_valid else 0
    area = polygon_area(clipped) if len(clipped) else 0
    assert area == pytest.approx(expected, abs=1e-9)
    if len(clipped):
        assert (clipped >= 0).all()
        assert (clipped <= (40, 30)).all()


def test_a_polygon_inside_stays_as_it_is_and_one_outside_vanishes():
    inside = np.array([[0.0, 0.0], [40, 0], [40, 30]])
    np.testing.assert_array_equal(clip_polygon(inside, (30, 40)), inside)
    assert clip_polygon(inside + 50, (30, 40)).shape == (0, 2)
