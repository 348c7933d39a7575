"""The examples in docstrings say what comes out: those of `ops`, and of any other module."""

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

import semiconv_d2

PACKAGE = Path(semiconv_d2.__file__).parent
WITH_EXAMPLES = [p for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text("utf-8")]
OPS = sorted((PACKAGE / "ops").glob("*.py"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_examples_are_true(path):
    torch.set_printoptions(profile="default")
    names = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = import_module(".".join(names).removesuffix(".__init__"))
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0, "see the captured output"


@pytest.mark.parametrize("path", OPS, ids=lambda p: p.name)
def test_every_public_function_of_ops_has_an_example(path):
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ">>> " in (ast.get_docstring(node) or ""), node.name
