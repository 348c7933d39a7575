"""`tools/check_dataset.py`: what it prints and writes, and its exit status."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

TOOL = "tools/check_dataset.py"
CONFIG = "configs/demo_semiconv.yaml"


@pytest.fixture
def worms(datasets_folder, tmp_path):
    """A copy of the worms: path of the JSON, its content, and the folder of images."""
    images = tmp_path / "images"
    shutil.copytree(datasets_folder / "synthetic_worms" / "images", images)
    source = datasets_folder / "synthetic_worms" / "train.json"
    json_file = tmp_path / "train.json"
    shutil.copyfile(source, json_file)
    return json_file, json.loads(source.read_text()), images


def test_a_sound_dataset_with_a_config_and_pictures(run_tool, worms, tmp_path):
    json_file, content, images = worms
    output = tmp_path / "out"
    status, out, err = run_tool(
        TOOL, json_file, images, "--config-file", CONFIG, "--output", output, "--pictures", 2
    )
    assert status == 0, err
    assert "errors: 0\nwarnings: 0" in out
    assert "for the detector, images enlarged 1.33 times" in out  # 192 to 256 pixels
    assert "mask thinner than 4 px, one cell" in out
    assert "read images: 100%" in err
    assert (output / "table.txt").read_text().strip() in out
    statistics = json.loads((output / "statistics.json").read_text())
    assert statistics["instances"] == len(content["annotations"])
    assert (output / "defects.txt").read_text() == "errors: 0\nwarnings: 0\n"
    for number in (1, 2):
        picture = np.asarray(Image.open(output / f"sample_00{number}.png"))
        assert picture.shape[0] >= 192
        assert picture.shape[1] >= 2 * 192
    assert json.loads(json_file.read_text()) == content


def test_errors_are_told_mended_and_gone(run_tool, worms, tmp_path):
    json_file, content, images = worms
    for annotation in content["annotations"][:6]:
        annotation["bbox"] = []
    content["annotations"][7]["category_id"] = 9
    next(images.glob("train*")).unlink()
    json_file.write_text(json.dumps(content))
    before = json_file.read_bytes()

    status, out, err = run_tool(TOOL, json_file, images, "--no-images")
    assert status == 1
    assert "errors: 8" in out
    assert "  file-missing: 1; --fix: drop the image and its annotations" in out
    assert "  bbox: 6; --fix: set bbox" in out
    assert "    … and 3 more" in out
    assert "  unknown-category: 1; --fix: drop the annotation" in out
    assert "Traceback" not in err
    assert {p.name for p in tmp_path.iterdir()} == {"train.json", "images"}

    output = tmp_path / "out"
    status, out, err = run_tool(TOOL, json_file, images, "--fix", "--output", output)
    assert status == 0, err
    assert f"wrote {tmp_path / 'train_fixed.json'}: " in out
    assert ", 0 errors left" in out
    assert (output / "defects.txt").read_text().count("not [left, top, width, height]") == 6
    assert json_file.read_bytes() == before

    status, out, _ = run_tool(TOOL, tmp_path / "train_fixed.json", images)
    assert status == 0
    assert "errors: 0\nwarnings: 0" in out


def test_registered_names_and_those_of_a_config(run_tool):
    status, out, err = run_tool(TOOL, "synthetic_worms_val", "--no-images")
    assert status == 0, err
    assert "val.json, images in " in out
    assert "for the detector" not in out
    status, out, err = run_tool(TOOL, "--config-file", CONFIG)
    assert status == 0, err
    assert out.index("train.json, images in ") < out.index("val.json, images in ")
    assert out.count("for the detector") == 2
    assert "does not start yet" not in out
    status, out, err = run_tool(
        TOOL, "--config-file", CONFIG, "--no-images", "--opts", "MODEL.WEIGHTS", "gone.pth"
    )
    assert status == 0, err
    assert "with this config training does not start yet: MODEL.WEIGHTS is gone.pth" in out


@pytest.mark.parametrize(
    ("folders", "reports"),
    [
        (("train", "valid"), ["train__annotations.coco", "valid__annotations.coco"]),
        (("a/set", "b/set"), ["set__annotations.coco", "set__annotations.coco_2"]),
    ],
)
def test_datasets_of_the_same_file_name_have_reports_of_their_own(
    run_tool, worms, tmp_path, folders, reports
):
    """As Roboflow writes them."""
    _, content, images = worms
    overrides = []
    for split, folder, number in zip(("TRAIN", "TEST"), folders, (6, 4), strict=True):
        json_file = tmp_path / folder / "_annotations.coco.json"
        json_file.parent.mkdir(parents=True)
        json_file.write_text(json.dumps({**content, "images": content["images"][:number]}))
        overrides += [f"OWN_DATA.{split}_JSON", json_file, f"OWN_DATA.{split}_IMAGES", images]
    output = tmp_path / "out"
    arguments = ("--config-file", "configs/own_semiconv.yaml", "--output", output)
    run_tool(TOOL, *arguments, "--opts", *overrides)
    assert sorted(path.name for path in output.iterdir()) == reports
    counts = [json.loads((output / r / "statistics.json").read_text())["images"] for r in reports]
    assert counts == [6, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.json", "images"), "error: cannot read gone.json"),
        (("README.md", "docs"), "error: README.md is not JSON"),
        (("bbbc010_train",), "semiconv prepare bbbc010"),
        (("no_such_name",), "error: no dataset is registered as no_such_name"),
        (("README.md",), "registered as README.md: give its folder of images, too"),
        (("--config-file", "gone.yaml"), "error: There is no config file gone.yaml"),
        (
            ("--config-file", CONFIG, "--opts", "INPUT.MIN_SIZE", "1"),
            "INPUT.MIN_SIZE",
        ),
        (
            ("--config-file", "configs/own_semiconv.yaml"),
            "error: the config names no dataset: give OWN_DATA.TRAIN_JSON",
        ),
        ((), "give JSON IMAGES, a registered dataset or --config-file"),
        (("a.json", "images", "--pictures", 3), "--pictures needs --output FOLDER"),
    ],
)
def test_what_cannot_be_checked_is_said_in_one_line(run_tool, arguments, message):
    status, _, err = run_tool(TOOL, *arguments)
    assert status in (1, 2)
    assert message in err
    assert "Traceback" not in err


def test_a_file_of_somebody_else_is_not_replaced(run_tool, worms, tmp_path):
    json_file, _, images = worms
    other = tmp_path / "train_fixed.json"
    shutil.copyfile(json_file, other)
    other.write_text(other.read_text().replace("semiconv_d2", "somebody"))
    status, out, err = run_tool(TOOL, json_file, images, "--fix")
    assert (status, out) == (1, "")
    assert f"{other} would be overwritten, but this package did not write it" in err


def test_pictures_name_a_damaged_file(run_tool, worms, tmp_path):
    json_file, content, images = worms
    for image in content["images"]:
        path = images / image["file_name"]
        path.write_bytes(path.read_bytes()[:-40])
    status, _, err = run_tool(
        TOOL, json_file, images, "--no-images", "--pictures", 1, "--output", tmp_path / "out"
    )
    assert status == 1
    assert "cannot read the image" in err
    assert content["images"][0]["file_name"].rstrip("0123456789.png") in err


def test_where_nothing_would_be_left_nothing_is_written(run_tool, worms, tmp_path):
    json_file, content, images = worms
    for annotation in content["annotations"]:
        annotation["segmentation"] = []
    json_file.write_text(json.dumps(content))
    status, out, err = run_tool(TOOL, json_file, images, "--fix")
    assert status == 1
    assert "nothing can be mended: no annotations would be left" in out
    assert "Traceback" not in err
    assert {p.name for p in tmp_path.iterdir()} == {"train.json", "images"}
