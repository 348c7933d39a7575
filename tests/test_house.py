"""Imports run downwards only: engine → {modeling, evaluation} → {data, visualization} → {ops,
config}."""

import ast
from pathlib import Path

import pytest

import semiconv_d2

PACKAGE = Path(semiconv_d2.__file__).parent
MAY_IMPORT = {
    "ops": set(),
    "data": set(),
    "visualization": {"ops"},
    "modeling": {"ops", "visualization", "config"},
    "evaluation": {"data"},
    "engine": {"ops", "data", "visualization", "modeling", "evaluation", "config"},
}


def imported_parts(path: Path) -> set[str]:
    """Parts of the package that a module imports, its own left out."""
    part = path.relative_to(PACKAGE).parts[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            found.add((node.module or node.names[0].name).split(".")[0])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("semiconv_d2."):
            found.add(node.module.split(".")[1])
    return found - {part}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_run_downwards(part):
    modules = list((PACKAGE / part).glob("*.py"))
    assert modules
    for path in modules:
        assert imported_parts(path) <= MAY_IMPORT[part], path


def test_every_part_has_its_place():
    parts = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert parts == set(MAY_IMPORT)


def test_the_mathematics_needs_pytorch_alone():
    for path in (PACKAGE / "ops").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= {"torch", "math"}, path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in {"torch", "collections"}, path
