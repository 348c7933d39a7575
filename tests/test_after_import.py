"""Importing this package takes no time, and Detectron2 knows its parts as soon as it is there."""

import subprocess
import sys

import pytest

from semiconv_d2._after_import import after_import

HEADS = "from detectron2.modeling import ROI_HEADS_REGISTRY as heads\n"
DATASETS = "from detectron2.data import DatasetCatalog as datasets\n"
MINE = "import semiconv_d2\n"


@pytest.mark.parametrize("code", [MINE + HEADS, HEADS + MINE, MINE + DATASETS + HEADS])
def test_everything_is_registered_in_whatever_order(code):
    code += DATASETS + "print('SemiConvROIHeads' in heads, 'bbbc010_train' in datasets)"
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True)
    assert said.stdout.split() == [b"True", b"True"], said.stderr


def test_importing_the_package_imports_nothing_heavy():
    code = MINE + "import sys; print({'torch', 'detectron2', 'numpy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that can be imported once, and what has been done since."""
    (tmp_path / "a_module_to_wait_for.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = sys.meta_path[:]
    yield "a_module_to_wait_for"
    sys.modules.pop("a_module_to_wait_for", None)
    sys.meta_path[:] = before


def test_an_action_waits_for_the_end_of_the_first_import(module):
    done = []
    after_import(module, lambda: done.append(sys.modules[module].VALUE))
    assert not done
    __import__(module)
    assert done == [1]
    __import__(module)
    assert done == [1]


def test_an_action_is_done_at_once_where_the_module_is_there(module):
    __import__(module)
    done = []
    after_import(module, lambda: done.append(True))
    assert done


def test_two_actions_are_both_done(module):
    done = []
    after_import(module, lambda: done.append("first"))
    after_import(module, lambda: done.append("second"))
    __import__(module)
    assert sorted(done) == ["first", "second"]


def test_a_module_that_is_not_there_is_missing_as_ever():
    after_import("no_such_module_at_all", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        __import__("no_such_module_at_all")
