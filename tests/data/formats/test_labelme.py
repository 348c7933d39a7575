from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from semiconv_d2.data.formats.labelme import labelme_data, read_labelme
from semiconv_d2.data.formats.own import prepare_own
from semiconv_d2.errors import DatasetError

HEIGHT, WIDTH = 40, 60
POLYGON = [[5.0, 4.0], [20.0, 4.0], [20.0, 12.5], [5.0, 12.5]]
CROP = np.array([[1, 0, 1], [1, 1, 1]], dtype=bool)


def encode(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def shape(kind: str, points: list, label: str = "cell", **others: object) -> dict:
    """A shape with all that LabelMe writes."""
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    } | others


def write(folder: Path, name: str, shapes: list[dict], **others: object) -> Path:
    """An image and its annotations, as LabelMe saves them beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(folder / f"{name}.jpg")
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{name}.jpg",
        "imageData": base64.b64encode((folder / f"{name}.jpg").read_bytes()).decode("ascii"),
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    } | others
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2))
    return folder / f"{name}.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "labelled"
    shapes = [
        shape("polygon", POLYGON),
        shape("polygon", [[30, 20], [40, 20], [35, 30]], "nucleus", group_id=3),
        shape("circle", [[45.0, 10.0], [45.0, 16.0]], "nucleus"),
        shape("polygon", [[50, 30], [58, 30], [58, 38], [50, 38]], "nucleus", group_id=3),
        shape("mask", [[7.0, 30.0], [9.0, 31.0]], mask=encode(CROP)),
        shape("rectangle", [[20.0, 35.0], [10.0, 25.0]]),
        shape("point", [[1, 1]]),
        shape("linestrip", [[1, 1], [2, 2], [3, 4]], "edge"),
    ]
    write(root, "one", shapes)
    write(root, "two", [])
    return root


def prepare(root: Path, output: Path, read_masks, **options: object) -> tuple[str, dict]:
    summary = prepare_own(labelme_data(root, **options), output, val_fraction=0)
    return str(summary), read_masks(output / "train.json")


def test_shapes_become_masks(root, tmp_path, read_masks):
    text, read = prepare(root, tmp_path / "out", read_masks)
    assert "left out: 2 points and lines" in text
    assert "1 rectangle read as filled masks" in text
    assert list(read) == ["one.jpg", "two.jpg"]
    assert read["two.jpg"] == []
    kinds = [name for _, name in read["one.jpg"]]
    assert kinds == ["cell", "nucleus", "nucleus", "cell", "cell"]
    polygon, group, circle, mask, rectangle = (mask for mask, _ in read["one.jpg"])

    assert polygon[4:12, 5:20].all()
    assert polygon.sum() in (8 * 15, 9 * 15)  # the lower edge lies in the middle of pixels
    assert group[30:38, 50:58].all()
    assert group[22, 35]
    assert group.sum() == pytest.approx(64 + 50, abs=6)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    np.testing.assert_array_equal(circle, np.hypot(x + 0.5 - 45, y + 0.5 - 10) <= 6)
    np.testing.assert_array_equal(np.argwhere(mask), np.argwhere(CROP) + (30, 7))
    assert rectangle[25:35, 10:20].all()
    assert rectangle.sum() == 100


def test_polygons_are_where_another_library_draws_them(tmp_path, read_masks):
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(4, 12, 9)
        centre = rng.uniform((15, 15), (WIDTH - 15, HEIGHT - 15))
        points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shapes.append(shape("polygon", points.tolist()))
    write(tmp_path / "in", "one", shapes)
    _, read = prepare(tmp_path / "in", tmp_path / "out", read_masks)
    for (mask, _), original in zip(read["one.jpg"], shapes, strict=True):
        # Eight times as fine, and then the pixels that are more than half inside.
        fine = Image.new("L", (WIDTH * 8, HEIGHT * 8))
        points = [(8 * x - 0.5, 8 * y - 0.5) for x, y in original["points"]]
        ImageDraw.Draw(fine).polygon(points, fill=1)
        parts = np.asarray(fine).reshape(HEIGHT, 8, WIDTH, 8).mean(axis=(1, 3))
        assert mask[parts == 1].all()
        assert not mask[parts == 0].any()
        assert (mask == (parts > 0.5)).mean() > 0.99


def test_a_mask_beyond_the_border_is_cut_off(tmp_path, read_masks):
    crop = shape("mask", [[-1, HEIGHT - 1], [1, HEIGHT]], mask=encode(CROP))
    far = shape("polygon", [[100, 100], [110, 100], [110, 110]])
    write(tmp_path / "in", "one", [crop, far])
    text, read = prepare(tmp_path / "in", tmp_path / "out", read_masks)
    ((mask, _),) = read["one.jpg"]
    assert np.argwhere(mask).tolist() == [[HEIGHT - 1, 1]]
    assert "left out: 1 instance covering no pixel" in text


def test_labels_are_stripped_and_all_listed(root, tmp_path, read_masks):
    path = write(root, "three", [shape("polygon", POLYGON, "cell ")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as an editor on Windows saves it
    text, read = prepare(root, tmp_path / "out", read_masks)
    assert "categories: cell, nucleus\n" in text
    assert [name for _, name in read["three.jpg"]] == ["cell"]


def test_categories_may_be_given(root, tmp_path, read_masks):
    prepare(root, tmp_path / "out", read_masks, categories=["nucleus", "dirt", "cell"])
    content = json.loads((tmp_path / "out" / "train.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["nucleus", "dirt", "cell"]
    data = labelme_data(root, ["nucleus"])
    with pytest.raises(DatasetError, match=r"shape 1 has the label 'cell', which is not among"):
        prepare_own(data, tmp_path / "other", strict=True)


def test_folders_are_splits(root, tmp_path):
    for split in ("train", "val"):
        write(tmp_path / "in" / split, "one", [shape("polygon", POLYGON)])
    summary = prepare_own(labelme_data(tmp_path / "in"), tmp_path / "out")
    assert summary.images == {"train": 1, "val": 1}
    content = json.loads((tmp_path / "out" / "val.json").read_text())
    assert content["images"][0]["file_name"] == "val/one.jpg"
    assert (tmp_path / "out" / "images" / "val" / "one.jpg").is_file()


def test_images_are_found_where_the_file_says_or_beside_it(tmp_path):
    path = write(tmp_path / "in", "one", [], imagePath="..\\pictures\\one.jpg")
    image = path.with_suffix(".jpg")
    assert read_labelme(path).image == image
    (tmp_path / "pictures").mkdir()
    image.rename(tmp_path / "pictures" / "one.jpg")
    assert read_labelme(path).image == tmp_path / "pictures" / "one.jpg"


def test_images_without_a_file_are_counted(root, tmp_path, read_masks):
    Image.new("L", (3, 3)).save(root / "three.png")
    text, read = prepare(root, tmp_path / "out", read_masks)
    assert "left out: 1 image without a JSON file" in text
    assert len(read) == 2


def test_files_of_old_versions(tmp_path, read_masks):
    old = {"label": "cell", "points": POLYGON, "line_color": None, "fill_color": None}
    write(tmp_path / "in", "one", [old], imageHeight=None, imageWidth=None)
    _, read = prepare(tmp_path / "in", tmp_path / "out", read_masks)
    assert read["one.jpg"][0][0][4:12, 5:20].all()


def change(**others: object) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        content = json.loads((root / "one.json").read_text())
        (root / "one.json").write_text(json.dumps(content | others))

    return spoil


def add(*arguments: object, **others: object) -> Callable[[Path], None]:
    return change(shapes=[shape("polygon", POLYGON), shape(*arguments, **others)])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "one.json").write_text('{"shapes": ['), r"one.json is not JSON: .*line 1"),
        (lambda r: (r / "one.json").write_bytes(b"\xff\xfe"), r"cannot read .*one.json: "),
        (lambda r: (r / "one.json").write_text("[]"), "one.json has no list of shapes, so it is n"),
        (change(shapes=None), "one.json has no list of shapes, so it is not of LabelMe"),
        (change(imagePath="gone/other.jpg"), "one.json names is missing: "),
        (change(imagePath="other.jpg"), r"the image that .*one.json names is missing: .*other.jpg"),
        (change(imagePath="two.jpg"), r"the image .*two.jpg comes more than once: in two splits"),
        (change(imageHeight=39), r"one.json is for an image 39 pixels high, .*one.jpg is 40"),
        (change(imageWidth=1), r"one.json is for an image 1 pixels wide, .*one.jpg is 60"),
        (lambda r: (r / "one.jpg").write_bytes(b""), r"cannot read the image .*one.jpg"),
        (
            add("polygon", [[1, 1], [2, 2]]),
            "one.json, shape 2 is a polygon of 2 points, but at least",
        ),
        (add("circle", [[1, 1]]), "one.json, shape 2 is a circle of 1 point, but at least 2"),
        (add("polygon", []), "one.json, shape 2 is a polygon of 0 points"),
        (add("cuboid", POLYGON), "one.json, shape 2 is of the unknown type 'cuboid'; known are"),
        (add("polygon", POLYGON, ""), "one.json, shape 2 has no label"),
        (
            add("polygon", POLYGON, group_id=[1]),
            r"shape 2 has the group_id \[1\], which is not a whole",
        ),
        (add("polygon", [[1, 2], [3, 4], [5]]), "shape 2 has points that are not pairs of numbers"),
        (add("polygon", [[1, 2], [3, 4], [5, "x"]]), "shape 2 has points that are not pairs of"),
        (add("polygon", [[1, 2], [3, 4], [5, float("nan")]]), "not pairs of finite numbers"),
        (add("polygon", [[1, 2], [3, 4], [5, 1e9]]), r"has a coordinate of 1e\+09, which no imag"),
        (add("mask", [[1, 2], [3, 3]]), "shape 2: its mask cannot be read"),
        (add("mask", [[1, 2], [3, 3]], mask="AAAA"), "shape 2: its mask cannot be read"),
        (
            add("mask", [[1, 2], [3, 4]], mask=encode(CROP)),
            r"shape 2: its mask is \(2, 3\) pixels .* corners of \(3, 3\)",
        ),
        (change(shapes=["x"]), "one.json, shape 1 is not a shape"),
        (
            change(shapes=[shape("point", [[1, 2]])]),
            "no image for training has an instance .*1 poi",
        ),
    ],
)
def test_an_error_names_the_shape_and_nothing_is_written(root, tmp_path, spoil, message):
    spoil(root)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_own(labelme_data(root), tmp_path / "out", strict=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_annotations(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DatasetError, match=r"has no JSON files of LabelMe, .*; found: a.txt"):
        labelme_data(tmp_path)
