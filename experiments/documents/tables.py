"""Tables in documents, from stored results.

A table is the code block after a comment that names its JSON:

    <!-- table: experiments/results/cost_cpu.json -->
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from tabulate import tabulate

from experiments.attaching import format_rows, read_rows
from experiments.benchmarks.mosaics import format_mosaics
from experiments.collecting import format_experiments
from experiments.ownership import Ownership, format_ownership
from semiconv_d2.inference.cost import format_costs

_TABLE = re.compile(
    r"(?P<comment><!-- table: (?P<path>\S+) -->\n)(?:\n```\n.*?\n```\n)?", re.DOTALL
)


def _format_ownership(content: Mapping) -> str:
    values = (np.array(content[key], dtype=float) for key in Ownership._fields)
    return format_ownership(Ownership(*values))


def _format_drop_in(content: Mapping) -> str:
    return format_rows(read_rows(content))


def format_table(content: Mapping) -> str:
    """A table that was combined from several results."""
    headers = content["headers"]
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(content["rows"], headers, floatfmt=".1f", colalign=align, missingval="–")


FORMATS: dict[str, Callable[[Mapping], str]] = {
    "cost": format_costs,
    "drop_in": _format_drop_in,
    "experiments": format_experiments,
    "mosaics": format_mosaics,
    "ownership": _format_ownership,
    "table": format_table,
}
"""The function for each "kind" of JSON."""


def fill_tables(text: str, root: Path) -> str:
    """Writes the tables of a document again.

    Args:
        text: Markdown.
        root: folder that the paths of JSON files start from.
    """

    def draw(match: re.Match) -> str:
        content = json.loads((root / match["path"]).read_text(encoding="utf-8"))
        return f"{match['comment']}\n```\n{FORMATS[content['kind']](content)}\n```\n"

    return _TABLE.sub(draw, text)
