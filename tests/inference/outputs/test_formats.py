"""Formats of a file for each image, read again by the libraries of the programs that read them."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.formats.mask_files import read_labels
from semiconv_d2.data.mask_windows import MaskWindow
from semiconv_d2.errors import ConfigError
from semiconv_d2.inference.detections import Detections
from semiconv_d2.inference.outputs.formats import (
    IMAGE_FORMATS,
    ImageWriter,
    check_images,
    check_packages,
)
from semiconv_d2.inference.outputs.labels import label_instances, label_layers
from semiconv_d2.inference.sources import Source

CLASSES = ["worm", "egg/cyst"]


def detections_of(masks: np.ndarray, boxes_only: bool = False) -> Detections:
    """Detections with these masks (N, H, W), by falling score, of both classes in turn."""
    number = len(masks)
    return Detections(
        size=masks.shape[1:],
        boxes=np.array([[1, 2, 4.5, 6]] * number, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.6, number, dtype=np.float32),
        classes=np.arange(number) % 2,
        masks=None if boxes_only else tuple(map(MaskWindow.of, masks)),
    )


def hard_masks() -> np.ndarray:
    """A box, a ring whose hole has an island, one pixel in the corner, pieces that touch at a
    corner, a ring that touches itself at a corner, an empty mask, and random pixels."""
    masks = np.zeros((7, 16, 20), bool)
    masks[0, 3:8, 2:9] = True
    masks[1, 1:12, 1:12] = True
    masks[1, 3:10, 3:10] = False
    masks[1, 5:7, 5:7] = True
    masks[2, 15, 19] = True
    masks[3, 2:5, 2:5] = masks[3, 5:8, 5:8] = True
    masks[4, 2:7, 2:7] = True
    masks[4, 4, 4] = masks[4, 3, 3] = masks[4, 2, 2] = False
    masks[6] = np.random.default_rng(0).random((16, 20)) < 0.6
    return masks


def write(key: str, detections: Detections, folder: Path) -> Path:
    ImageWriter(folder, IMAGE_FORMATS[key]).write(detections, "well", CLASSES)
    [path] = folder.iterdir()
    return path


def fill(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie within an odd number of rings (P, 2), as programs fill outlines."""
    x, y = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    inside = np.zeros(size, bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 != y1:
                crosses = (y0 > y) != (y1 > y)
                inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


def test_imagej_reads_the_same_pixels(tmp_path):
    roifile = pytest.importorskip("roifile", reason="pip install roifile")
    masks = hard_masks()
    path = write("rois", detections_of(masks), tmp_path)
    assert path.name == "well_rois.zip"
    rois = roifile.roiread(path)
    numbers = [int(roi.name[:4]) - 1 for roi in rois]
    assert numbers == [0, 1, 2, 3, 4, 6]  # without the empty one
    for number, roi in zip(numbers, rois, strict=True):
        rings = roi.coordinates(multi=True)
        np.testing.assert_array_equal(fill(rings, masks.shape[1:]), masks[number])
        rows, columns = np.nonzero(masks[number])
        corners = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        bottom, right = (roi.bottom, roi.right) if roi.composite else (corners[2], corners[3])
        assert (roi.top, roi.left, bottom, right) == corners
    assert rois[0].roitype == roifile.ROI_TYPE.POLYGON
    assert [roi.composite for roi in rois[:4]] == [False, True, False, True]
    assert rois[0].name == "0001 worm 90%"
    with ZipFile(path) as archive:
        assert "0002 egg_cyst 85%.roi" in archive.namelist()  # no folder


def test_equal_regions_are_equal_files_at_any_time(tmp_path, monkeypatch):
    pytest.importorskip("roifile", reason="pip install roifile")
    detections = detections_of(hard_masks())
    one = write("rois", detections, tmp_path / "one").read_bytes()
    monkeypatch.setattr("zipfile.time.time", lambda: 2e9)
    other = write("rois", detections, tmp_path / "other")
    assert other.read_bytes() == one
    modes = {entry.external_attr >> 16 for entry in ZipFile(other).infolist()}
    assert modes == {0o644}  # readable when it is unpacked


def test_qupath_reads_valid_polygons_with_the_same_pixels(tmp_path):
    shapely = pytest.importorskip("shapely", reason="pip install shapely")
    masks = hard_masks()
    path = write("geojson", detections_of(masks), tmp_path)
    assert path.name == "well.geojson"
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    numbers = [f["properties"]["measurements"]["instance"] for f in content["features"]]
    assert numbers == [1, 2, 3, 4, 5, 7]  # without the empty one
    for number, feature in zip(numbers, content["features"], strict=True):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        mask = masks[number - 1]
        assert shape.area == mask.sum()
        pieces = shapely.get_parts(shape)
        rings = [np.array(r.coords)[:-1] for p in pieces for r in (p.exterior, *p.interiors)]
        np.testing.assert_array_equal(fill(rings, mask.shape), mask)
        assert all(p.exterior.is_ccw and not any(r.is_ccw for r in p.interiors) for p in pieces)
    one, ring, corner, *_ = content["features"]
    assert one["properties"]["classification"] == {"name": "worm"}
    assert one["properties"]["measurements"] == {"instance": 1, "score": 0.9}
    assert one["properties"]["objectType"] == "detection"
    assert ring["geometry"]["type"] == "MultiPolygon"
    assert len(ring["geometry"]["coordinates"][0]) == 2  # the hole
    assert shapely.geometry.shape(corner["geometry"]).bounds == (19, 15, 20, 16)
    assert len(one["geometry"]["coordinates"][0]) == 5  # no corner on a straight side


@pytest.mark.parametrize("key", ["rois", "geojson"])
def test_boxes_become_rectangles(tmp_path, key):
    for package in IMAGE_FORMATS[key].needs:
        pytest.importorskip(package)
    path = write(key, detections_of(hard_masks()[:1], boxes_only=True), tmp_path)
    if key == "rois":
        import roifile

        rois = roifile.roiread(path)
        corners = (rois[0] if isinstance(rois, list) else rois).coordinates()
    else:
        [feature] = json.loads(path.read_text())["features"]
        corners = np.array(feature["geometry"]["coordinates"][0])
    assert corners.min(axis=0).tolist() == [1, 2]
    assert corners.max(axis=0).tolist() == [4.5, 6]


@pytest.mark.parametrize("key", IMAGE_FORMATS)
def test_images_without_instances_have_files(tmp_path, key):
    for package in IMAGE_FORMATS[key].needs:
        pytest.importorskip(package)
    path = write(key, detections_of(np.zeros((0, 4, 6), bool)), tmp_path)
    if path.suffix in (".png", ".tif"):
        assert not read_labels(path).any()
        assert read_labels(path).shape == (4, 6)
    elif path.suffix == ".zip":
        assert ZipFile(path).namelist() == []
    else:
        assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}


def overlapping() -> np.ndarray:
    masks = np.zeros((4, 4, 6), bool)
    masks[0, 1:3, 2:5] = masks[1, 3, 4:] = masks[2, :, :3] = masks[3, 2:, 4:] = True
    return masks


def test_labels_are_numbers_by_falling_score_and_the_better_one_has_the_pixel():
    labels = label_instances(detections_of(overlapping()[:3]))
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(
        labels,
        [[3, 3, 3, 0, 0, 0], [3, 3, 1, 1, 1, 0], [3, 3, 1, 1, 1, 0], [3, 3, 3, 0, 2, 2]],
    )


@pytest.mark.parametrize("key", ["labels", "labels-tif"])
def test_label_images_are_read_again(tmp_path, key):
    detections = detections_of(overlapping())
    path = write(key, detections, tmp_path)
    assert path.name == f"well_labels.{'png' if key == 'labels' else 'tif'}"
    np.testing.assert_array_equal(read_labels(path), label_instances(detections))
    if key == "labels":
        assert Image.open(path).mode == "I;16"


def test_layers_keep_all_pixels_of_all_instances(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    masks = overlapping()
    path = write("layers", detections_of(masks), tmp_path)
    layers = tifffile.imread(path)
    assert layers.shape == (2, 4, 6)
    for number, mask in enumerate(masks, start=1):
        np.testing.assert_array_equal((layers == number).any(axis=0), mask)
        assert (layers == number).any(axis=(1, 2)).sum() == 1  # in one layer
    assert label_layers(detections_of(masks[:0])).shape == (1, 4, 6)


@pytest.mark.parametrize("number", [2**16 - 1, 2**16])
def test_more_instances_than_16_bits_hold_make_a_tiff_of_32_bits(tmp_path, number, caplog):
    tifffile = pytest.importorskip("tifffile")
    pixel = MaskWindow(0, 0, np.ones((1, 1), bool))
    detections = Detections(
        size=(256, 257),
        boxes=np.zeros((number, 4), np.float32),
        scores=np.ones(number, np.float32),
        classes=np.zeros(number, int),
        masks=tuple(pixel.moved(k // 257, k % 257) for k in range(number)),
    )
    path = write("labels", detections, tmp_path)
    read = np.asarray(Image.open(path)) if path.suffix == ".png" else tifffile.imread(path)
    assert (path.suffix, read.dtype.itemsize) == ((".png", 2) if number < 2**16 else (".tif", 4))
    np.testing.assert_array_equal(read.ravel()[:number], np.arange(1, number + 1))
    assert ("65536 instances are more than a PNG" in caplog.text) == (number == 2**16)


@pytest.mark.parametrize("key", ["labels", "labels-tif", "layers"])
def test_boxes_have_no_labels(tmp_path, key):
    with pytest.raises(ConfigError, match="boxes only"):
        write(key, detections_of(hard_masks()[:1], boxes_only=True), tmp_path)


def test_videos_and_missing_packages_are_refused_before_the_work():
    check_images([Source("a.png", False)], "--rois")
    with pytest.raises(ConfigError, match=r"--rois: film\.mp4 is no image"):
        check_images([Source("a.png", False), Source("film.mp4", True)], "--rois")
    check_packages(["numpy"], "--rois")
    with pytest.raises(ConfigError, match=r"--rois needs no_such: install .* pip install no_such"):
        check_packages(["numpy", "no_such"], "--rois")
