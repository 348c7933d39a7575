"""The page: its content, and how it becomes one HTML file that needs no other file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..visualization.masks import PALETTE, instance_colours
from .charts import BarChart, LineChart, compact, draw_bars, draw_lines

_FOLDER = Path(__file__).parent
_DASHES = ("none", "7 3", "2 2.5", "9 3 2 3", "4 2", "12 4")  # dashes of the runs' lines
_SHADES = 3 * len(PALETTE)  # number of different colours of instance_colours


class Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell is a heading. A row of only one cell is a heading for the rows below it."""
    text: bool = False
    """Whether cells have text, which is aligned to the left."""


class Section(NamedTuple):
    key: str
    """Key of its link; unique."""
    title: str
    text: Sequence[str]
    """Paragraphs."""
    charts: Sequence[LineChart | BarChart] = ()
    tables: Sequence[Table] = ()
    listings: Sequence[tuple[str, str]] = ()
    """Titles, and the code below each."""


class Instance(NamedTuple):
    """An instance of the ground truth."""

    category: int
    """Index of its class."""
    size: int
    """Index of its name in `Gallery.sizes`."""
    contact: int
    """Index of its name in `Gallery.contacts`."""
    touching: float
    """Share of its outline that is in contact."""
    area: float
    """In pixels of the image."""
    iou: Sequence[float]
    """IoU with the detection of each run that is paired with it; 0: none."""


class Drawn(NamedTuple):
    """A detection."""

    path: str
    owner: int
    """Index of the instance that it is paired with; −1: false positive."""
    score: float
    category: int


class Picture(NamedTuple):
    """An image of the gallery."""

    name: str
    height: int
    """Height of the picture, in its own pixels."""
    width: int
    uri: str
    """Data URI; "" if the image is missing."""
    instances: Sequence[Instance]
    paths: Sequence[str]
    """Outlines of the instances."""
    crowds: Sequence[str]
    """Outlines of crowd regions."""
    found: Sequence[Sequence[Drawn]]
    """Detections of each run."""


class Gallery(NamedTuple):
    text: Sequence[str]
    runs: Sequence[str]
    classes: Sequence[str]
    sizes: Sequence[str]
    contacts: Sequence[str]
    pictures: Sequence[Picture]


class Tile(NamedTuple):
    """A number that is shown large at the top."""

    title: str
    values: Sequence[str]
    """Value of each run."""
    change: str
    """Difference of two runs; may be empty."""


class Page(NamedTuple):
    title: str
    subtitle: str
    runs: Sequence[str]
    """Names of the runs, in the order of their colours."""
    notes: Sequence[str]
    """Notes that readers need first."""
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    gallery: Gallery | None
    after: Sequence[Section]
    """Sections below the gallery."""


def render(page: Page) -> str:
    """Writes the page as HTML, with style, script, charts and pictures inside."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        page=page,
        style=_read("report.css") + _colours(),
        script=_script(),
        draw=lambda c: draw_bars(c) if isinstance(c, BarChart) else draw_lines(c),
        ends=_ends,
        index=page.gallery and _json(_index(page.gallery)),
        pictures=[_json(_picture(p)) for p in page.gallery.pictures] if page.gallery else [],
    )


def _script() -> str:
    body = "".join(_read(name) for name in ("gallery.js", "viewer.js"))
    return f'"use strict";\n(() => {{\n{body}}})();\n'


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _colours() -> str:
    """CSS rules for the colours of runs and instances."""
    rules = [
        f".run-{i}{{--own:var(--r{i});--dash:{dash}}}"
        for i, dash in zip(range(len(PALETTE)), _DASHES, strict=True)
    ]
    runs = "".join(f"--r{i}:{_hex(c)};" for i, c in enumerate(PALETTE))
    light = "".join(f"--r{i}:{_hex(c * 0.75 + 0.25)};" for i, c in enumerate(PALETTE))
    rules.append(f":root{{{runs}}}")
    rules.append(f"@media screen and (prefers-color-scheme:dark){{:root{{{light}}}}}")
    rules += [f".c{i}{{--own:{_hex(c)}}}" for i, c in enumerate(instance_colours(_SHADES))]
    return "\n".join(rules)


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)


def _ends(chart: LineChart | BarChart) -> list[tuple[int, str]]:
    """Numbers of runs and their last values, for the line below a chart."""
    if isinstance(chart, BarChart) or chart.limits is not None:
        return []
    return [(s.run, compact(s.y[-1])) for s in chart.series if len(s.y)]


def _index(gallery: Gallery) -> dict:
    """The data of all pictures for sorting and filtering."""
    return {
        "runs": gallery.runs,
        "classes": gallery.classes,
        "sizes": gallery.sizes,
        "contacts": gallery.contacts,
        "shades": _SHADES,
        "pictures": [
            {
                "name": p.name,
                "height": p.height,
                "width": p.width,
                "instances": [
                    [i.category, i.size, i.contact, i.touching, i.area, *i.iou] for i in p.instances
                ],
                "false": [[d.category for d in found if d.owner < 0] for found in p.found],
            }
            for p in gallery.pictures
        ],
    }


def _picture(picture: Picture) -> dict:
    """The data for drawing a picture; the script reads them when the picture is first visible."""
    return {
        "uri": picture.uri,
        "truth": picture.paths,
        "crowds": picture.crowds,
        "found": picture.found,
    }


def _json(content: object) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(_finite(content), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(content: object) -> object:
    """Floats with three digits after the decimal point; None instead of NaN."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    if isinstance(content, float):
        return round(content, 3) if math.isfinite(content) else None
    return content
