"""What the tiles of an image see becomes what is in the image."""

from __future__ import annotations

import numpy as np
import pytest

from semiconv_d2.data.mask_windows import MaskWindow
from semiconv_d2.inference.detections import Detections
from semiconv_d2.inference.tiling.joining import join
from semiconv_d2.inference.tiling.layout import Tiling

SIZE = (300, 300)
TILING = Tiling(120, 30, 1.0)  # tiles start at 0, 90 and 180


def blob(top, left, height, width, size=SIZE) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def detections(masks, scores, classes=None, boxes_only=False) -> Detections:
    windows = tuple(MaskWindow.of(mask) for mask in masks)
    boxes = [
        (w.left, w.top, w.left + w.pixels.shape[1], w.top + w.pixels.shape[0]) for w in windows
    ]
    return Detections(
        size=masks[0].shape if len(masks) else (0, 0),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float32),
        classes=np.array(classes or [0] * len(masks), dtype=np.int64),
        masks=None if boxes_only else windows,
    )


def look(masks, size=SIZE, tiling=TILING, boxes_only=False, classes=None, unseen=()):
    """What a perfect model finds in each tile: every instance of which it sees a pixel."""
    found = []
    for number, tile in enumerate(tiling.tiles(size)):
        parts = [mask[tile.slices] for mask in masks]
        seen = [i for i, part in enumerate(parts) if part.any() and (number, i) not in unseen]
        scores = [0.9 - 0.01 * i for i in seen]
        kinds = [classes[i] for i in seen] if classes else None
        found.append((tile, detections([parts[i] for i in seen], scores, kinds, boxes_only)))
    return found


def wholes(found: Detections) -> list[np.ndarray]:
    return sorted((m.whole(found.size) for m in found.masks), key=lambda m: m.tobytes())


def same_masks(found: Detections, masks) -> bool:
    expected = sorted(masks, key=lambda m: m.tobytes())
    return len(found) == len(masks) and all(map(np.array_equal, wholes(found), expected))


ring = blob(60, 60, 180, 180) & ~blob(70, 70, 160, 160)  # through all nine tiles
bend = blob(40, 20, 10, 150) | blob(80, 20, 10, 150) | blob(40, 20, 50, 10)  # returns to a tile
SCENES = {
    "in one tile": [blob(10, 10, 20, 30)],
    "in the strip of two tiles": [blob(10, 95, 20, 20)],
    "in the strip of four tiles": [blob(95, 95, 20, 20)],
    "cut by a seam, whole in one tile": [blob(10, 100, 20, 28), blob(200, 84, 20, 28)],
    "whole in one of four tiles": [blob(84, 84, 30, 30), blob(100, 100, 28, 28)],
    "longer than the strip": [blob(10, 60, 8, 80)],
    "across three tiles": [blob(10, 20, 6, 270)],
    "across three tiles, upright and aslant": [
        blob(20, 10, 270, 6),
        np.abs(np.subtract.outer(np.arange(300), np.arange(300)) - 10) < 5,
    ],
    "large, across four tiles": [blob(60, 60, 90, 90)],
    "a ring through all tiles": [ring],
    "a bend that leaves a tile and returns": [bend],
    "neighbours that touch, side by side over a seam": [
        blob(10 + 8 * i, 40, 8, 120) for i in range(4)
    ],
    "neighbours that touch at a seam": [blob(10, 40, 20, 80), blob(10, 120, 20, 80)],
    "neighbours that touch at a seam, short": [blob(10, 70, 20, 20), blob(10, 90, 20, 20)],
    "neighbours that share pixels": [blob(10, 40, 12, 120), blob(18, 40, 12, 120)],
    "a cross": [blob(100, 40, 8, 140), blob(40, 104, 140, 8)],
    "one within another": [blob(90, 90, 28, 28), blob(98, 98, 10, 10)],
    "at the border of the image": [blob(0, 100, 10, 40), blob(280, 280, 20, 20)],
    "none": [],
}


@pytest.mark.parametrize("name", SCENES)
def test_each_instance_is_found_once_and_whole(name):
    masks = SCENES[name]
    found = join(look(masks), SIZE)
    assert found.size == SIZE
    assert same_masks(found, masks)
    assert (np.diff(found.scores) <= 0).all()
    for box, mask in zip(found.boxes, found.masks, strict=True):
        rows, columns = mask.slices
        assert box.tolist() == [columns.start, rows.start, columns.stop, rows.stop]


def test_many_instances_at_random_places():
    rng = np.random.default_rng(0)
    size, tiling = (700, 900), Tiling(128, 40, 1.0)
    masks, taken = [], np.zeros(size, dtype=bool)
    while len(masks) < 200:
        height, width = rng.integers(4, 36, 2)
        mask = blob(rng.integers(size[0]), rng.integers(size[1]), height, width, size)
        if not (mask & taken).any():
            masks.append(mask)
            taken |= mask
    assert same_masks(join(look(masks, size, tiling), size), masks)


def test_another_tile_decides_on_what_a_seam_cuts():
    mask = blob(10, 84, 20, 30)  # the seam at 90 cuts it; the tile to the left has it whole
    assert len(join(look([mask], unseen={(0, 0)}), SIZE)) == 0
    assert len(join(look([mask], unseen={(1, 0)}), SIZE)) == 1


def test_the_remains_of_a_long_instance_stay():
    mask = blob(10, 60, 8, 80)
    found = join(look([mask], unseen={(0, 0)}), SIZE)
    assert same_masks(found, [mask & ~blob(0, 0, 300, 90)])


def test_of_two_views_the_larger_one_stays():
    small, large = blob(20, 98, 20, 12), blob(20, 98, 20, 14)  # the strip is from 90 to 120
    for unseen in ({(0, 1), (1, 0)}, {(0, 0), (1, 1)}):
        assert same_masks(join(look([small, large], unseen=unseen), SIZE), [large])


def test_a_view_of_three_as_one_is_a_repetition():
    three = [blob(20 + 10 * i, 95, 10, 20) for i in range(3)]
    found = look([sum(three) > 0, *three], unseen={(0, 1), (0, 2), (0, 3), (1, 0)})
    assert same_masks(join(found, SIZE), [sum(three) > 0])


def test_instances_of_other_classes_are_others():
    masks = [blob(10, 60, 8, 80), blob(10, 60, 8, 80)]
    found = join(look(masks, classes=[0, 1]), SIZE)
    assert same_masks(found, masks)
    assert found.classes.tolist() == [0, 1]


def test_boxes_without_masks():
    masks = [blob(10, 60, 8, 80), blob(50, 95, 20, 20), blob(200, 200, 30, 30)]
    found = join(look(masks, boxes_only=True), SIZE)
    assert found.masks is None
    assert sorted(map(tuple, found.boxes.tolist())) == [
        (60, 10, 140, 18), (95, 50, 115, 70), (200, 200, 230, 230),
    ]  # fmt: skip


def test_joined_pieces_have_the_best_score():
    found = look([blob(10, 60, 8, 80)])
    for (_, piece), score in zip(found, (0.6, 0.8), strict=False):
        piece.scores[:] = score
    assert join(found, SIZE).scores.tolist() == pytest.approx([0.8])
