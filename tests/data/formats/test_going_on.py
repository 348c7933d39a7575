"""What is wrong in a conversion is left out, counted and named; the rest is written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import save, write
from own_images import LABELS, labelled, masked
from own_images import save as save_pixels
from PIL import Image

from semiconv_d2.cli import convert
from semiconv_d2.data.formats.cvat import cvat_data
from semiconv_d2.data.formats.labelme import labelme_data
from semiconv_d2.data.formats.mask_files import read_labels
from semiconv_d2.data.formats.mask_folders import masks_data
from semiconv_d2.data.formats.own import prepare_own
from semiconv_d2.data.formats.yolo import yolo_data
from semiconv_d2.errors import DatasetError

SQUARE = "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    root = tmp_path / "yolo"
    write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]\n")
    for name in ("train/a", "train/b", "val/c"):
        save(root / "images" / f"{name}.png")
        write(root / "labels" / f"{name}.txt", f"0 {SQUARE}\n1 {SQUARE}\n")
    return root


def names_in(output: Path, split: str = "train") -> list[str]:
    content = json.loads((output / f"{split}.json").read_text())
    return sorted(image["file_name"] for image in content["images"])


# --- YOLO


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("cat 0.1 0.2 0.5 0.2 0.5 0.6", "line 3 has the class cat"),
        ("7 0.1 0.2 0.5 0.2 0.5 0.6", "line 3 has the class 7"),
        ("0 0.1 0.2 x 0.2 0.5 0.6", "line 3 has a coordinate that is not a number"),
        ("0 10 20 300 200 50 60", "line 3 has the coordinate 10; .* they look like pixels"),
        ("0 0.1 0.2 nan 0.2 0.5 0.6", "line 3 has the coordinate nan"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.9", "line 3 has 7 numbers"),
        ("0", "line 3 has 0 numbers"),
    ],
)
def test_a_line_that_is_wrong_is_left_out(yolo, tmp_path, line, left):
    path = yolo / "labels" / "train" / "a.txt"
    path.write_text(path.read_text() + line + "\n")
    text = str(prepare_own(yolo_data(yolo), tmp_path / "out"))
    assert text.startswith("wrote 3 images with 6 instances")
    assert "left out instances, which become background: 1\n" in text
    assert text.splitlines()[-1].startswith("left out, because something is wrong: 1 instance,")
    with pytest.raises(DatasetError, match=left):
        prepare_own(yolo_data(yolo), tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_coordinates_a_little_outside_are_cut_off(yolo, tmp_path, read_masks):
    write(yolo / "labels" / "train" / "a.txt", "0.0 0.5 0.5 1.000437 0.5 1.000437 1 0.5 1\n")
    summary = prepare_own(yolo_data(yolo), tmp_path / "out", strict=True)
    assert "1 polygon beyond the border of the image, cut off there" in str(summary)
    ((mask, name),) = read_masks(tmp_path / "out" / "train.json")["train/a.png"]
    assert (name, mask.sum()) == ("cat", 20 * 10)


def test_an_image_whose_instances_are_all_wrong_does_not_become_background(yolo, tmp_path):
    write(yolo / "labels" / "train" / "a.txt", "9 0.1 0.2 0.5 0.2 0.5 0.6\n")
    (yolo / "images" / "train" / "b.png").write_bytes(b"no image")
    save(yolo / "images" / "train" / "d.png")
    write(yolo / "labels" / "train" / "d.txt", f"0 {SQUARE}\n")
    text = str(prepare_own(yolo_data(yolo), tmp_path / "out"))
    assert names_in(tmp_path / "out") == ["train/d.png"]
    assert "left out images or files: 2" in text
    assert "b.png" in text
    assert "a.png: all its instances are wrong" in text


def test_splits_that_are_missing_are_remarked_on(yolo, tmp_path):
    write(
        yolo / "data.yaml",
        "train: images/train\nval: images/val\ntest: ../test/images\nnames: [cat, dog]\n",
    )
    text = str(prepare_own(yolo_data(yolo), tmp_path / "out"))
    assert "names ../test/images for test, which is missing" in text
    assert text.startswith("wrote 3 images with 6 instances (train 2 with 4, val 1 with 2)")
    (yolo / "labels" / "val" / "c.txt").unlink()
    text = str(prepare_own(yolo_data(yolo), tmp_path / "other"))
    assert "no image for val has a label file" in text
    assert text.startswith("wrote 2 images with 4 instances (train 1 with 2, val 1 with 2)")


def test_hidden_copies_are_no_data(yolo, tmp_path):
    for name in (
        ".ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/a.png",
        "@eaDir/a.png",
        "._a.png",
    ):
        save(yolo / "images" / "train" / name)
    write(yolo / "labels" / "train" / "._a.txt", "\0\5\26\7")
    text = str(prepare_own(yolo_data(yolo), tmp_path / "out", strict=True))
    assert names_in(tmp_path / "out") == ["train/a.png", "train/b.png"]
    assert "left out" not in text


# --- LabelMe


POLYGON = [[5, 4], [20, 4], [20, 12], [5, 12]]


def labelme(root: Path, *shapes: object, **others: object) -> Path:
    save(root / "a.png")
    good = {"label": "cell", "points": POLYGON, "shape_type": "polygon"}
    content = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 40}
    content |= {"shapes": [good, *shapes]} | others
    write(root / "a.json", json.dumps(content))
    return root


@pytest.mark.parametrize(
    "shape",
    [
        {"label": "cell", "points": POLYGON[:2], "shape_type": "polygon"},
        {"label": "cell", "points": POLYGON, "shape_type": "rotation"},
        {"label": "cell", "points": POLYGON, "shape_type": ["x"]},
        {"label": None, "points": POLYGON},
        {"label": "cell", "points": "x"},
        {"label": "cell", "points": POLYGON, "group_id": {}},
        {"label": "cell", "points": [[1, 1], [3, 3]], "shape_type": "mask", "mask": "AAAA"},
        "no shape",
    ],
)
def test_a_shape_that_is_none_is_left_out(tmp_path, shape):
    root = labelme(tmp_path / "in", shape)
    text = str(prepare_own(labelme_data(root), tmp_path / "out"))
    assert text.startswith("wrote 1 images with 1 instances")
    assert "shape 2" in text


def test_a_number_as_label_is_text_and_other_json_files_are_left_out(tmp_path):
    root = labelme(tmp_path / "in", {"label": 1, "points": POLYGON}, imagePath=None)
    write(root / "classes.json", "{}")
    write(root / "._a.json", "\0")
    data = labelme_data(root)
    assert data.categories == ["1", "cell"]
    text = str(prepare_own(data, tmp_path / "out"))
    assert text.startswith("wrote 1 images with 2 instances")
    assert "classes.json has no list of shapes" in text


# --- CVAT


def cvat(root: Path, name: str, *shapes: str) -> Path:
    head = "<annotations><meta><labels><label><name>cell</name></label></labels></meta>"
    good = '<polygon label="cell" points="4,4;20,4;20,12;4,12"/>'
    text = "".join(
        f'<image id="{n}" name="{each}" width="40" height="20">{good}{"".join(shapes)}</image>'
        for n, each in enumerate(("a.png", name))
    )
    save(root / "images" / "a.png")
    write(root / "annotations.xml", f"{head}{text}</annotations>")
    return root


@pytest.mark.parametrize("name", ["../../secret.png", "/{root}/secret.png", "..\\..\\secret.png"])
def test_no_name_leads_out_of_the_folders(tmp_path, name):
    save_pixels(tmp_path / "secret.png", np.zeros((20, 40), np.uint16))
    root = cvat(tmp_path / "in", name.format(root=tmp_path))
    before = (tmp_path / "secret.png").read_bytes()
    text = str(prepare_own(cvat_data(root), tmp_path / "out", val_fraction=0))
    assert names_in(tmp_path / "out") == ["a.png"]
    assert "leads out of the folder of images" in text
    assert (tmp_path / "secret.png").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "secret.png"]


@pytest.mark.parametrize(
    "shape",
    [
        '<star label="cell"/>',
        '<polygon label="dog" points="1,1;5,1;5,5"/>',
        '<polygon label="cell" points="1,1;5,1"/>',
        '<mask label="cell" rle="0,1000000000000" left="0" top="0" width="1000000" '
        'height="1000000"/>',
        '<mask label="cell" rle="99999999999999999999" left="0" top="0" width="1" height="1"/>',
    ],
)
def test_a_shape_of_cvat_that_is_none_is_left_out(tmp_path, shape):
    root = cvat(tmp_path / "in", "gone.png", shape)
    text = str(prepare_own(cvat_data(root), tmp_path / "out"))
    assert text.startswith("wrote 1 images with 1 instances")
    assert "left out images or files: 1" in text
    assert "left out instances, which become background: 1" in text


# --- Labels and masks


def test_images_and_labels_without_the_other_are_left_out(root, tmp_path):
    (root / "labels" / "two.png").rename(root / "labels" / "six.png")
    save_pixels(root / "labels" / "one.png", np.zeros((2, 2), np.uint8))
    text = str(prepare_own(labelled(root), tmp_path / "out", val_fraction=0))
    assert names_in(tmp_path / "out") == ["five.jpg", "four.jpg", "three.jpg"]
    assert "left out images or files: 3" in text
    for name in ("two.jpg", "six.png", "one.png"):
        assert name in text


def test_masks_that_are_wrong_are_left_out(root, tmp_path):
    save_pixels(root / "masks" / "one_2.png", np.zeros(LABELS["one"].shape, np.uint8))
    (root / "masks" / "five_0.png").write_bytes(b"no image")
    text = str(prepare_own(masked(root), tmp_path / "out", val_fraction=0))
    assert text.startswith("wrote 5 images with 6 instances")
    assert "left out instances, which become background: 2" in text


def test_the_folders_of_the_data_science_bowl(tmp_path):
    for name in ("00ae65", "01d027", "__MACOSX"):
        rgba = np.full((*LABELS["one"].shape, 4), 255, np.uint8)
        save_pixels(tmp_path / "dsb" / name / "images" / f"{name}.png", rgba)
        for value in (1, 9):
            mask = (LABELS["one"] == value).astype(np.uint8) * 255
            rgba = np.stack([mask, mask, mask, np.full_like(mask, 255)], axis=2)
            path = tmp_path / "dsb" / name / "masks" / f"{value}ab.png"
            save_pixels(path, rgba if value == 9 else mask)
    (tmp_path / "dsb" / "empty" / "images").mkdir(parents=True)
    (tmp_path / "dsb" / "empty" / "masks").mkdir(parents=True)
    text = str(prepare_own(masks_data(tmp_path / "dsb", tmp_path / "dsb"), tmp_path / "out"))
    assert text.startswith("wrote 2 images with 4 instances (train 1 with 2, val 1 with 2)")
    assert "empty/images has 0 images, expected one" in text


def tiff(path: Path, pixels: np.ndarray) -> None:
    """Plain and uncompressed, of any type."""
    height, width = pixels.shape
    data, form = pixels.tobytes(), {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    bits = pixels.dtype.itemsize * 8
    tags = [
        *((256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, 1)),
        *((273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)), (339, 3, form)),
    ]
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1)
        + (struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value))
        for tag, kind, value in tags
    )
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(tags)) + entries + bytes(4))


@pytest.mark.parametrize(
    "kind", ["uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32", "float64"]
)
def test_labels_of_all_types(tmp_path, kind):
    labels = LABELS["one"].astype(kind)
    tiff(tmp_path / "x.tif", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "x.tif"), LABELS["one"])
    labels[4, 4] = 200
    if np.dtype(kind).itemsize == 8 or kind == "uint32":
        labels[4, 4] = 3 * 10**9
    tiff(tmp_path / "x.tif", labels)
    assert read_labels(tmp_path / "x.tif")[4, 4] == labels[4, 4]


def test_classes_in_the_place_of_instances_are_remarked_on(root, tmp_path):
    for name in LABELS:
        pixels = np.zeros((30, 30), np.uint8)
        pixels[2:8, 2:8] = pixels[20:28, 20:28] = 1
        save_pixels(root / "images" / f"{name}.jpg", np.zeros((30, 30, 3), np.uint8))
        save_pixels(root / "labels" / f"{name}.png", pixels)
    text = str(prepare_own(labelled(root), tmp_path / "out"))
    assert "5 of 5 instances are in several separate pieces" in text


# --- Limits and terminals


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str]:
    status = convert.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


@pytest.fixture
def absurd() -> Callable[[Path], None]:
    def save_absurd(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("1", (13_000, 13_000)).save(path)

    return save_absurd


def test_an_image_of_absurdly_many_pixels_is_not_decoded(yolo, tmp_path, capsys, absurd):
    absurd(yolo / "images" / "train" / "b.png")
    status, said = run(capsys, "yolo", yolo, "--output", tmp_path / "out")
    assert status == 0
    assert "b.png has 13000 × 13000 pixels (height × width), 169 million, but the limit is" in said
    assert "SEMICONV_MAX_MEGAPIXELS=169" in said


def test_names_do_not_steer_the_terminal(yolo, tmp_path, capsys):
    write(yolo / "data.yaml", 'train: images/train\nnames: ["a\\e[2Jb", "\\u202edog"]\n')
    name = "x\x1b]0;owned\x07"
    save(yolo / "images" / "train" / f"{name}.png")
    write(yolo / "labels" / "train" / f"{name}.txt", "nonsense")
    status, said = run(capsys, "yolo", yolo, "--output", tmp_path / "out")
    assert status == 0
    status, failed = run(capsys, "yolo", yolo, "--output", tmp_path / "other", "--strict")
    assert status == 1
    for text in (said, failed):
        assert "\\x1b]0;owned\\x07" in text
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
