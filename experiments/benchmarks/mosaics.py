"""Measures what is found in large images: mosaics of the test wells of BBBC010.

    DETECTRON2_DATASETS=DATASETS python -m experiments.benchmarks.mosaics --wells 4 16 64 \\
        --output experiments/results/mosaics.json

Every way to predict a mosaic has a process of its own, so that its memory can be measured alone.
SAHI and supervision are measured if they are installed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from semiconv_d2 import Predictor, get_config_file
from semiconv_d2.data.datasets.prepared import datasets_root
from semiconv_d2.data.mask_windows import MaskWindow, encode_windows
from semiconv_d2.inference.detections import Detections
from semiconv_d2.inference.images import open_image
from semiconv_d2.inference.options import AUTO
from semiconv_d2.inference.tiling.joining import join
from semiconv_d2.writing import write_json

CONFIG = "bbbc010_small_semiconv"
WEIGHTS = "checkpoints/bbbc010_small_one_stage.pth"
MARGIN = 61
"""Pixels of background around the wells, so that no seam lies on the border of a well."""

MOVED_BY = 30
LARGE = 13, 11, (8192, 8192)
"""Rows and columns of wells, and height and width of the mosaic that is measured last."""

LEAST, SHOWN = 0.05, 0.5
"""Scores from which on detections count in AP, and as found."""

COLUMNS = {
    "AP": ".1f",
    "found": "d",
    "missed": "d",
    "at seams": "d",
    "again": "d",
    "other": "d",
    "CPU seconds": ".0f",
    "GiB": ".1f",
}
"""Numbers of each way, and their formats."""

_MOST_MEMORY = 8 * 2**30
_MATCH = 0.5  # IoU from which on a worm is found


class Mosaic(NamedTuple):
    """Wells beside each other."""

    pixels: np.ndarray
    """(H, W) uint8."""
    worms: list[MaskWindow]
    wells: list[tuple[Path, int, int]]
    """The image of each well, and its first row and column."""


def draw_mosaic(rows: int, columns: int, size: tuple[int, int] | None = None) -> Mosaic:
    """Wells of the test set, row by row; after the last one the first one comes again.

    Args:
        size: height and width of the mosaic; by default so large that the wells and a margin fit.
    """
    from pycocotools import mask as coco_masks

    folder = datasets_root() / "bbbc010"
    content = json.loads((folder / "test.json").read_text(encoding="utf-8"))
    images = content["images"]
    height, width = images[0]["height"], images[0]["width"]
    total = size or (rows * height + 2 * MARGIN, columns * width + 2 * MARGIN)
    pixels = np.zeros(total, dtype=np.uint8)
    worms, wells = [], []
    for number in range(rows * columns):
        image = images[number % len(images)]
        top = MARGIN + number // columns * height
        left = MARGIN + number % columns * width
        path = folder / "images" / image["file_name"]
        pixels[top : top + height, left : left + width] = _read_grey(path)
        wells.append((path, top, left))
        worms += [
            MaskWindow.of(coco_masks.decode(a["segmentation"]).astype(bool)).moved(top, left)
            for a in content["annotations"]
            if a["image_id"] == image["id"]
        ]
    return Mosaic(pixels, worms, wells)


def _read_grey(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def _load(score: float, **tiles: object) -> Predictor:
    return Predictor.load(
        get_config_file(CONFIG), weights=WEIGHTS, score_threshold=score, device="cpu", **tiles
    )


def one_by_one(_: Path, wells: Sequence[Path], scores: Sequence[float]) -> list[Detections]:
    """One of them for each well, in pixels of the well."""
    predictor = _load(min(scores))
    return [predictor.detect(path) for path in wells]


def one_by_one_moved(_: Path, wells: Sequence[Path], scores: Sequence[float]) -> list[Detections]:
    """The same, but each well is looked at with `MOVED_BY` more pixels of background around: what
    differs is chance."""
    predictor = _load(min(scores), tile=AUTO)
    found = []
    for path in wells:
        pixels = np.pad(_read_grey(path), MOVED_BY)
        seen = predictor.detect_tile(_as_rgb(pixels), predictor.tiling.factor)
        masks = [mask.moved(-MOVED_BY, -MOVED_BY) for mask in seen.masks]
        found.append(_detections(masks, seen.scores.tolist()))
    return found


def at_once(image: Path, _: object, scores: Sequence[float]) -> list[Detections]:
    return _from_score(_load(min(scores)).detect(image), scores)


def own_tiles(image: Path, _: object, scores: Sequence[float]) -> list[Detections]:
    """As `Predictor.detect` does it. Tiles are looked at once, for all scores."""
    predictor = _load(min(scores), tile=AUTO)
    with open_image(image) as regions:
        tiles = predictor.tiling.tiles(regions.size)
        found = [
            predictor.detect_tile(regions.read(*tile.slices), predictor.tiling.factor)
            for tile in tiles
        ]
    parts = [_from_score(detections, scores) for detections in found]
    return [
        join(list(zip(tiles, part, strict=True)), regions.size) for part in zip(*parts, strict=True)
    ]


def with_sahi(image: Path, _: object, scores: Sequence[float]) -> list[Detections]:
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    def look(score: float) -> Detections:
        model = AutoDetectionModel.from_pretrained(
            model_type="detectron2",
            model_path=WEIGHTS,
            config_path=get_config_file(CONFIG),
            confidence_threshold=score,
            device="cpu",
        )
        result = get_sliced_prediction(
            _as_rgb(_read_grey_tiff(image)),
            model,
            slice_height=520,
            slice_width=696,
            overlap_height_ratio=0.2,
            overlap_width_ratio=0.2,
            perform_standard_pred=False,
            verbose=0,
        )
        found = result.object_prediction_list
        masks = [MaskWindow.of(one.mask.bool_mask) for one in found]
        return _detections(masks, [one.score.value for one in found])

    return list(map(look, scores))


def with_supervision(image: Path, _: object, scores: Sequence[float]) -> list[Detections]:
    import supervision

    def look(score: float) -> Detections:
        predictor = _load(score)

        def look_at_slice(pixels: np.ndarray) -> supervision.Detections:
            found = predictor(pixels)
            return supervision.Detections(
                xyxy=found.pred_boxes.tensor.numpy(),
                mask=found.pred_masks.numpy(),
                confidence=found.scores.numpy(),
                class_id=found.pred_classes.numpy(),
            )

        slicer = supervision.InferenceSlicer(
            look_at_slice, slice_wh=(696, 520), overlap_wh=(139, 104), compact_masks=True
        )
        found = slicer(_as_rgb(_read_grey_tiff(image)))
        masks = [] if found.mask is None else [MaskWindow.of(np.asarray(m)) for m in found.mask]
        return _detections(masks, found.confidence.tolist())

    return list(map(look, scores))


def _from_score(found: Detections, scores: Sequence[float]) -> list[Detections]:
    return [found[found.scores >= score] for score in scores]


def _as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _read_grey_tiff(image: Path) -> np.ndarray:
    from tifffile import imread

    return imread(image)


def _detections(masks: Sequence[MaskWindow], scores: Sequence[float]) -> Detections:
    """Only masks and scores matter here."""
    return Detections(
        size=(0, 0),
        boxes=np.zeros((len(masks), 4), dtype=np.float32),
        scores=np.array(scores, dtype=np.float32),
        classes=np.zeros(len(masks), dtype=np.int64),
        masks=tuple(masks),
    )


ALONE, MOVED, TILES = "the wells one by one", "the same, moved by 30 pixels", "tiles"
WAYS = {
    ALONE: one_by_one,
    MOVED: one_by_one_moved,
    "the mosaic at once": at_once,
    TILES: own_tiles,
    "SAHI": with_sahi,
    "supervision": with_supervision,
}
_NEEDS = {"SAHI": "sahi", "supervision": "supervision"}


def average_precision(mosaic: Mosaic, found: Detections) -> float:
    """Mask AP in percent; all detections of the mosaic count."""
    import contextlib
    import io

    from pycocotools.coco import COCO

    from semiconv_d2.evaluation.measures.coco import coco_values

    size = mosaic.pixels.shape
    worms = encode_windows(mosaic.worms, size)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1, "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "worm"}],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": 1,
                "segmentation": code,
                "area": mask.area,
                "bbox": _box(mask),
                "iscrowd": 0,
            }
            for number, (code, mask) in enumerate(zip(worms, mosaic.worms, strict=True), start=1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    results = [
        {
            "image_id": 1,
            "category_id": 1,
            "segmentation": code,
            "score": float(score),
            "bbox": _box(mask),
        }
        for code, score, mask in zip(
            encode_windows(found.masks, size), found.scores, found.masks, strict=True
        )
    ]
    return coco_values(truth, results, "mask", max_detections=len(results))[0]["AP"]


def _box(mask: MaskWindow) -> list[int]:
    return [mask.left, mask.top, *mask.pixels.shape[::-1]]


def count(mosaic: Mosaic, found: Detections) -> tuple[np.ndarray, int, int]:
    """Which worms are found; the number of detections of a worm that is found already; the number
    of all other detections."""
    masks = [found.masks[i] for i in np.argsort(-found.scores, kind="stable")]
    taken = np.zeros(len(mosaic.worms), dtype=bool)
    repeated = others = 0
    tops, lefts, bottoms, rights = np.array(
        [
            (rows.start, columns.start, rows.stop, columns.stop)
            for rows, columns in (mask.slices for mask in mosaic.worms)
        ]
    ).T
    areas = [mask.area for mask in mosaic.worms]
    for mask in masks:
        rows, columns = mask.slices
        near = (tops < rows.stop) & (rows.start < bottoms)
        near &= (lefts < columns.stop) & (columns.start < rights)
        hits = []
        for index in np.flatnonzero(near):
            common = mask.overlap(mosaic.worms[index])
            hits.append((common / (mask.area + areas[index] - common), index))
        hits = sorted((hit for hit in hits if hit[0] >= _MATCH), reverse=True)
        free = [index for _, index in hits if not taken[index]]
        if free:
            taken[free[0]] = True
        elif hits:
            repeated += 1
        else:
            others += 1
    return taken, repeated, others


def crossed_by_seams(mosaic: Mosaic) -> np.ndarray:
    """Which worms a border of a tile crosses, (N,) bool."""
    tiles = _load(SHOWN, tile=AUTO).tiling.tiles(mosaic.pixels.shape)
    down = np.unique([(tile.top, tile.bottom) for tile in tiles])
    across = np.unique([(tile.left, tile.right) for tile in tiles])

    def crosses(place: slice, seams: np.ndarray) -> bool:
        return bool(((place.start < seams) & (seams < place.stop)).any())

    places = [mask.slices for mask in mosaic.worms]
    return np.array([crosses(rows, down) or crosses(cols, across) for rows, cols in places])


def measure(way: str, image: Path, wells: Sequence[Path], scores: Sequence[float]) -> dict | None:
    """What a way finds, its CPU seconds for a score, and its peak of memory, in a process of its
    own. None if it needs more memory than `_MOST_MEMORY`."""
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder, "job"), Path(folder, "result")
        job.write_bytes(pickle.dumps((way, image, wells, scores)))
        command = [sys.executable, "-m", "experiments.benchmarks.mosaics", "--job", job, result]
        done = subprocess.run(list(map(str, command)), check=False)
        return pickle.loads(result.read_bytes()) if done.returncode == 0 else None


def work(job: Path, result: Path) -> None:
    """In the process of a way: runs it and writes what it found."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    way, image, wells, scores = pickle.loads(job.read_bytes())
    start = time.process_time()
    found = WAYS[way](image, wells, scores)
    runs = len(scores) if way in _NEEDS else 1
    seconds = (time.process_time() - start) / runs
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result.write_bytes(pickle.dumps({"found": found, "CPU seconds": seconds, "GiB": peak}))


class Wells:
    """What is found in the wells one by one. Every well is looked at once."""

    def __init__(self, way: str) -> None:
        self._way = way
        self._found: dict[Path, Detections] = {}

    def place(self, mosaic: Mosaic) -> Detections:
        new = sorted({path for path, _, _ in mosaic.wells} - set(self._found))
        if new:
            outcome = measure(self._way, Path(), new, [LEAST])
            self._found |= dict(zip(new, outcome["found"], strict=True))
        masks, scores = [], []
        for path, top, left in mosaic.wells:
            masks += [mask.moved(top, left) for mask in self._found[path].masks]
            scores += self._found[path].scores.tolist()
        return _detections(masks, scores)


def measure_mosaic(
    mosaic: Mosaic, ways: Sequence[str], wells: Mapping[str, Wells], scores: Sequence[float]
) -> Iterator[dict]:
    """A row for each way.

    Args:
        scores: `SHOWN`, and `LEAST` if AP is wanted.
    """
    from tifffile import imwrite

    height, width = mosaic.pixels.shape
    single = wells[ALONE].place(mosaic)
    found_alone, _, _ = count(mosaic, *_from_score(single, [SHOWN]))
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "mosaic.tif")
        imwrite(image, mosaic.pixels, tile=(256, 256), compression="zlib")
        for way in ways:
            row = {"wells": len(mosaic.wells), "height": height, "width": width}
            row |= {"worms": len(mosaic.worms), "way": way}
            if way in wells:
                found = _from_score(wells[way].place(mosaic), scores)
            else:
                outcome = measure(way, image, [], scores)
                found = outcome["found"] if outcome else []
                row |= {key: round(outcome[key], 2) for key in ("CPU seconds", "GiB") if outcome}
            for score, detections in zip(scores, found, strict=False):
                if score == SHOWN:
                    taken, row["again"], row["other"] = count(mosaic, detections)
                    missed = found_alone & ~taken
                    row |= {"found": int(taken.sum()), "missed": int(missed.sum())}
                    if way == TILES:
                        row["at seams"] = int(missed[crossed_by_seams(mosaic)].sum())
                else:
                    row["AP"] = round(average_precision(mosaic, detections), 2)
            yield row


def format_mosaics(content: Mapping) -> str:
    """A table for each mosaic."""
    tables = []
    for _, group in itertools.groupby(content["rows"], key=lambda row: row["wells"]):
        rows = list(group)
        title = "{wells} wells, {worms:,} worms, {height} × {width} pixels".format(**rows[0])
        values = [[row["way"], *(row.get(key) for key in COLUMNS)] for row in rows]
        floats = ["", *(form for form in COLUMNS.values())]
        headers = [title, *COLUMNS]
        align = ["left", *["right"] * len(COLUMNS)]
        tables.append(tabulate(values, headers, floatfmt=floats, colalign=align, missingval="–"))
    return "\n\n".join(tables)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wells", type=int, nargs="*", default=[4, 16, 64], help="squares")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--large", action="store_true", help="also 8192 × 8192 pixels, 143 wells")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--job", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.job:
        work(*arguments.job)
        return 0
    ways = [way for way in arguments.ways if way not in _NEEDS or find_spec(_NEEDS[way])]
    own = [way for way in ways if way in (ALONE, MOVED, TILES)]
    others = [way for way in ways if way not in own]
    squares = {n: (round(n**0.5), round(n**0.5)) for n in arguments.wells}
    plan = [(grid, own, [SHOWN, LEAST]) for grid in squares.values()]
    plan += [(LARGE, own, [SHOWN])] * arguments.large
    # The other programs come last, and AP of them only for small mosaics: they take long.
    plan += [(grid, others, [SHOWN, LEAST] if n < 50 else [SHOWN]) for n, grid in squares.items()]
    rows: list[dict] = []
    wells = {way: Wells(way) for way in (ALONE, MOVED)}
    for grid, chosen, scores in plan:
        for row in measure_mosaic(draw_mosaic(*grid), chosen, wells, scores):
            print(row, flush=True)
            rows.append(row)
            if arguments.output:
                rows.sort(key=lambda r: (r["height"] * r["width"], list(WAYS).index(r["way"])))
                write_json({"kind": "mosaics", "rows": rows}, arguments.output)
    print(format_mosaics({"rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
