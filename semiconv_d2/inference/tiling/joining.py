"""Joins what a model found in the tiles of an image.

A seam is a border of a tile that is not a border of the image. Two tiles beside each other share a
strip. An instance that is shorter than the strip is wide lies whole in one of the two. So only
longer instances have to be put together:

1. A detection that a seam cuts is left out if another tile has all of its place, and no seam of
   that tile cuts it: the other tile decides.
2. Detections of two tiles are one instance if their masks agree in the strip. The detection that no
   seam cuts stays; of several, the one with the largest mask, since masks near a seam lack pixels.
   If seams cut all of them, the instance gets the union of their masks.
3. A detection that lies almost whole in one of another tile, or the other way round, is left out
   if its score is lower, or if a seam cuts it.

Detections of other classes are other instances. Each detection is compared with those of the tiles
around it: time and memory grow with the number of detections.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...data.images import Size
from ...data.mask_windows import MaskWindow
from ..detections import Detections
from .layout import NEAR, Tile

SAME = 0.5
"""From this overlap on, two detections agree: intersection over union in the strip; if seams cut
both, intersection over the smaller one in the strip."""

INSIDE = 0.7
"""From this share of its pixels on, a detection lies almost whole in another one."""


class _Piece(NamedTuple):
    """A detection of a tile, or several that are one instance, in pixels of the image."""

    box: np.ndarray
    mask: MaskWindow
    score: float
    label: int
    cut: bool
    """Whether a seam cuts it."""
    tiles: frozenset[int]
    """The tiles that have seen it."""


def join(found: Sequence[tuple[Tile, Detections]], size: Size) -> Detections:
    """The detections of a whole image, the highest score first.

    Args:
        found: the tiles, and what the model found in each, in pixels of the tile.
        size: height and width of the image.
    """
    tiles = [tile for tile, _ in found]
    near = _neighbours(tiles)
    pieces = [
        piece
        for piece in _pieces(found, size)
        if not piece.cut or not any(_holds(tiles[n], piece.box, size) for n in _around(piece, near))
    ]
    whole = [_united([pieces[i] for i in group]) for group in _instances(pieces, tiles, near)]
    chosen = sorted(_without_contained(whole, near), key=lambda piece: -piece.score)
    has_masks = all(detections.masks is not None for _, detections in found)
    return Detections(
        size=size,
        boxes=np.array([p.box for p in chosen], dtype=np.float32).reshape(-1, 4),
        scores=np.array([p.score for p in chosen], dtype=np.float32),
        classes=np.array([p.label for p in chosen], dtype=np.int64),
        masks=tuple(p.mask for p in chosen) if has_masks else None,
    )


def _neighbours(tiles: Sequence[Tile]) -> list[list[int]]:
    """For each tile, the others that share pixels with it."""
    side = max((max(t.bottom - t.top, t.right - t.left) for t in tiles), default=1)
    # A tile shares pixels only with those of its own cell and of the eight around.
    cells = defaultdict(list)
    for index, tile in enumerate(tiles):
        cells[tile.top // side, tile.left // side].append(index)

    def around(index: int) -> Iterator[int]:
        row, column = tiles[index].top // side, tiles[index].left // side
        for r in (row - 1, row, row + 1):
            for c in (column - 1, column, column + 1):
                yield from (n for n in cells.get((r, c), ()) if n != index)

    return [
        [n for n in around(index) if _strip(tile, tiles[n])] for index, tile in enumerate(tiles)
    ]


def _strip(one: Tile, other: Tile) -> Tile | None:
    """The pixels that two tiles share."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom, right = min(one.bottom, other.bottom), min(one.right, other.right)
    return Tile(top, left, bottom, right) if top < bottom and left < right else None


def _pieces(found: Sequence[tuple[Tile, Detections]], size: Size) -> Iterator[_Piece]:
    for index, (tile, detections) in enumerate(found):
        boxes = detections.boxes + np.tile([tile.left, tile.top], 2)
        for number, box in enumerate(boxes):
            yield _Piece(
                box=box,
                mask=(
                    _filled(box, size)
                    if detections.masks is None
                    else detections.masks[number].moved(tile.top, tile.left)
                ),
                score=float(detections.scores[number]),
                label=int(detections.classes[number]),
                cut=not _holds(tile, box, size),
                tiles=frozenset([index]),
            )


def _filled(box: np.ndarray, size: Size) -> MaskWindow:
    """The pixels of a box, in place of a mask."""
    left, top = np.maximum(np.floor(box[:2]), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(box[2:]), size[::-1]).astype(int).tolist()
    return MaskWindow(top, left, np.ones((max(0, bottom - top), max(0, right - left)), dtype=bool))


def _holds(tile: Tile, box: np.ndarray, size: Size) -> bool:
    """Whether a box lies within a tile, and is not near to a seam of it."""
    left, top, right, bottom = box
    return (
        (tile.left == 0 or left > tile.left + NEAR)
        and (tile.top == 0 or top > tile.top + NEAR)
        and (tile.right == size[1] or right < tile.right - NEAR)
        and (tile.bottom == size[0] or bottom < tile.bottom - NEAR)
    )


def _around(piece: _Piece, near: Sequence[Sequence[int]]) -> set[int]:
    """The tiles around those that have seen a piece."""
    return {n for tile in piece.tiles for n in near[tile]} - piece.tiles


def _instances(
    pieces: Sequence[_Piece], tiles: Sequence[Tile], near: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Indices of the pieces of each instance. Each piece has been seen by one tile."""
    of_tile = _by_tile(pieces)
    parent = list(range(len(pieces)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for tile, others in enumerate(near):
        for other in others:
            strip = _strip(tiles[tile], tiles[other])
            if tile < other and strip is not None:
                for i, j in _agreeing(pieces, of_tile[tile], of_tile[other], strip):
                    parent[root(i)] = root(j)
    groups = defaultdict(list)
    for index in range(len(pieces)):
        groups[root(index)].append(index)
    return list(groups.values())


def _by_tile(pieces: Sequence[_Piece]) -> dict[int, list[int]]:
    """Indices of the pieces that each tile has seen."""
    of_tile = defaultdict(list)
    for index, piece in enumerate(pieces):
        for tile in piece.tiles:
            of_tile[tile].append(index)
    return of_tile


def _agreeing(
    pieces: Sequence[_Piece], ones: Sequence[int], others: Sequence[int], strip: Tile
) -> list[tuple[int, int]]:
    """Pairs of pieces of two tiles that are one instance. One of a pair is the best for the other:
    two instances that lie on each other do not become one."""
    agreement = {}
    for i, j in _touching(pieces, ones, others):
        one, other = pieces[i], pieces[j]
        common = one.mask.overlap(other.mask)
        areas = [_area_in(one.mask, strip), _area_in(other.mask, strip)]
        whole = min(areas) if one.cut and other.cut else sum(areas) - common
        if common and common >= SAME * whole:
            agreement[i, j] = common / whole
    best: dict[int, float] = defaultdict(float)
    for pair, value in agreement.items():
        for index in pair:
            best[index] = max(best[index], value)
    return [pair for pair, value in agreement.items() if value >= min(best[i] for i in pair)]


def _touching(
    pieces: Sequence[_Piece], ones: Sequence[int], others: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Pairs of pieces of one class whose boxes share pixels."""
    if not ones or not others:
        return
    a, b = (np.array([pieces[i].box for i in group]) for group in (ones, others))
    share = (a[:, None, :2] < b[None, :, 2:]) & (b[None, :, :2] < a[:, None, 2:])
    for i, j in zip(*np.nonzero(share.all(axis=2)), strict=True):
        if pieces[ones[i]].label == pieces[others[j]].label:
            yield ones[i], others[j]


def _area_in(mask: MaskWindow, tile: Tile) -> int:
    """Number of the pixels of a mask that lie in a part of the image."""
    top, left = max(0, tile.top - mask.top), max(0, tile.left - mask.left)
    bottom, right = max(0, tile.bottom - mask.top), max(0, tile.right - mask.left)
    return int(mask.pixels[top:bottom, left:right].sum())


def _united(pieces: Sequence[_Piece]) -> _Piece:
    """The instance that several pieces are parts or repetitions of."""
    base = min(pieces, key=lambda piece: (piece.cut, -piece.mask.area))
    used = [base]
    for piece in pieces:
        repeats = not base.cut and piece.mask.overlap(base.mask) >= INSIDE * piece.mask.area
        if piece is not base and piece.cut and not repeats:
            used.append(piece)
    boxes = np.array([p.box for p in used])
    return base._replace(
        box=np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]),
        mask=base.mask if len(used) == 1 else _union([p.mask for p in used]),
        score=max(p.score for p in used),
        cut=base.cut and len(pieces) == 1,
        tiles=frozenset().union(*(p.tiles for p in pieces)),
    )


def _union(masks: Sequence[MaskWindow]) -> MaskWindow:
    masks = [mask for mask in masks if mask.pixels.size]
    if not masks:
        return MaskWindow(0, 0, np.zeros((0, 0), dtype=bool))
    top, left = min(m.top for m in masks), min(m.left for m in masks)
    bottom = max(m.top + m.pixels.shape[0] for m in masks)
    right = max(m.left + m.pixels.shape[1] for m in masks)
    union = np.zeros((bottom - top, right - left), dtype=bool)
    for mask in masks:
        union[mask.moved(-top, -left).slices] |= mask.pixels
    return MaskWindow(top, left, union)


def _without_contained(pieces: Sequence[_Piece], near: Sequence[Sequence[int]]) -> Iterator[_Piece]:
    """The pieces that stay. What one tile has seen as two instances stays two instances."""
    of_tile = _by_tile(pieces)
    rank = {i: r for r, i in enumerate(sorted(range(len(pieces)), key=lambda i: _worth(pieces[i])))}
    left_out: set[int] = set()
    for index in sorted(rank, key=rank.__getitem__):
        piece = pieces[index]
        others = {i for tile in _around(piece, near) for i in of_tile[tile]}
        better = [i for i in others if rank[i] < rank[index] and i not in left_out]
        for _, other in _touching(pieces, [index], better):
            smaller = min(piece.mask.area, pieces[other].mask.area)
            common = piece.mask.overlap(pieces[other].mask)
            if not piece.tiles & pieces[other].tiles and common and common >= INSIDE * smaller:
                left_out.add(index)
                break
        else:
            yield piece


def _worth(piece: _Piece) -> tuple[bool, float]:
    return piece.cut, -piece.score
