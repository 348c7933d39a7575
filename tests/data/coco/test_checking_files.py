from __future__ import annotations

import pytest
from PIL import Image
from small_coco import GREY, HEIGHT, WIDTH, animate, save

from semiconv_d2.data.coco.checking import find_defects
from semiconv_d2.data.coco.fixing import fix
from semiconv_d2.data.pixels import Reading


def test_a_file_that_lies_elsewhere_is_hinted_at(dataset):
    content, root = dataset
    content["images"][0]["file_name"] = "train/one.png"
    [defect] = find_defects(content, root)
    assert defect.what.endswith("train/one.png, but there is one.png")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("train/one.png", "one.png"), ("one.PNG", "one.png"), ("train\\two.JPG", "two.jpg")],
)
def test_a_file_name_that_says_which_file_is_meant_is_mended(dataset, name, meant):
    content, root = dataset
    index = ["one.png", "two.jpg"].index(meant)
    content["images"][index]["file_name"] = name
    mended, _ = fix(content, find_defects(content, root))
    assert mended["images"][index]["file_name"] == meant
    content["images"][2]["file_name"] = f"val/{meant}"  # which of both lies there?
    assert find_defects(content, root)[-1].mending == "drop the image and its annotations"


def test_a_file_of_another_extension_is_meant_where_it_is_the_only_one(dataset):
    content, root = dataset
    content["images"][0]["file_name"] = "train/one.jpg"
    [defect] = find_defects(content, root)
    assert defect.what.endswith("train/one.jpg, but there is one.png")
    mended, _ = fix(content, [defect])
    assert mended["images"][0]["file_name"] == "one.png"
    content["images"][2]["file_name"] = "one.png"  # that file has an entry of its own
    assert find_defects(content, root)[0].mending == "drop the image and its annotations"


def test_a_quick_check_reads_some_headers_alone(dataset):
    content, root = dataset
    Image.fromarray(GREY[:-1]).save(root / "odd.png")
    template = dict(content["images"][2])
    content["images"] += [
        template | {"id": 100 + i, "file_name": "empty.png" if i else "odd.png"}
        for i in range(1000)
    ]
    content["images"][4], content["images"][3] = content["images"][3], content["images"][4]
    kinds = [d.kind for d in find_defects(content, root)]
    assert "size-mismatch" in kinds
    assert "size-mismatch" not in [d.kind for d in find_defects(content, root, quick=True)]


def test_detectron2_reads_turned_images_in_the_size_that_is_checked(dataset):
    utils = pytest.importorskip("detectron2.data.detection_utils")
    content, root = dataset
    for name in ("one.png", "two.jpg", "empty.png"):
        for orientation in range(1, 9):
            save(name, GREY, orientation)(content, root)
            size = utils.read_image(str(root / name), "BGR").shape[:2]
            found = {d.kind for d in find_defects(content, root, read_images=True)}
            assert ("size-mismatch" in found) == (size != (HEIGHT, WIDTH)), (name, orientation)
            save(name, GREY)(content, root)


def test_a_choice_of_pages_makes_a_stack_clear(dataset):
    content, root = dataset
    animate("one.png")(content, root)
    [defect] = find_defects(content, root)
    assert defect.kind == "image-unclear"
    assert "has 2 pages: choose one of them by INPUT.PAGES (N,)" in defect.what
    assert not find_defects(content, root, reading=Reading(pages=(1,)), read_images=True)
