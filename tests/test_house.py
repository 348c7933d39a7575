"""Imports run downwards only: experiments → cli → {inference, report} → training → {modeling,
evaluation} → {data, visualization} → {ops, config, errors, writing}. And no room is a hall."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import semiconv_d2

PACKAGE = Path(semiconv_d2.__file__).parent
ROOT = PACKAGE.parent
LEVELS = (
    {"experiments"},
    {"cli"},
    {"inference", "report"},
    {"training"},
    {"modeling", "evaluation"},
    {"data", "visualization"},
    {"ops", "config", "errors", "writing"},
)
FILES = [*PACKAGE.rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]


def room(module: str) -> str:
    """The part of the house that a module is in: "data" of semiconv_d2.data.coco.fixing."""
    first, *rest = module.split(".")
    return rest[0] if first == "semiconv_d2" and rest else first


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules of this house that a file imports, wherever in the file."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            # `from .. import ops` imports a module, `from .. import get_config_file` does not.
            names = [
                f"{base}.{alias.name}" if base == "semiconv_d2" else base for alias in node.names
            ]
        else:
            continue
        yield from (n for n in names if n.split(".")[0] in ("semiconv_d2", "experiments"))


def level(part: str) -> int | None:
    return next((number for number, parts in enumerate(LEVELS) if part in parts), None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_downwards(path):
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if level(own) is None:  # at the door: __init__.py, __main__.py
        return
    for module in imported(path):
        other = room(module)
        if level(other) is not None and other != own:
            assert level(other) > level(own), f"{path} imports {module}"


def test_every_room_has_its_place():
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert rooms | {"config", "errors", "writing", "experiments"} == set().union(*LEVELS)


def test_no_room_is_a_hall():
    for folder in {path.parent for path in FILES}:
        assert len(list(folder.glob("*.py"))) <= 12, folder


def test_no_file_is_too_long_to_read():
    texts = (p for ending in ("py", "js", "css", "j2") for p in PACKAGE.rglob(f"*.{ending}"))
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in texts}
    assert len(lengths) > 100
    assert {path: n for path, n in lengths.items() if n > 400} == {}


def test_the_mathematics_needs_pytorch_alone():
    for path in (PACKAGE / "ops").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= {"torch", "math"}, path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in {"torch", "collections"}, path


def test_files_are_written_whole_or_not_at_all():
    """By `writing.py`; /proc, whose files are no files, is written to as it is."""
    for path in PACKAGE.rglob("*.py"):
        if path.name != "writing.py":
            source = path.read_text(encoding="utf-8").replace('Path("/proc/self/clear_refs").', "")
            assert not re.search(r"\.write_(text|bytes)\(|open\([^)]*[\"']w[b+]?[\"']", source), (
                path
            )
