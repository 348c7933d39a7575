"""The pictures of README and docs are drawn from what is written down."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from experiments.documents.figures import (
    FigureFile,
    documented_figures,
    draw_figures,
    update_tables,
)
from experiments.documents.screencast import save
from experiments.documents.tables import fill_tables
from experiments.ownership import Ownership

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = {"sample.png", "sample_masks.png", "screencast.gif"}
"""What the README's first command takes and makes, and the moving picture of it."""


@pytest.fixture
def figures(monkeypatch) -> list[FigureFile]:
    monkeypatch.chdir(ROOT)
    return documented_figures()


def test_every_picture_of_the_docs_can_be_drawn_again(figures):
    drawn = {name for figure in figures for name in figure.names}
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        shown |= {Path(p).name for p in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)}
    assert shown | SAMPLES == drawn | SAMPLES
    assert {p.name for p in (ROOT / "docs" / "images").iterdir()} == drawn | SAMPLES


def test_a_moving_picture_shows_each_moment_as_long_as_it_should(tmp_path):
    moments = [
        (Image.new("RGB", (20, 10), colour), 100 * k)
        for k, colour in enumerate(("red", "green", "blue"), 1)
    ]
    save(moments, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        shown = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            shown.append((gif.convert("RGB").getpixel((3, 3)), gif.info["duration"]))
    assert shown == [((255, 0, 0), 100), ((0, 128, 0), 200), ((0, 0, 255), 300)]


def test_the_moving_picture_is_small():
    assert (ROOT / "docs" / "images" / "screencast.gif").stat().st_size < 1_000_000


def test_the_first_picture_is_small():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert (ROOT / first[1]).stat().st_size < 300_000


def test_what_is_in_git_is_enough_for_charts(figures, tmp_path):
    committed = [f for f in figures if all("results" in p.parts for p in f.needs)]
    assert len(committed) >= 3
    report = draw_figures(tmp_path, committed)
    assert {status for _, status in report} == {"drawn"}
    assert {p.name for p in tmp_path.iterdir()} == {name for name, _ in report}


def test_pictures_whose_models_are_missing_are_left_and_named(tmp_path):
    figure = FigureFile(["a.png", "b.png"], [tmp_path / "model.pth"], "make it", lambda _: 1 / 0)
    report = draw_figures(tmp_path / "out", [figure])
    assert [name for name, _ in report] == ["a.png", "b.png"]
    for _, status in report:
        assert "model.pth" in status
        assert "make it" in status


def test_the_tool_names_what_it_does(run_tool, tmp_path):
    status, out, err = run_tool("tools/figures.py", "--output", tmp_path, "--only", "attaching.svg")
    assert status == 0, err
    assert out.split() == ["attaching.svg", "drawn"]
    assert [p.name for p in tmp_path.iterdir()] == ["attaching.svg"]
    status, _, err = run_tool("tools/figures.py", "--only", "none.png")
    assert status == 2
    assert "there are" in err


@pytest.mark.parametrize(
    ("document", "tables"),
    [
        ("README.md", 1),
        ("docs/results/index.md", 6),
        ("docs/results/leaves.md", 2),
        ("docs/results/photographs.md", 1),
        ("docs/results/ablation.md", 1),
        ("docs/results/ablation_v0_1_0.md", 3),
        ("docs/results/cost.md", 2),
        ("docs/how_to/speed.md", 3),
        ("docs/how_to/export.md", 1),
    ],
)
def test_tables_are_those_of_the_results(document, tables):
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == len(re.findall(r" -->\n\n```\n", text)) >= tables
    assert fill_tables(text, ROOT) == text


def test_a_table_is_drawn_behind_its_comment(tmp_path):
    values = {key: [0.5, 1.0] for key in Ownership._fields} | {"by_kernel": [None, None]}
    (tmp_path / "a.json").write_text(json.dumps({"kind": "ownership", **values}))
    document = tmp_path / "results.md"
    document.write_text("Before.\n\n<!-- table: a.json -->\n\nAfter.\n")
    assert update_tables(document, tmp_path) == "drawn"
    text = document.read_text()
    assert text.startswith("Before.\n\n<!-- table: a.json -->\n\n```\n")
    assert text.endswith("```\n\nAfter.\n")
    assert "IoU as it is" in text
    assert "75.0" in text
    assert update_tables(document, tmp_path) == "as it was"
