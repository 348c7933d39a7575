"""The notebook of the quick start, cell by cell, without Jupyter."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from experiments.documents.notebook import fill_outputs

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def read() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def outputs_of(content: dict) -> list[dict]:
    return [o for cell in content["cells"] for o in cell.get("outputs", [])]


def printed(content: dict) -> str:
    """What the cells print. Numbers after a point may differ between machines."""
    text = "".join("".join(o["text"]) for o in outputs_of(content) if "text" in o)
    return re.sub(r"\d+", "#", text)


def test_the_cells_print_and_show_what_is_saved(tmp_path, monkeypatch):
    for name in ("docs", "checkpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    saved = read()
    content = fill_outputs(saved)
    assert printed(content) == printed(saved)
    assert "15 instances; masks: (15, 520, 696) bool\n" in str(outputs_of(content)[2]["text"][0])
    pictures = [o for o in outputs_of(content) if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    assert {p.name for p in (tmp_path / "output" / "quickstart").iterdir()} == {
        "labels",
        "results.json",
    }


def test_the_notebook_is_small_and_names_no_machine():
    assert NOTEBOOK.stat().st_size < 60_000
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|tmp|root|work|Users)/", text)


def test_its_links_lead_somewhere():
    prose = "".join("".join(c["source"]) for c in read()["cells"] if c["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#:]+)\)", prose)
    assert len(links) >= 4
    assert [link for link in links if not (NOTEBOOK.parent / link).is_file()] == []


def test_a_cell_s_last_value_and_its_prints_are_outputs():
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["x = 2\n", "print('two')\n", "x + 1"]},
        {"cell_type": "code", "source": ["x = x * 2"]},
        {"cell_type": "code", "source": ["x"]},
    ]
    content = fill_outputs({"cells": cells, "nbformat": 4})
    assert content["cells"][0] == cells[0]
    assert [c["execution_count"] for c in content["cells"][1:]] == [1, 2, 3]
    two, three, four = outputs_of(content)
    assert two["text"] == ["two\n"]
    assert (three["data"], four["data"]) == ({"text/plain": ["3"]}, {"text/plain": ["4"]})
    with pytest.raises(ZeroDivisionError):
        fill_outputs({"cells": [{"cell_type": "code", "source": ["1 / 0"]}]})
