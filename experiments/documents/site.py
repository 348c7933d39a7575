"""Pages of the site that are generated from the code, so that they always agree with it.

Config keys come from semiconv_d2/config.py, commands from their --help. MkDocs calls
`on_page_markdown`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from semiconv_d2.config import read_preset

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "semiconv_d2" / "config.py"
ABLATION = ROOT / "experiments" / "results" / "ablation_bbbc010.json"
_GROUP = "# --- "
_PART = re.compile(r"<!-- (config keys|commands) -->\n.*?<!-- end -->", re.DOTALL)
SECTIONS = {
    "_add_model": ("MODEL.SEMICONV", "The semi-convolutional mask head."),
    "_add_coloring": ("MODEL.COLORING", "The meta-architecture `InstanceColoring`."),
    "_add_timm": ("MODEL.TIMM", "A classifier of timm as the backbone."),
    "_add_input": ("INPUT", "How images are read."),
    "_add_own_data": ("OWN_DATA", "Data of your own."),
    "_add_evaluation": ("EVALUATION", "What is measured."),
    "_add_wandb": ("WANDB", "Weights & Biases."),
}
"""For each function that adds keys: their node, and what they are about."""


class Key(NamedTuple):
    """A key of the config."""

    name: str
    default: str
    """Its value as Python code."""
    about: str
    """The comment above it."""
    group: str
    """The last comment above it that begins with "---": what a group of keys has in common."""


def fill_reference(markdown: str) -> str:
    """A page with its parts made of the code: what is between `<!-- config keys -->` or
    `<!-- commands -->` and `<!-- end -->`."""
    makers = {"config keys": config_reference, "commands": command_reference}
    return _PART.sub(
        lambda part: f"<!-- {part[1]} -->\n\n{makers[part[1]]()}\n\n<!-- end -->", markdown
    )


def on_page_markdown(markdown: str, **_: object) -> str:
    """A page of the site, as MkDocs shows it."""
    return fill_reference(markdown)


def config_reference() -> str:
    """A section for each node of the config, with a table of its keys."""
    return "\n\n".join(
        f"## {node}\n\n{about}\n\n{_tell_keys(node, keys)}"
        for node, about, keys in read_sections(CONFIG.read_text(encoding="utf-8"))
    )


def read_sections(source: str) -> Iterator[tuple[str, str, list[Key]]]:
    """For each section: the node of its keys, what they are about, and the keys.

    Args:
        source: source of semiconv_d2/config.py.
    """
    lines = source.splitlines()
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef) and function.name in SECTIONS:
            keys = [
                Key(
                    statement.targets[0].attr,
                    ast.unparse(statement.value),
                    _comment_above(lines, statement.lineno - 1),
                    _group_of(lines, statement.lineno - 1),
                )
                for statement in function.body
                if isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Attribute)
            ]
            yield *SECTIONS[function.name], keys


def _comment_above(lines: list[str], line: int) -> str:
    first = line
    while lines[first - 1].strip().startswith("# "):
        first -= 1
    return " ".join(text.strip()[2:] for text in lines[first:line])


def _group_of(lines: list[str], line: int) -> str:
    while line and not lines[line].startswith("def "):
        line -= 1
        if lines[line].strip().startswith(_GROUP):
            return _comment_above(lines, _end_of_comment(lines, line)).removeprefix("--- ")
    return ""


def _end_of_comment(lines: list[str], line: int) -> int:
    while lines[line].strip().startswith("# "):
        line += 1
    return line


def _tell_keys(node: str, keys: list[Key]) -> str:
    """A table for each group of keys."""
    return "\n\n".join(
        (f"{group}\n\n" if group else "") + _tell_group(node, list(members))
        for group, members in groupby(keys, key=lambda key: key.group)
    )


def _tell_group(node: str, keys: list[Key]) -> str:
    """The table. That of the mask head also has the paper's values and what was measured."""
    more = ("the paper", "AP") if node == "MODEL.SEMICONV" else ()
    headers = ("key", "what it does", "default", *more)
    rows = [f"| {' | '.join(headers)} |", "|" + "---|" * len(headers)]
    paper = read_preset("paper")
    for key in keys:
        cells = [f"`{key.name}`", key.about.replace("|", "\\|"), f"`{key.default}`"]
        if more:
            cells += [f"`{paper[f'{node}.{key.name}']!r}`", _tell_ablation(key.name)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _tell_ablation(key: str) -> str:
    """Mask AP with other values of a key, and with the default; "–" if nothing was measured."""
    plan = _ablation()
    name = f"MODEL.SEMICONV.{key}"
    told = []
    for variant, keys in plan["variants"].items():
        others = {k for k in keys if k != name}
        if name in keys and not others and (values := _values(variant)):
            told.append(f"`{keys[name]}`: {mean(values):.1f}")
    if not told:
        return "–"
    return f"{', '.join(told)}; default: {mean(_values('ours')):.1f}"


@cache
def _ablation() -> dict:
    return json.loads(ABLATION.read_text(encoding="utf-8"))


def _values(variant: str) -> list[float]:
    return [run["values"]["AP"] for run in _ablation()["runs"] if run["variant"] == variant]


def command_reference() -> str:
    """A section for each command, with the output of --help."""
    from semiconv_d2.cli import COMMANDS

    return "\n\n".join(
        f"## semiconv {name}\n\n{about[0].upper()}{about[1:]}.\n\n```\n{_help(name)}\n```"
        for name, about in COMMANDS.items()
    )


def _help(command: str) -> str:
    import sys

    out, argv = io.StringIO(), sys.argv
    columns = os.environ.get("COLUMNS")
    try:
        sys.argv, os.environ["COLUMNS"] = ["semiconv"], "100"
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            import_module(f"semiconv_d2.cli.{command}").main(["--help"])
    finally:
        sys.argv = argv
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).rstrip()
