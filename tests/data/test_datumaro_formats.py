from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.custom import prepare_own
from semiconv_d2.data.datumaro_formats import cvat_data, datumaro_data, yolo_data
from semiconv_d2.data.files import DatasetError

HEIGHT, WIDTH = 20, 40
SQUARE = "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"  # columns 4 to 20, rows 4 to 12


def save(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def boxes(instances: list[tuple[np.ndarray, str]]) -> list[tuple[str, list[int]]]:
    """Category and (left, top, right, bottom) of each instance, and that it is filled."""
    found = []
    for mask, name in instances:
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append((name, [int(value) for value in box]))
    return found


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
    assert prepare_own(yolo_data(yolo), tmp_path / "out").instances == {"train": 2, "val": 1}


def test_yolo_as_cvat_exports_it(yolo, tmp_path):
    write(yolo / "data.yaml", "names:\n  0: cat\n  1: dog\npath: .\ntrain: train.txt\n")
    write(yolo / "train.txt", "data/images/train/a.jpg\ndata/images/train/b.jpg\n")
    assert prepare_own(yolo_data(yolo), tmp_path / "out", 0).instances == {"train": 2}
    write(yolo / "train.txt", "data/images/train/z.jpg\n")
    with pytest.raises(DatasetError, match=r"train.txt names an image that is missing: data/ima"):
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
    assert "1 image without a label file taken as without instances" in text


def yolo_line(line: str) -> Callable[[Path], None]:
    return lambda root: write(root / "labels" / "train" / "a.txt", f"0 {SQUARE}\n{line}\n")


def yolo_config(text: str) -> Callable[[Path], None]:
    return lambda root: write(root / "data.yaml", text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda r: (r / "data.yaml").unlink(),
            "data.yaml is missing, which .*; found: images/, la",
        ),
        (yolo_config("a: [1"), "cannot read .*data.yaml as YAML"),
        (yolo_config("just text"), "data.yaml has no settings"),
        (yolo_config("train: images/train"), "data.yaml does not name the classes"),
        (yolo_config("names: {a: b}"), "data.yaml does not name the classes"),
        (yolo_config("names: [a]"), "data.yaml names no images for training"),
        (yolo_config("names: [a]\ntrain: pictures"), "names pictures for train, which is missing"),
        (lambda r: shutil.rmtree(r / "images"), "names images/train for train, which is missing"),
        (
            lambda r: [path.unlink() for path in (r / "images" / "val").iterdir()],
            "images/val has no images, .*data.yaml names it for val",
        ),
        (lambda r: shutil.rmtree(r / "labels"), "no image for train has a label file; that of .*a"),
        (lambda r: (r / "labels/val/c.txt").unlink(), "no image for val has a label file; that o"),
        (lambda r: write(r / "labels/train/d.txt", ""), "d.txt belongs to no image: name it after"),
        (lambda r: (r / "images/train/a.jpg").write_bytes(b""), "cannot read the image .*a.jpg"),
        (yolo_line(f"2 {SQUARE}"), r"a.txt, line 2 has the class 2; data.yaml names 0, 1"),
        (yolo_line(f"-1 {SQUARE}"), r"a.txt, line 2 has the class -1;"),
        (yolo_line(f"cat {SQUARE}"), r"a.txt, line 2 has the class cat;"),
        (yolo_line("0 0.1 0.2 x 0.3"), "a.txt, line 2 has a coordinate that is no number"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5 1.2"), r"a.txt, line 2 has the coordinate 1.2; .*\[0, 1"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5 -0.1"), "a.txt, line 2 has the coordinate -0.1"),
        (yolo_line("0 0.1 0.2 0.3 0.4 0.5 nan"), "a.txt, line 2 has the coordinate nan"),
        (yolo_line("0 0.1 0.2"), "a.txt, line 2 has 2 numbers after the class: 4 are a box"),
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
        prepare_own(yolo_data(yolo), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


TASK = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <{kind}>
      <id>7</id>
      <name>cells</name>
      <labels>
        <label><name>cell</name><color>#33ddff</color><type>any</type><attributes></attributes></label>
        <label><name>nucleus</name><color>#fa3253</color><type>any</type><attributes></attributes></label>
      </labels>
    </{kind}>
    <dumped>2024-05-01 10:00:00+00:00</dumped>
  </meta>
{images}
</annotations>
"""
IMAGE = '  <image id="{id}" name="{name}"{more} width="40" height="20">\n{shapes}\n  </image>\n'


def element(kind: str, label: str = "cell", **attributes: object) -> str:
    """A shape with all that CVAT writes."""
    values = {"label": label, "source": "manual", "occluded": 0} | attributes | {"z_order": 0}
    written = " ".join(f'{key}="{value}"' for key, value in values.items())
    return f"<{kind} {written}></{kind}>"


CVAT_SQUARE = element("polygon", points="4.00,4.00;20.00,4.00;20.00,12.00;4.00,12.00")
CVAT_MASK = element("mask", rle="0, 3, 1, 2", left=30, top=15, width=3, height=2)
CVAT_SHAPES = [
    CVAT_SQUARE,
    element("polygon", "nucleus", points="1,1;3,1;3,3;1,3", group_id=2),
    CVAT_MASK,
    element("box", xtl=1, ytl=1, xbr=5, ybr=5),
    element("polygon", "nucleus", points="6,1;8,1;8,3;6,3", group_id=2),
    element("polyline", points="1,1;5,5"),
    element("ellipse", "nucleus", cx=30, cy=8, rx=6, ry=3),
    '<tag label="cell" source="manual"></tag>',
]


def write_cvat(root: Path, kind: str, images: list[dict]) -> None:
    entries = (IMAGE.format(**{"more": "", "shapes": ""} | image) for image in images)
    write(root / "annotations.xml", TASK.format(kind=kind, images="".join(entries)))


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    """A task with two images, as CVAT exports it."""
    root = tmp_path / "cvat"
    one = {"id": 0, "name": "one.png", "shapes": "\n".join(CVAT_SHAPES)}
    write_cvat(root, "task", [one, {"id": 1, "name": "deep/two.png"}])
    save(root / "images" / "one.png")
    save(root / "images" / "deep" / "two.png")
    return root


def test_cvat(cvat, tmp_path, read_masks):
    summary = prepare_own(cvat_data(cvat), tmp_path / "out", 0)
    assert "left out: 2 shapes without a mask (1 of type box, 1 of type polyline)" in str(summary)
    read = read_masks(tmp_path / "out" / "train.json")
    assert read["deep/two.png"] == []
    assert boxes(read["one.png"]) == [
        ("cell", [4, 4, 20, 12]),
        ("nucleus", [1, 1, 8, 3]),
        ("cell", [30, 15, 33, 17]),
        ("nucleus", [24, 5, 36, 11]),
    ]
    square, group, mask, ellipse = (mask for mask, _ in read["one.png"])
    assert (square.sum(), group.sum()) == (16 * 8, 2 * 4)
    np.testing.assert_array_equal(mask[15:17, 30:33], [[1, 1, 1], [0, 1, 1]])
    assert ellipse.sum() == pytest.approx(np.pi * 18, abs=4)


def test_a_cvat_project_has_the_same_numbers_in_several_tasks(tmp_path, read_masks):
    root = tmp_path / "cvat"
    images = [("a", "Train", 1), ("b", "Train", 2), ("c", "Validation", 3)]
    write_cvat(
        root,
        "project",
        [
            {
                "id": 0,
                "name": f"{name}.png",
                "more": f' subset="{subset}" task_id="{task}"',
                "shapes": CVAT_SQUARE if name != "b" else CVAT_MASK,
            }
            for name, subset, task in images
        ],
    )
    for name, subset, _ in images:
        save(root / "images" / subset / f"{name}.png")
    summary = prepare_own(cvat_data(root), tmp_path / "out")
    assert (summary.images, summary.instances) == ({"train": 2, "val": 1}, {"train": 2, "val": 1})
    read = read_masks(tmp_path / "out" / "train.json")
    assert boxes(read["Train/a.png"]) == [("cell", [4, 4, 20, 12])]
    assert boxes(read["Train/b.png"]) == [("cell", [30, 15, 33, 17])]


def test_cvat_without_the_images(cvat, tmp_path):
    (cvat / "images").rename(tmp_path / "pictures")
    with pytest.raises(DatasetError, match=r"image one.png is missing, looked for at .*--images"):
        cvat_data(cvat)
    data = cvat_data(cvat / "annotations.xml", tmp_path / "pictures")
    assert prepare_own(data, tmp_path / "out", 0).images == {"train": 2}


def cvat_shape(shape: str) -> Callable[[Path], None]:
    return lambda root: write_cvat(
        root, "task", [{"id": 0, "name": "one.png", "shapes": CVAT_SQUARE + shape}]
    )


def cvat_mask(**others: object) -> Callable[[Path], None]:
    values = {"rle": "0, 6", "left": 1, "top": 1, "width": 3, "height": 2} | others
    return cvat_shape(element("mask", **values))


def cvat_polygon(points: str, label: str = "cell") -> Callable[[Path], None]:
    return cvat_shape(element("polygon", label, points=points))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "annotations.xml").unlink(), "has 0 XML files, .*; found: images/"),
        (lambda r: write(r / "other.xml", ""), "has 2 XML files, expected one"),
        (lambda r: write(r / "annotations.xml", "<annotations>"), "cannot read .*s.xml as XML"),
        (lambda r: write(r / "annotations.xml", "<annotation/>"), "is not of CVAT: it has <annota"),
        (lambda r: write(r / "annotations.xml", "<annotations/>"), "has no images: export the ta"),
        (
            lambda r: write(r / "annotations.xml", "<annotations><track id='0'/></annotations>"),
            "has tracks of a video: export the task as",
        ),
        (
            lambda r: write_cvat(r, "task", [{"id": i, "name": "one.png"} for i in range(2)]),
            r"the image .*one.png comes more than once: in two splits",
        ),
        (lambda r: save(r / "images/one.png", 20, 41), "image one.png is for an image 40 pixels w"),
        (lambda r: save(r / "images/one.png", 10, 40), "image one.png is for an image 20 pixels h"),
        (lambda r: (r / "images/one.png").write_bytes(b"x"), "cannot read the image .*one.png"),
        (cvat_polygon("1,1;2,2"), "image one.png, shape 2 is a polygon of 2 points, at least 3"),
        (cvat_polygon(""), "image one.png, shape 2 is a polygon of 0 points"),
        (cvat_polygon("1,1;2,2;x,3"), "shape 2 has points that are no pairs of numbers"),
        (cvat_polygon("1,1;2,2;3"), "shape 2 has points that are no pairs of numbers"),
        (cvat_polygon("1,1;2,2;nan,3"), "shape 2 has points that are no pairs of finite"),
        (cvat_polygon("1,1;5,1;5,5", "dog"), "shape 2 has the label 'dog', which is not among"),
        (cvat_shape(element("star")), "shape 2 is of the unknown type star; known are po"),
        (cvat_shape(element("ellipse", cx=1)), "shape 2 has points that are no pairs"),
        (cvat_mask(rle="0, 5"), "shape 2 is a mask of 2 x 3 pixels .* with runs of 5 pixels"),
        (cvat_mask(rle="0, -1, 7"), "shape 2 is a mask of 2 x 3 pixels"),
        (cvat_mask(rle="zero"), "shape 2 has a run-length encoding of no numbers"),
        (cvat_mask(width=50, rle="0, 100"), "a mask of 2 x 50 pixels .* in an image of 20 x 40"),
        (cvat_mask(left="a"), "shape 2 has left='a' where a whole number is needed"),
    ],
)
def test_an_error_in_cvat_names_the_shape_and_nothing_is_written(cvat, tmp_path, spoil, message):
    spoil(cvat)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_own(cvat_data(cvat), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def coco(real_coco_tiny: Path, tmp_path: Path) -> Path:
    """Real images in the layout that datumaro reads."""
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "annotations").symlink_to(real_coco_tiny / "annotations")
    for folder in ("train2017", "val2017"):
        (root / "images" / folder).symlink_to(real_coco_tiny / folder)
    return root


def test_real_coco_comes_back_bit_for_bit(coco, real_coco_tiny, tmp_path, read_masks):
    pytest.importorskip("datumaro")
    summary = prepare_own(datumaro_data(coco, "coco"), tmp_path / "out")
    assert summary.images == {"train": 80, "val": 80}
    assert "left out: 17 annotations without a mask (17 of type crowd)" in str(summary)
    for split in ("train", "val"):
        original = read_real(real_coco_tiny / "annotations" / f"instances_{split}2017.json")
        read = read_masks(tmp_path / "out" / f"{split}.json")
        assert {Path(name).name for name in read} == set(original)
        for name, instances in read.items():
            assert sorted((category, mask.tobytes()) for mask, category in instances) == sorted(
                (category, mask.tobytes()) for mask, category in original[Path(name).name]
            )


def read_real(path: Path) -> dict[str, list[tuple[np.ndarray, str]]]:
    """Masks and categories of COCO's own annotations, without the crowds."""
    from pycocotools.coco import COCO

    coco = COCO(str(path))
    return {
        image["file_name"]: [
            (coco.annToMask(one) > 0, coco.cats[one["category_id"]]["name"])
            for one in coco.imgToAnns[image["id"]]
            if not one["iscrowd"]
        ]
        for image in coco.imgs.values()
    }


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


def test_datumaro_reads_the_old_labelme(tmp_path, read_masks):
    pytest.importorskip("datumaro")
    root = tmp_path / "old"
    save(root / "Images" / "set" / "a.jpg")
    points = "".join(
        f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((4, 4), (20, 4), (20, 12), (4, 12))
    )
    write(
        root / "Annotations" / "set" / "a.xml",
        f"<annotation><filename>a.jpg</filename><folder>set</folder><source/><object><name>cell"
        f"</name><deleted>0</deleted><verified>0</verified><occluded>no</occluded><date/><id>0</id>"
        f"<parts><hasparts/><ispartof/></parts><polygon><username/>{points}</polygon><attributes/>"
        f"</object><imagesize><nrows>20</nrows><ncols>40</ncols></imagesize></annotation>",
    )
    prepare_own(datumaro_data(root, "label_me"), tmp_path / "out", 0)
    read = read_masks(tmp_path / "out" / "train.json")
    assert boxes(read["a.jpg"]) == [("cell", [4, 4, 20, 12])]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("nonsense", "datumaro cannot read .* as nonsense: UnknownFormatError: "),
        ("coco", "datumaro cannot read .* as coco: "),
    ],
)
def test_what_datumaro_cannot_read(tmp_path, form, message):
    pytest.importorskip("datumaro")
    write(tmp_path / "in" / "notes.txt", "")
    with pytest.raises(DatasetError, match=message) as caught:
        datumaro_data(tmp_path / "in", form)
    assert "\n" not in str(caught.value)
