"""The table of instances."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from semiconv_d2.data.geometry import contact
from semiconv_d2.data.mask_windows import MaskWindow
from semiconv_d2.errors import ConfigError
from semiconv_d2.inference.detections import Detections
from semiconv_d2.inference.outputs.joined import Ids, Joined
from semiconv_d2.inference.outputs.table import PixelSize, check_table

MASKS = np.zeros((3, 20, 30), bool)
MASKS[0, 2:5, 4:24] = MASKS[1, 6:9, 4:14] = True  # the second begins two rows below the first
UM = PixelSize(0.65, "um")


def detections(masks: np.ndarray | None = MASKS) -> Detections:
    return Detections(
        size=(20, 30),
        boxes=np.array([[4, 2, 24, 5], [4, 6, 14.5, 9], [0, 0, 1, 1]], np.float32),
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        classes=np.array([0, 1, 7]),
        masks=None if masks is None else tuple(map(MaskWindow.of, masks)),
    )


def write(path: Path, found: list[Detections], size=None, frames=(None,)) -> None:
    joined = Joined(table=path, pixel_size=size)
    parts = [
        joined.part(each, "well.png", ["worm", "egg"], Ids({}, []), frame)
        for each in found
        for frame in frames
    ]
    joined.write(lambda: [parts])


def test_measures_in_pixels_and_in_units(tmp_path):
    pandas = pytest.importorskip("pandas")
    write(tmp_path / "t.csv", [detections()], UM)
    table = pandas.read_csv(tmp_path / "t.csv")
    assert table["class"].tolist() == ["worm", "egg", "class 7"]
    assert table["instance"].tolist() == [1, 2, 3]
    assert table["score"].tolist() == [0.9, 0.8, 0.7]
    assert table["area"].tolist() == [60, 30, 0]
    np.testing.assert_allclose(table["length"], [20, 10, 0], atol=0.1)
    np.testing.assert_allclose(table["width"], [3, 3, 0], atol=0.05)
    np.testing.assert_allclose(table["centroid_x"], [14, 9, np.nan])
    np.testing.assert_allclose(table["centroid_y"], [3.5, 7.5, np.nan])
    assert table["box_width"].tolist() == [20, 10.5, 1]
    np.testing.assert_allclose(table["contact"], contact(list(MASKS)), atol=1e-4)
    assert table["contact"][0] > 0.2
    np.testing.assert_allclose(table["area_um2"], table["area"] * 0.65**2, atol=1e-4)
    for name in ("length", "width", "centroid_x", "box_y", "box_height"):
        np.testing.assert_allclose(table[f"{name}_um"], table[name] * 0.65, atol=1e-4)
    assert "score_um" not in table
    assert "frame" not in table


def test_csv_and_parquet_are_the_same(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="pip install pyarrow")
    for name in ("t.csv", "t.parquet"):
        write(tmp_path / name, [detections()], UM)
    pandas.testing.assert_frame_equal(
        pandas.read_csv(tmp_path / "t.csv"),
        pandas.read_parquet(tmp_path / "t.parquet"),
        check_dtype=False,
    )


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_a_table_without_instances_has_its_columns(tmp_path):
    write(tmp_path / "some.csv", [detections()], UM)
    write(tmp_path / "none.csv", [detections()[[]]], UM)
    assert header(tmp_path / "none.csv") == header(tmp_path / "some.csv")
    assert len((tmp_path / "none.csv").read_text().splitlines()) == 1


def test_boxes_have_fewer_columns_and_frames_one_more(tmp_path):
    write(tmp_path / "boxes.csv", [detections(None)], UM, frames=(0, 1))
    names = header(tmp_path / "boxes.csv")
    assert names[:6] == ["image", "frame", "instance", "class", "score", "box_x"]
    assert not {"area", "length", "contact", "area_um2"} & set(names)
    assert {"box_x", "box_width_um"} <= set(names)


def test_the_ending_and_the_package_of_a_table_are_checked(monkeypatch):
    check_table(Path("worms.CSV"))
    monkeypatch.setattr("semiconv_d2.inference.outputs.formats.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install scipy pyarrow"):
        check_table(Path("worms.parquet"))
    with pytest.raises(ConfigError, match=r"worms\.xlsx.*\.csv or \.parquet"):
        check_table(Path("worms.xlsx"))
