"""Files that figures become."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from semiconv_d2.visualization.figures import DPI, save


@pytest.fixture
def figure():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [0, 1])
    return figure


def test_pixels_come_by_the_scale_and_folders_are_made(figure, tmp_path):
    save(figure, tmp_path / "some" / "where" / "a.png")
    save(figure, str(tmp_path / "b.png"), scale=1)
    assert Image.open(tmp_path / "some" / "where" / "a.png").size == (4 * DPI, 2 * DPI)
    assert Image.open(tmp_path / "b.png").size == (2 * DPI, DPI)


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("SVG", b"<")])
def test_vectors_are_the_same_file_each_time(figure, tmp_path, ending, start):
    files = [tmp_path / f"{name}.{ending}" for name in ("a", "b")]
    for file in files:
        save(figure, file)
    first, second = (file.read_bytes() for file in files)
    assert first.startswith(start)
    assert first == second
    assert b"image/png" not in first


def test_a_suffix_decides(figure, tmp_path):
    save(figure, tmp_path / "a.jpg", scale=1)
    assert np.asarray(Image.open(tmp_path / "a.jpg")).shape == (DPI, 2 * DPI, 3)
