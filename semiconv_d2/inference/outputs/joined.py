"""Results that go into one file for all inputs: COCO results, and a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...data.coco.coco_json import read_coco
from ...errors import DatasetError
from ...writing import write_whole
from ..detections import Detections
from ..loading import unnamed
from ..sources import Source
from .coco import coco_results
from .table import PixelSize, columns_of, table_rows, write_table

Part = dict[str, Any]
"""Results of an image or a frame: its "id" in the annotations, "coco" and "table"."""


class Ids(NamedTuple):
    """Ids for COCO results."""

    images: dict[str, int]
    """Ids of images, by their file names. Empty: images are numbered."""
    categories: list[int]
    """A category id for each class of the model."""

    @classmethod
    def read(cls, annotations: Path | None, classes: Sequence[str]) -> Ids:
        """Reads the ids from a JSON in COCO's format. Without one, categories are numbered from 1.

        Raises:
            DatasetError: the file is damaged, or has no category for a class of the model.
        """
        if annotations is None:
            return cls({}, list(range(1, len(classes) + 1)))
        content = read_coco(annotations)
        categories = {c["name"]: c["id"] for c in content["categories"]}
        if unnamed(classes) and len(classes) == len(categories):
            classes = sorted(categories, key=categories.__getitem__)
        missing = [name for name in classes if name not in categories]
        if missing:
            raise DatasetError(
                f"{annotations} has no category {missing[0]!r}, a class of the model. Name the "
                "classes in the order of the model: --classes NAME NAME …"
            )
        images = {Path(image["file_name"]).name: image["id"] for image in content["images"]}
        if len(images) < len(content["images"]):
            raise DatasetError(
                f"{annotations}: two images in different folders have the same name."
            )
        return cls(images, [categories[name] for name in classes])


class Known(NamedTuple):
    """Which sources have an id in annotations."""

    sources: list[Source]
    left_out: list[str]
    """Names of those that have none."""
    doubles: list[str]
    """Names of those whose id an earlier source has."""


def find_known(sources: Sequence[Source], annotations: Path | None) -> Known:
    """Finds the sources that are in annotations in COCO's format; all of them without annotations.

    Raises:
        DatasetError: the annotations are damaged, or no source is in them.
    """
    if annotations is None:
        return Known(list(sources), [], [])
    ids = Ids.read(annotations, ()).images
    known: dict[str, Source] = {}
    left_out, doubles = [], []
    for source in sources:
        name = Path(source.name).name
        if name not in ids:
            left_out.append(source.name)
        elif known.setdefault(name, source) is not source:
            doubles.append(source.name)
    if not known:
        raise DatasetError(
            f"{annotations} has no image with the name of an input, such as "
            f"{Path(left_out[0]).name}."
        )
    return Known(list(known.values()), left_out, doubles)


class Joined(NamedTuple):
    """Which joined files are wanted."""

    coco: Path | None = None
    table: Path | None = None
    pixel_size: PixelSize | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is any."""
        return bool(self.coco or self.table)

    def part(
        self,
        detections: Detections,
        name: str,
        classes: Sequence[str],
        ids: Ids,
        frame: int | None = None,
    ) -> Part:
        """The results of one image or frame, which JSON can hold.

        Args:
            name: of the file.
            classes: names, in the order of the model's classes.
            frame: its number in a video, from 0 on.
        """
        part: Part = {"id": ids.images.get(Path(name).name)}
        if self.coco:
            place = {"file_name": name} | ({} if frame is None else {"frame": frame})
            part["coco"] = [
                result | {"category_id": ids.categories[result["category_id"]]} | place
                for result in coco_results(detections, 0)
            ]
        if self.table:
            part["table"] = table_rows(detections, name, classes, self.pixel_size, frame)
        return part

    def write(self, read: Callable[[], Iterable[Sequence[Part]]]) -> None:
        """Writes the files.

        Args:
            read: returns the parts of each input that is done, in the order of the inputs. Images
                and frames without ids are numbered from 1 in this order.
        """
        for path in (self.coco, self.table):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
        if self.coco:
            _write_list(_numbered(read()), self.coco)
        if self.table:
            seen = {name for row in _rows(read()) for name in row}
            write_table(_rows(read()), columns_of(seen, self.pixel_size), self.table)


def _numbered(inputs: Iterable[Sequence[Part]]) -> Iterator[dict]:
    parts = (part for parts in inputs for part in parts)
    for number, part in enumerate(parts, start=1):
        image_id = number if part["id"] is None else part["id"]
        for result in part["coco"]:
            yield result | {"image_id": image_id}


def _rows(inputs: Iterable[Sequence[Part]]) -> Iterator[dict]:
    return (row for parts in inputs for part in parts for row in part["table"])


def _write_list(items: Iterable[dict], path: Path) -> None:
    """Writes a list as JSON, one item after the other."""
    with write_whole(path) as file:
        file.write("[")
        for number, item in enumerate(items):
            file.write((", " if number else "") + json.dumps(item))
        file.write("]")
