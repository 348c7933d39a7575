from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import boxes, save, write

from semiconv_d2.data.formats.cvat import cvat_data
from semiconv_d2.data.formats.own import prepare_own
from semiconv_d2.errors import DatasetError

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


def test_cvat_on_windows(cvat, tmp_path):
    path = cvat / "annotations.xml"
    path.write_text(path.read_text().replace("deep/two.png", "deep\\two.png"))
    assert prepare_own(cvat_data(cvat), tmp_path / "out", 0).images == {"train": 2}


def test_cvat_without_the_images(cvat, tmp_path):
    (cvat / "images").rename(tmp_path / "pictures")
    with pytest.raises(
        DatasetError, match=r"image one.png is missing, it was looked for at .*--images"
    ):
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
        (
            cvat_polygon("1,1;2,2"),
            "image one.png, shape 2 is a polygon of 2 points, but at least 3",
        ),
        (cvat_polygon(""), "image one.png, shape 2 is a polygon of 0 points"),
        (cvat_polygon("1,1;2,2;x,3"), "shape 2 has points that are not pairs of numbers"),
        (cvat_polygon("1,1;2,2;3"), "shape 2 has points that are not pairs of numbers"),
        (cvat_polygon("1,1;2,2;nan,3"), "shape 2 has points that are not pairs of finite"),
        (cvat_polygon("1,1;5,1;5,5", "dog"), "shape 2 has the label 'dog', which is not among"),
        (cvat_shape(element("star")), "shape 2 is of the unknown type star; known are po"),
        (cvat_shape(element("ellipse", cx=1)), "shape 2 has points that are not pairs"),
        (cvat_mask(rle="0, 5"), "shape 2: it is a mask of 2 x 3 pixels .* with runs of 5 pixels"),
        (cvat_mask(rle="0, -1, 7"), "shape 2: it is a mask of 2 x 3 pixels"),
        (cvat_mask(rle="zero"), "shape 2: its run-length encoding has no whole numbers"),
        (cvat_mask(width=50, rle="0, 100"), "a mask of 2 x 50 pixels .* in an image of 20 x 40"),
        (cvat_mask(left="a"), "shape 2 has left='a' where a whole number is needed"),
    ],
)
def test_an_error_in_cvat_names_the_shape_and_nothing_is_written(cvat, tmp_path, spoil, message):
    spoil(cvat)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_own(cvat_data(cvat), tmp_path / "out", strict=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
