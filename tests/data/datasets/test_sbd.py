from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets.sbd import CATEGORIES, prepare_sbd, prepare_union, read_instances
from semiconv_d2.errors import DatasetError

scipy_io = pytest.importorskip("scipy.io")

NAMES = ("dog", "person", "aeroplane")
CATEGORY_IDS = np.array([[12], [15], [1]])


def objects_of(root: Path, name: str) -> np.ndarray:
    return scipy_io.loadmat(root / "inst" / f"{name}.mat")["GTinst"]["Segmentation"].item()


def expected(objects: np.ndarray, names: tuple[str, ...]) -> list[tuple[np.ndarray, str]]:
    return [(objects == n, name) for n, name in enumerate(names, start=1) if (objects == n).any()]


def change(root: Path, segment=lambda objects: objects, categories: object = CATEGORY_IDS) -> None:
    """Write the instances of the image "one" anew."""
    struct = {"Segmentation": segment(objects_of(root, "one")), "Categories": categories}
    _save(root, {"GTinst": struct})


def _save(root: Path, content: dict) -> None:
    scipy_io.savemat(root / "inst" / "one.mat", content)


def assert_same(
    read: list[tuple[np.ndarray, str]], instances: list[tuple[np.ndarray, str]]
) -> None:
    assert [category for _, category in read] == [category for _, category in instances]
    for (mask, _), (other, _) in zip(read, instances, strict=True):
        np.testing.assert_array_equal(mask, other)


def test_masks_and_classes_of_every_instance(sbd, tmp_path, read_masks):
    output = tmp_path / "out"
    summary = prepare_sbd(sbd, output)

    assert (summary.images, summary.instances) == ({"train": 3, "val": 1}, {"train": 7, "val": 2})
    train, val = read_masks(output / "train.json"), read_masks(output / "val.json")
    assert list(train) == ["one.jpg", "two.jpg", "three.jpg"]
    assert list(val) == ["four.jpg"]
    for file_name, instances in (train | val).items():
        assert_same(instances, expected(objects_of(sbd, Path(file_name).stem), NAMES))
        image = output / "images" / file_name
        assert image.read_bytes() == (sbd / "img" / file_name).read_bytes()
    assert (output / "images").readlink().parts[-2:] == ("dataset", "img")


def test_an_instance_without_pixels_is_passed_over(sbd):
    image = read_instances(sbd, "two")  # it has three categories and the instances 1 and 3
    assert [category for _, category in image.instances] == [12, 1]
    assert image.void is None


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
def test_numbers_are_read_in_whatever_type_they_are(sbd, kind):
    objects = objects_of(sbd, "one")
    change(sbd, lambda objects: objects.astype(kind), CATEGORY_IDS.T.astype(kind))
    image = read_instances(sbd, "one")
    read = [(mask, CATEGORIES[category - 1]) for mask, category in image.instances]
    assert_same(read, expected(objects, NAMES))


def test_an_image_without_instances(sbd):
    change(sbd, np.zeros_like, np.zeros((0, 0)))
    assert read_instances(sbd, "one").instances == []


def _truncate(root: Path) -> None:
    path = root / "inst" / "one.mat"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: shutil.rmtree(root / "inst"),
            r"dataset is not the folder benchmark_RELEASE/dataset of SBD: expected the folders "
            r"img, inst; missing: inst; found: img/, train.txt, val.txt$",
        ),
        (lambda root: (root / "inst" / "one.mat").unlink(), "cannot read .*inst/one.mat"),
        (
            lambda root: (root / "inst" / "one.mat").write_bytes(b"no matrix"),
            "cannot read .*inst/one.mat",
        ),
        (lambda root: (root / "inst" / "one.mat").write_bytes(b""), "cannot read .*inst/one.mat"),
        (_truncate, "cannot read .*inst/one.mat"),
        (
            lambda root: _save(root, {"GTcls": 1}),
            "inst/one.mat is not an instance file of SBD: expected one struct GTinst with "
            "Segmentation and Categories; missing: Segmentation, Categories$",
        ),
        (lambda root: _save(root, {"GTinst": 1}), "one.mat .*; missing: Segmentation, Categories$"),
        (
            lambda root: _save(root, {"GTinst": {"Segmentation": np.eye(3)}}),
            "inst/one.mat .*; missing: Categories$",
        ),
        (
            lambda root: _save(
                root, {"GTinst": np.zeros((2, 1), [("Segmentation", "O"), ("Categories", "O")])}
            ),
            "inst/one.mat .*expected one struct GTinst with Segmentation and Categories$",
        ),
        (
            lambda root: change(root, lambda x: x + 0.5),
            "Segmentation of GTinst in .*inst/one.mat is not a matrix of whole numbers",
        ),
        (
            lambda root: change(root, categories=[[12], [15], [np.inf]]),
            "Categories of GTinst in .*inst/one.mat is not a matrix of whole numbers",
        ),
        (
            lambda root: change(root, categories="dog"),
            "Categories of GTinst in .*inst/one.mat is not a matrix of whole numbers",
        ),
        (
            lambda root: change(root, lambda x: x[1:]),
            r"the Segmentation of .*inst/one.mat is \(10, 14\) .* image in img is \(11, 14\)",
        ),
        (
            lambda root: change(root, categories=[[12], [15]]),
            "inst/one.mat: instance 3 has no category, Categories has 2",
        ),
        (
            lambda root: change(root, lambda x: -x.astype(int)),
            "inst/one.mat: instance -3 has no category",
        ),
        (
            lambda root: change(root, categories=[[12], [21], [1]]),
            r"inst/one.mat: instance 2 has the category 21, which is not in 1\.\.20",
        ),
        (
            lambda root: change(root, categories=[[0], [15], [1]]),
            r"inst/one.mat: instance 1 has the category 0, which is not in 1\.\.20",
        ),
        (
            lambda root: (root / "img" / "one.jpg").unlink(),
            "train.txt names an image that is missing: .*img/one.jpg",
        ),
        (
            lambda root: (root / "img" / "one.jpg").write_bytes(b"no image"),
            "cannot read the image .*img/one.jpg",
        ),
        (lambda root: (root / "val.txt").unlink(), "cannot read .*val.txt"),
        (lambda root: (root / "val.txt").write_text("\n"), "val.txt names no images"),
    ],
)
def test_an_error_names_the_file_and_no_json_is_left(sbd, tmp_path, spoil, message):
    output = tmp_path / "out"
    spoil(sbd)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_sbd(sbd, output)
    assert "\n" not in str(caught.value)
    assert not list(output.glob("*.json*"))


def test_a_file_cut_off_anywhere_is_named(sbd):
    path = sbd / "inst" / "one.mat"
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"inst/one\.mat") as caught:
            read_instances(sbd, "one")
        assert "\n" not in str(caught.value)


def test_without_scipy_the_error_says_how_to_install_it(sbd, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DatasetError, match=r"one.mat needs SciPy: pip install scipy$"):
        prepare_sbd(sbd, tmp_path / "out")


def test_the_union_leaves_out_the_val_of_voc_and_prefers_its_annotations(
    sbd, voc, tmp_path, read_masks
):
    output = tmp_path / "out"
    summary = prepare_union(sbd, voc, output)

    train = read_masks(output / "train.json")
    assert list(train) == ["sbd/three.jpg", "sbd/four.jpg", "voc/one.jpg", "voc/empty.jpg"]
    for name in ("three", "four"):
        assert_same(train[f"sbd/{name}.jpg"], expected(objects_of(sbd, name), NAMES))
    objects = np.array(Image.open(voc / "SegmentationObject" / "one.png"))
    assert_same(train["voc/one.jpg"], expected(objects, ("bird", "person", "tvmonitor")))
    assert train["voc/empty.jpg"] == []
    entries = json.loads((output / "train.json").read_text())["images"]
    assert ["void" in entry for entry in entries] == [False, False, True, False]
    for source, folder in (("sbd", sbd / "img"), ("voc", voc / "JPEGImages")):
        assert (output / "images" / source).resolve() == folder
    assert (summary.images, summary.instances) == ({"train": 4}, {"train": 7})
    assert summary.note == (
        "images of VOC 2012 val left out: 1, images of both with VOC's annotation: 1"
    )


def test_an_image_that_two_lists_name_is_in_the_union_once(sbd, voc, tmp_path, read_masks):
    (sbd / "val.txt").write_text("four\nthree\n")
    lists = voc / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("one\none\ntwo\n")
    (lists / "val.txt").write_text("two\nempty\n")
    summary = prepare_union(sbd, voc, tmp_path / "out")
    train = read_masks(tmp_path / "out" / "train.json")
    assert list(train) == ["sbd/three.jpg", "sbd/four.jpg", "voc/one.jpg"]
    assert summary.images == {"train": 3}
    assert summary.note.startswith("images of VOC 2012 val left out: 1, ")


def test_the_links_of_the_union_move_with_their_folder_and_are_replaced(sbd, voc, tmp_path):
    output = tmp_path / "sbd_voc_2012"
    prepare_union(sbd, voc, output)
    links = {name: (output / "images" / name).readlink() for name in ("sbd", "voc")}
    assert links == {
        "sbd": Path("..", "..", "benchmark_RELEASE", "dataset", "img"),
        "voc": Path("..", "..", "VOCdevkit", "VOC2012", "JPEGImages"),
    }
    moved = sbd.rename(tmp_path / "moved")
    assert not (output / "images" / "sbd").exists()
    prepare_union(moved, voc, output)
    assert (output / "images" / "sbd" / "three.jpg").is_file()


def test_without_links_the_images_of_the_union_are_copied(
    sbd, voc, tmp_path, monkeypatch, read_masks
):
    def refuse(*_args, **_kwargs):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for _ in range(2):
        prepare_union(sbd, voc, tmp_path / "out")
        images = tmp_path / "out" / "images"
        copied = {str(path.relative_to(images)) for path in images.glob("*/*")}
        assert copied == set(read_masks(tmp_path / "out" / "train.json"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda voc: shutil.rmtree(voc), "VOC2012 is not a year of a VOCdevkit"),
        (
            lambda voc: (voc / "SegmentationObject" / "one.png").write_bytes(b""),
            "cannot read the image .*SegmentationObject/one.png",
        ),
        (
            lambda voc: (voc / "ImageSets" / "Segmentation" / "val.txt").write_text(""),
            "Segmentation/val.txt names no images",
        ),
        (
            lambda voc: Image.new("L", (6, 5)).save(voc / "JPEGImages" / "one.jpg"),
            r"SegmentationObject/one.png is \(11, 14\) .* JPEGImages is \(5, 6\)",
        ),
    ],
)
def test_an_error_of_voc_names_its_file(sbd, voc, tmp_path, spoil, message):
    prepare_union(sbd, voc, tmp_path / "out")
    spoil(voc)
    with pytest.raises(DatasetError, match=message):
        prepare_union(sbd, voc, tmp_path / "out")


def test_the_union_is_with_2012_alone(sbd, voc, tmp_path):
    other = voc.rename(voc.with_name("VOC2007"))
    with pytest.raises(DatasetError, match=r"VOC2007 is of 2007: give the folder of VOC 2012"):
        prepare_union(sbd, other, tmp_path / "out")
    plain = other.rename(other.with_name("plain"))
    assert prepare_union(sbd, plain, tmp_path / "out").images == {"train": 4}
