"""A table with a row for each instance: CSV, or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...data.lengths import measure_extent
from ...data.mask_windows import MaskWindow, contact_of_windows
from ...errors import ConfigError
from ...writing import write_whole
from ..detections import Detections
from .formats import check_packages

_NEEDS = {".csv": ("scipy",), ".parquet": ("scipy", "pyarrow")}

_AREA = "area"
_LENGTHS = (
    *("length", "width", "centroid_x", "centroid_y"),
    *("box_x", "box_y", "box_width", "box_height"),
)  # these and the area have a column in units too
_COLUMNS = ("image", "frame", "instance", "class", "score", _AREA, *_LENGTHS, "contact")
_PLACES = 4  # after the point
_MOST_ROWS = 65_536  # of a Parquet file that are in memory at once


class PixelSize(NamedTuple):
    """The side of a pixel in a unit of length."""

    value: float
    unit: str


def table_rows(
    detections: Detections,
    image: str,
    classes: Sequence[str],
    pixel_size: PixelSize | None = None,
    frame: int | None = None,
) -> list[dict]:
    """A row for each instance, in pixels of the image.

    Args:
        image: its name.
        classes: names, in the order of the model's classes.
        pixel_size: adds columns in its unit, such as `area_um2` and `length_um`.
        frame: number of a frame in a video, from 0 on; adds a column.

    Returns:
        Rows with `image`, `instance` (the number in label images), `class`, `score`, `area`,
        `length` and `width` (see `measure_extent`), `centroid_x` and `centroid_y` (the pixel in the
        corner has 0.5), `box_x`, `box_y`, `box_width`, `box_height`, and `contact` (see
        `geometry.contact`). Without masks only the box is measured. The centroid of an empty mask
        is None.
    """
    boxes = detections.boxes.astype(float)
    contacts = None if detections.masks is None else contact_of_windows(detections.masks)
    rows = []
    for index, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        row: dict[str, Any] = {"image": image, "frame": frame, "instance": index + 1}
        row |= {
            "class": detections.class_name(index, classes),
            "score": round(float(detections.scores[index]), 6),
        }
        if detections.masks is not None:
            row |= _of_mask(detections.masks[index])
        row |= {"box_x": x0, "box_y": y0, "box_width": x1 - x0, "box_height": y1 - y0}
        if contacts is not None:
            row["contact"] = float(contacts[index])
        rows.append(_rounded(row | _in_units(row, pixel_size)))
    return rows


def _of_mask(mask: MaskWindow) -> dict:
    extent = measure_extent(mask.pixels)
    rows, columns = np.nonzero(mask.pixels)
    return {
        "area": mask.area,
        "length": extent.length,
        "width": extent.width,
        "centroid_x": mask.left + float(columns.mean()) + 0.5 if len(rows) else None,
        "centroid_y": mask.top + float(rows.mean()) + 0.5 if len(rows) else None,
    }


def _in_units(row: dict, pixel_size: PixelSize | None) -> dict:
    if pixel_size is None:
        return {}
    factors = {_AREA: pixel_size.value**2} | dict.fromkeys(_LENGTHS, pixel_size.value)
    return {
        _unit_column(name, pixel_size): None if row[name] is None else row[name] * factor
        for name, factor in factors.items()
        if name in row
    }


def _unit_column(name: str, pixel_size: PixelSize) -> str:
    return f"{name}_{pixel_size.unit}{2 if name == _AREA else ''}"


def columns_of(seen: Collection[str], pixel_size: PixelSize | None = None) -> list[str]:
    """Names of the columns of a table, in their order.

    Args:
        seen: those that its rows have. Without any row, a table has the columns of masks in images.
    """
    every = list(_COLUMNS)
    if pixel_size:
        every += [_unit_column(name, pixel_size) for name in (_AREA, *_LENGTHS)]
    return [name for name in every if (name in seen if seen else name != "frame")]


def _rounded(row: dict) -> dict:
    """Without a frame that is None; fractions rounded."""
    return {
        name: round(value, _PLACES) if isinstance(value, float) and name != "score" else value
        for name, value in row.items()
        if not (name == "frame" and value is None)
    }


def check_table(path: Path) -> None:
    """Raises `ConfigError` if the name of a table has another ending than its two formats, or if
    the package of its format is missing."""
    if path.suffix.lower() not in _NEEDS:
        raise ConfigError(f"--table {path}: the name must end in .csv or .parquet.")
    check_packages(_NEEDS[path.suffix.lower()], f"--table {path}")


def write_table(rows: Iterable[dict], columns: Sequence[str], path: Path) -> None:
    """Writes a table, CSV or Parquet by the ending of its name, a part at a time.

    Args:
        rows: may lack columns; what is missing or None is empty.
        columns: names, in their order.
    """
    with write_whole(path, "wb") as file:
        if path.suffix.lower() == ".csv":
            _write_csv(rows, columns, file)
        else:
            _write_parquet(rows, columns, file)


def _write_csv(rows, columns, file) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text.flush()
    text.detach()


def _write_parquet(rows, columns, file) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, getattr(pyarrow, _kind(name))()) for name in columns])
    with parquet.ParquetWriter(file, schema) as writer:
        for some in _batches(rows):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def _kind(column: str) -> str:
    if column in ("image", "class"):
        return "string"
    return "int64" if column in ("frame", "instance", "area") else "float64"


def _batches(rows: Iterable[dict]) -> Iterator[list[dict]]:
    rows = iter(rows)
    while some := list(islice(rows, _MOST_ROWS)):
        yield some
