from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import boxes, save, write

from semiconv_d2.data.formats.own import prepare_own
from semiconv_d2.data.formats.yolo import yolo_data
from semiconv_d2.errors import DatasetError

SQUARE = "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"  # columns 4 to 20, rows 4 to 12


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """A data set for segmentation as Ultralytics describes it."""
    root = tmp_path / "yolo"
    write(
        root / "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n",
    )
    for name in ("train/a", "train/b", "val/c"):
        save(root / "images" / f"{name}.jpg")
    write(root / "labels" / "train" / "a.txt", f"1 {SQUARE}\n0 0.5 0.5 1 0.5 1 1 0.5 1\n\n")
    write(root / "labels" / "train" / "b.txt", "")
    write(root / "labels" / "val" / "c.txt", f"0 {SQUARE}\n1 0.5 0.5 0.2 0.2\n")
    return root


def test_yolo(yolo, tmp_path, read_masks):
    summary = prepare_own(yolo_data(yolo), tmp_path / "out")
    assert (summary.images, summary.instances) == ({"train": 2, "val": 1}, {"train": 2, "val": 1})
    assert "left out: 1 box without a mask" in str(summary)
    train = read_masks(tmp_path / "out" / "train.json")
    assert boxes(train["train/a.jpg"]) == [("dog", [4, 4, 20, 12]), ("cat", [20, 10, 40, 20])]
    assert [mask.sum() for mask, _ in train["train/a.jpg"]] == [16 * 8, 20 * 10]
    assert train["train/b.jpg"] == []
    val = read_masks(tmp_path / "out" / "val.json")
    assert boxes(val["val/c.jpg"]) == [("cat", [4, 4, 20, 12])]
    assert (tmp_path / "out" / "images" / "val" / "c.jpg").is_file()


def test_yolo_as_roboflow_exports_it(yolo, tmp_path):
    for split, other in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (yolo / other).mkdir(exist_ok=True)
            (yolo / kind / split).rename(yolo / other / kind)
    write(
        yolo / "data.yaml",
        "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n",
    )
    summary = prepare_own(yolo_data(yolo), tmp_path / "out")
    assert summary.instances == {"train": 2, "val": 1}
    assert f"names ../train/images for train, read from {yolo}/train/images" in str(summary)


def test_the_last_part_of_a_path_alone_is_not_enough(yolo):
    """Else all images would be those of a split."""
    write(yolo / "data.yaml", "train: data/old/images\nnames: [cat, dog]\n")
    with pytest.raises(DatasetError, match="names data/old/images for train, which is missing"):
        yolo_data(yolo)


def test_a_list_of_another_computer_is_found_by_the_name_of_its_split(yolo, tmp_path):
    write(yolo / "data.yaml", "train: /nowhere/train.txt\nnames: [cat, dog]\n")
    write(yolo / "train.txt", "/nowhere/images/train/a.jpg\n")
    remarks = yolo_data(yolo).remarks
    assert f"names /nowhere/train.txt for train, read from {yolo}/train.txt" in remarks[0]
    assert remarks[1] == f"1 image of {yolo}/train.txt read from elsewhere in {yolo}"


def test_a_byte_order_mark_is_passed_over(yolo):
    path = yolo / "labels" / "train" / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(yolo_data(yolo).splits["train"]) == 2


def test_yolo_as_cvat_exports_it(yolo, tmp_path):
    write(yolo / "data.yaml", "names:\n  0: cat\n  1: dog\npath: .\ntrain: train.txt\n")
    write(yolo / "train.txt", "data/images/train/a.jpg\ndata/images/train/b.jpg\n")
    assert prepare_own(yolo_data(yolo), tmp_path / "out", 0).instances == {"train": 2}
    write(yolo / "train.txt", "data/images/train/z.jpg\n")
    with pytest.raises(DatasetError, match=r"train.txt has no images, .*names it for train"):
        yolo_data(yolo)


def test_yolo_with_paths_of_another_computer(yolo, tmp_path):
    write(
        yolo / "data.yaml",
        "path: /nowhere\ntrain: /nowhere/images/train\nval: images/val\nnames: [cat, dog]\n",
    )
    assert prepare_own(yolo_data(yolo / "data.yaml"), tmp_path / "out").images["val"] == 1


def test_yolo_with_one_split_twice_and_images_without_labels(yolo, tmp_path):
    write(yolo / "data.yaml", "train: images/train\nval: images/train\nnames: [cat, dog]\n")
    (yolo / "labels" / "train" / "b.txt").unlink()
    text = str(prepare_own(yolo_data(yolo), tmp_path / "out", 0))
    assert "data.yaml names the same images for val as for train" in text
    assert "1 image without a label file read as images without instances" in text


def yolo_line(line: str) -> Callable[[Path], None]:
    return lambda root: write(root / "labels" / "train" / "a.txt", f"0 {SQUARE}\n{line}\n")


def yolo_config(text: str) -> Callable[[Path], None]:
    return lambda root: write(root / "data.yaml", text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda r: (r / "data.yaml").unlink(),
            "data.yaml is missing; it has .*; found: images/, la",
        ),
        (yolo_config("a: [1"), "cannot read .*data.yaml as YAML"),
        (yolo_config("just text"), "data.yaml has no settings"),
        (yolo_config("train: images/train"), "data.yaml does not name the classes"),
        (yolo_config("names: {a: b}"), "data.yaml does not name the classes"),
        (yolo_config("names: [a]"), "data.yaml names no images for training"),
        (yolo_config("names: [a]\ntrain: pictures"), "names pictures for train, which is missing"),
        (lambda r: shutil.rmtree(r / "images"), "names images/train for train, which is missing"),
        (
            lambda r: shutil.rmtree(r / "labels"),
            "no image for train has a label file; the label file of .*a",
        ),
        (lambda r: write(r / "labels/train/d.txt", ""), "d.txt belongs to no image: name it after"),
        (lambda r: (r / "images/train/a.jpg").write_bytes(b""), "cannot read the image .*a.jpg"),
        (yolo_line(f"2 {SQUARE}"), r"a.txt, line 2 has the class 2; data.yaml names 0, 1"),
        (yolo_line(f"-1 {SQUARE}"), r"a.txt, line 2 has the class -1;"),
        (yolo_line(f"cat {SQUARE}"), r"a.txt, line 2 has the class cat;"),
        (yolo_line("0 0.1 0.2 x 0.3"), "a.txt, line 2 has a coordinate that is not a number"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5 1.2"), r"a.txt, line 2 has the coordinate 1.2; .*\[0, 1"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5 -0.1"), "a.txt, line 2 has the coordinate -0.1"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5 nan"), "a.txt, line 2 has the coordinate nan"),
        (yolo_line("0 0.1 0.2"), "a.txt, line 2 has 2 numbers after the class: a box has 4"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5"), "a.txt, line 2 has 5 numbers after the class"),
        (yolo_line("0"), "a.txt, line 2 has 0 numbers after the class"),
        (
            lambda r: write(r / "labels" / "train" / "a.txt", "0 0.5 0.5 0.2 0.2\n"),
            "no image for training has an instance with a mask; left out: 2 boxes without a mask",
        ),
    ],
)
def test_an_error_in_yolo_names_the_line_and_nothing_is_written(yolo, tmp_path, spoil, message):
    spoil(yolo)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_own(yolo_data(yolo), tmp_path / "out", strict=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_real_polygons_survive_yolo(real_coco_tiny, tmp_path, read_masks):
    """COCO's instances of one polygon, written as YOLO's lines."""
    from pycocotools.coco import COCO

    coco = COCO(str(real_coco_tiny / "annotations" / "instances_train2017.json"))
    numbers = {key: number for number, key in enumerate(sorted(coco.cats))}
    names = [coco.cats[key]["name"] for key in numbers]
    root, expected = tmp_path / "yolo", {}
    write(root / "data.yaml", f"train: images/train\nnames: {names}\n")
    (root / "images").mkdir()
    shutil.copytree(real_coco_tiny / "train2017", root / "images" / "train")
    for image in coco.imgs.values():
        size = np.array([image["width"], image["height"]])
        lines, masks = [], []
        for one in coco.imgToAnns[image["id"]]:
            if one["iscrowd"] or len(one["segmentation"]) > 1:
                continue
            points = np.reshape(one["segmentation"][0], (-1, 2)) / size
            values = " ".join(f"{value:.9f}" for value in np.clip(points, 0, 1).ravel())
            lines.append(f"{numbers[one['category_id']]} {values}")
            masks.append((coco.annToMask(one) > 0, coco.cats[one["category_id"]]["name"]))
        stem = Path(image["file_name"]).stem
        write(root / "labels" / "train" / f"{stem}.txt", "\n".join(lines))
        expected[image["file_name"]] = masks
    prepare_own(yolo_data(root), tmp_path / "out", 0)
    read = read_masks(tmp_path / "out" / "train.json")
    assert set(read) == set(expected)
    instances = 0
    for name, pairs in read.items():
        for (mask, category), (original, named) in zip(pairs, expected[name], strict=True):
            assert category == named
            # Nine decimals move a few of the points that lie on the grid COCO's tools draw on.
            assert (mask & original).sum() / (mask | original).sum() > 0.9
            instances += 1
    assert instances > 500
