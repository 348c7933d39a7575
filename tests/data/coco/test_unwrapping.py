"""Segmentations in other wrappings than they should be in: nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
from small_coco import HEIGHT, WIDTH, encoded

from semiconv_d2.data.coco.checking import find_defects
from semiconv_d2.data.coco.fixing import fix
from semiconv_d2.data.coco.segmentations import decode_mask, plain_polygons, unwrap

SIZE = (HEIGHT, WIDTH)
RLE, RUNS = encoded(compressed=True), encoded(compressed=False)
TEXT = RLE["counts"]


def with_counts(counts: object) -> dict:
    return {"size": [HEIGHT, WIDTH], "counts": counts}


WRAPPED = {
    "Python's bytes": with_counts(str(TEXT.encode())),
    "bytes in double quotes": with_counts(f'b"{TEXT}"'),
    "spaces": with_counts(f" {TEXT}\n"),
    "a list of one": [RLE],
    "a list of one with bytes": [with_counts(str(TEXT.encode()))],
    "counts in a list": with_counts([TEXT]),
    "runs in a list": with_counts([RUNS["counts"]]),
    "runs as text each": with_counts([str(n) for n in RUNS["counts"]]),
    "runs with a point": with_counts([float(n) for n in RUNS["counts"]]),
    "runs in one text": with_counts(" ".join(map(str, RUNS["counts"]))),
    "runs in one text as a list": with_counts(str(RUNS["counts"])),
    "bytes as numbers": with_counts(list(TEXT.encode())),
    "JSON in a text": json.dumps(RLE),
    "Python in a text": str(RLE),
    "no size": {"counts": TEXT},
    "a size of text": {"size": [str(HEIGHT), float(WIDTH)], "counts": TEXT},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_encodings_are_unwrapped(name, dataset):
    content, root = dataset
    before = decode_mask(RLE, SIZE)
    content["annotations"][2]["segmentation"] = WRAPPED[name]
    defects = find_defects(content, root)
    assert [d.kind for d in defects] == ["segmentation-wrapped"]
    mended, changes = fix(content, defects)
    assert not any(change.drops for change in changes)
    after = mended["annotations"][2]["segmentation"]
    np.testing.assert_array_equal(decode_mask(after, SIZE), before)
    assert find_defects(mended, root) == []


def test_backslashes_are_doubled_by_pythons_bytes():
    rng = np.random.default_rng(0)
    for _ in range(100):
        mask = rng.random(SIZE) < 0.5
        counts = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
        for written in (str(counts), counts.decode().replace("\\", "\\\\")):
            read, _ = unwrap(with_counts(written), SIZE)
            np.testing.assert_array_equal(decode_mask(read, SIZE), mask)


def test_several_encodings_are_one_instance():
    one, two = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    one[3:9, 4:8], two[20:30, 40:50] = True, True
    parts = [mask_util.encode(np.asfortranarray(m, dtype=np.uint8)) for m in (one, two)]
    listed = [{"size": p["size"], "counts": p["counts"].decode()} for p in parts]
    read, how = unwrap(listed, SIZE)
    np.testing.assert_array_equal(decode_mask(read, SIZE), one | two)
    assert how == "its run-length encodings stand in a list"


@pytest.mark.parametrize(
    "value",
    [
        RLE,
        RUNS,
        [[1, 2, 3, 4, 5, 6]],
        None,
        "mask.png",
        "[" * 9999,
        "{}{",
        3,
        [RLE, 3],
        with_counts(9),
    ],
)
def test_what_is_as_it_has_to_be_or_nothing_at_all_stays(value):
    assert unwrap(value, SIZE) == (value, "")


def test_polygons_in_other_ways():
    one, two = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0], [2.0, 2.0, 9.0, 4.0, 5.0, 7.0]
    for value in (
        one,
        [one],
        [[one]],
        [[1, 2], [3, 4], [5, 7]],
        [[[1, 2], [3, 4], [5, 7]]],
        [{"x": 1, "y": 2}, {"x": 3, "y": "4"}, {"x": 5, "y": 7}],
        [[{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 7}]],
    ):
        assert plain_polygons(value) == [one], value
    for value in ([one, two], [[one, two]], [[one], [two]]):
        assert plain_polygons(value) == [one, two], value
    for value in ([one, None], [one, {}], [[1, True, 3]], ["x"], [[one, "x"]]):
        assert plain_polygons(value) is None, value
