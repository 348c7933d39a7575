from __future__ import annotations

import json
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from semiconv_d2.data.formats.own import (
    OwnData,
    Shape,
    Source,
    by_split,
    check_named_size,
    crop_mask,
    ellipse_mask,
    labels_data,
    masks_data,
    paint_shapes,
    polygon_mask,
    prepare_own,
    read_8bit,
)
from semiconv_d2.errors import DatasetError

LABELS = {
    "one": np.pad([[1, 1, 0, 9, 9], [1, 0, 9, 9, 9]], 3),
    "two": np.pad([[300, 300], [0, 2]], ((1, 5), (4, 2))),
    "three": np.zeros((5, 9), dtype=int),
    "four": np.pad([[4]], 3),
    "five": np.pad([[5, 6]], 2),
}


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images, with label images in one folder and mask files in another; the worms of "one"
    overlap in the mask files."""
    root = tmp_path / "mine"
    (root / "masks").mkdir(parents=True)
    for name, labels in LABELS.items():
        save(root / "images" / f"{name}.jpg", np.full((*labels.shape, 3), 100, dtype=np.uint8))
        save(root / "labels" / f"{name}.png", labels.astype(np.uint16))
        values = sorted({*labels.ravel().tolist()} - {0})
        if not values:
            (root / "masks" / name).mkdir()
        for number, value in enumerate(values):
            save(root / "masks" / f"{name}_{number}.png", (labels == value).astype(np.uint8) * 255)
    overlapping = np.isin(LABELS["one"], (1, 9))
    save(root / "masks" / "one_1.png", overlapping)
    return root


def labelled(root: Path, **options: object) -> OwnData:
    return labels_data(root / "images", root / "labels", **options)


def masked(root: Path, **options: object) -> OwnData:
    return masks_data(root / "images", root / "masks", **options)


def test_label_images_come_back_as_masks(root, tmp_path, read_masks):
    summary = prepare_own(labelled(root, category="worm"), tmp_path / "out", val_fraction=0)
    assert (summary.images, summary.instances) == ({"train": 5}, {"train": 7})
    read = read_masks(tmp_path / "out" / "train.json")
    assert sorted(read) == sorted(f"{name}.jpg" for name in LABELS)
    for file_name, instances in read.items():
        labels = LABELS[Path(file_name).stem]
        values = sorted({*labels.ravel().tolist()} - {0})
        assert [category for _, category in instances] == ["worm"] * len(values)
        for value, (mask, _) in zip(values, instances, strict=True):
            np.testing.assert_array_equal(mask, labels == value)
        assert (tmp_path / "out" / "images" / file_name).is_file()
    assert (tmp_path / "out" / "images").is_symlink()


def test_background_and_void_are_of_ones_choice(root, tmp_path, read_masks):
    prepare_own(labelled(root, background=1, void=0), tmp_path / "out", val_fraction=0)
    (instance,) = read_masks(tmp_path / "out" / "train.json")["one.jpg"]
    np.testing.assert_array_equal(instance[0], LABELS["one"] == 9)
    content = json.loads((tmp_path / "out" / "train.json").read_text())
    (void,) = [image["void"] for image in content["images"] if image["file_name"] == "one.jpg"]
    np.testing.assert_array_equal(mask_util.decode(void) > 0, LABELS["one"] == 0)


def test_images_and_labels_in_one_folder(root, tmp_path, read_masks):
    for path in (root / "labels").iterdir():
        path.rename(root / "images" / f"{path.stem}_cp_masks.png")
    data = labels_data(root / "images", root / "images", suffix="_cp_masks")
    prepare_own(data, tmp_path / "out", val_fraction=0)
    assert len(read_masks(tmp_path / "out" / "train.json")) == 5
    with pytest.raises(DatasetError, match=r"the same folder .*: give --label-suffix"):
        labels_data(root / "images", root / "images")


def test_mask_files_may_overlap(root, tmp_path, read_masks):
    summary = prepare_own(masked(root), tmp_path / "out", val_fraction=0)
    assert summary.instances == {"train": 7}
    read = read_masks(tmp_path / "out" / "train.json")
    np.testing.assert_array_equal(read["one.jpg"][0][0], LABELS["one"] == 1)
    np.testing.assert_array_equal(read["one.jpg"][1][0], LABELS["one"] > 0)
    assert read["three.jpg"] == []


def test_folders_of_masks_are_categories(root, tmp_path, read_masks):
    (root / "masks" / "young").mkdir()
    (root / "masks" / "one_1.png").rename(root / "masks" / "young" / "one_1.png")
    (root / "masks" / "old").mkdir()
    for path in [*(root / "masks").glob("*_*.png"), root / "masks" / "three"]:
        path.rename(root / "masks" / "old" / path.name)
    prepare_own(masked(root, category_folders=True), tmp_path / "out", val_fraction=0)
    read = read_masks(tmp_path / "out" / "train.json")
    assert [name for _, name in read["one.jpg"]] == ["old", "young"]
    assert [name for _, name in read["five.jpg"]] == ["old", "old"]
    content = json.loads((tmp_path / "out" / "train.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "old"}, {"id": 2, "name": "young"}]


def test_some_images_are_held_out(root, tmp_path):
    def split(folder: str, **options: object) -> dict[str, set[str]]:
        prepare_own(labelled(root), tmp_path / folder, **options)
        return {
            path.stem: {image["file_name"] for image in json.loads(path.read_text())["images"]}
            for path in (tmp_path / folder).glob("*.json")
        }

    default = split("a")
    assert (len(default["train"]), len(default["val"])) == (4, 1)
    assert split("b") == split("b") == default
    others = [split("c", val_fraction=0.4, seed=seed) for seed in range(5)]
    assert all(
        len(other["val"]) == 2 and len(other["train"] | other["val"]) == 5 for other in others
    )
    assert len({frozenset(other["val"]) for other in others}) > 1
    assert len(split("d", val_fraction=0.01)["val"]) == 1
    assert len(split("d", val_fraction=0.99)["train"]) == 1
    assert list(split("d", val_fraction=0)) == ["train"]


def test_one_image_is_for_training(root, tmp_path):
    data = labelled(root)
    one = data._replace(splits={"train": data.splits["train"][:1]})
    summary = prepare_own(one, tmp_path / "out")
    assert summary.images == {"train": 1}
    assert "none is held out" in str(summary)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 1}, r"share of images for val.json must be in \[0, 1\): 1"),
        ({"val_fraction": -0.1}, "must be in"),
        ({"val_fraction": float("nan")}, "must be in"),
        ({"seed": -1}, "the seed must not be negative: -1"),
    ],
)
def test_splits_that_cannot_be(root, tmp_path, options, message):
    with pytest.raises(DatasetError, match=message):
        prepare_own(labelled(root), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_data_with_splits_are_not_split_again(root, tmp_path):
    sources = labelled(root).splits["train"]
    data = OwnData(["cell"], {"train": sources[:3], "test": sources[3:]})
    with pytest.raises(DatasetError, match="splits train, test of their own: leave out --val"):
        prepare_own(data, tmp_path / "out", val_fraction=0.2)
    assert prepare_own(data, tmp_path / "out").images == {"train": 3, "test": 2}


def test_subsets_become_splits_where_all_are_known():
    def sorted_out(*names: str | None) -> dict[str, list[int]]:
        sources = [Source(Path(str(i)), list) for i in range(len(names))]
        splits = by_split(list(zip(names, sources, strict=True)))
        return {split: [int(str(s.image)) for s in found] for split, found in splits.items()}

    assert sorted_out("Validation", "Train", "test") == {"train": [1], "val": [0], "test": [2]}
    assert sorted_out("train2017", "val2017") == {"train": [0], "val": [1]}
    assert sorted_out("train", "default") == {"train": [0, 1]}
    assert sorted_out("val", None) == sorted_out("val", "test") == {"train": [0, 1]}


def test_16_bit_images_become_8_bit(root, tmp_path, read_masks):
    labels = LABELS["one"]
    grey = 1000 + 40 * np.arange(labels.size).reshape(labels.shape)
    (root / "images" / "one.jpg").unlink()
    save(root / "images" / "one.tif", grey.astype(np.uint16))
    summary = prepare_own(labelled(root), tmp_path / "out", val_fraction=0)
    assert "1 image of more than 8 bits written as 8-bit PNG" in str(summary)
    images = tmp_path / "out" / "images"
    assert not images.is_symlink()
    assert {path.name for path in images.iterdir()} == {
        *(f"{name}.jpg" for name in LABELS if name != "one"),
        "one.png",
    }
    with Image.open(images / "one.png") as image:
        assert image.mode == "L"
        pixels = np.asarray(image).astype(int)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.diff(pixels.ravel()) >= 0).all()
    assert len(read_masks(tmp_path / "out" / "train.json")["one.png"]) == 2


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_stretching_cuts_off_the_extremes(tmp_path, kind):
    pixels = np.tile(np.arange(100, 600), (4, 1)).astype(kind)
    pixels[0, 0], pixels[-1, -1] = 0, 60000
    save(tmp_path / "x.tif", pixels)
    read = read_8bit(tmp_path / "x.tif")
    assert read.dtype == np.uint8
    assert read[1, 250] == pytest.approx(127.5, abs=2)
    assert (read[0, 0], read[-1, -1]) == (0, 255)
    save(tmp_path / "flat.tif", np.full((3, 4), 7, kind))
    assert (read_8bit(tmp_path / "flat.tif") == 0).all()


def test_fractions_that_are_no_numbers_are_black(tmp_path):
    pixels = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    pixels[0, -1] = np.nan
    save(tmp_path / "x.tif", pixels)
    assert read_8bit(tmp_path / "x.tif")[0, -1] == 0
    save(tmp_path / "none.tif", np.full((3, 4), np.nan, np.float32))
    assert (read_8bit(tmp_path / "none.tif") == 0).all()


def test_images_are_taken_as_they_are_shown(root, tmp_path, read_masks):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    height, width = LABELS["one"].shape
    save(root / "images" / "one.jpg", np.zeros((width, height, 3), dtype=np.uint8), exif=exif)
    summary = prepare_own(labelled(root), tmp_path / "out", val_fraction=0)
    assert read_masks(tmp_path / "out" / "train.json")["one.jpg"][0][0].shape == (height, width)
    assert "1 image turned by EXIF orientation: see that the masks" in str(summary)


def test_a_size_that_does_not_fit_a_turned_image_names_its_orientation(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((*LABELS["one"].shape, 3), dtype=np.uint8)
    save(root / "images" / "one.jpg", pixels, exif=exif)
    message = "as its EXIF orientation 6 turns it: if .*, save it without that orientation"
    with pytest.raises(DatasetError, match=message):
        prepare_own(labelled(root), tmp_path / "out")
    with pytest.raises(DatasetError, match=message):
        check_named_size("x", LABELS["one"].shape, root / "images" / "one.jpg", pixels.shape[1::-1])


def test_images_must_not_become_one(root, tmp_path):
    save(root / "deep" / "one.tif", np.arange(88, dtype=np.uint16).reshape(8, 11))
    save(root / "deep" / "one.png", np.zeros((8, 11), dtype=np.uint8))
    sources = [
        Source(root / "deep" / name, lambda size: [(np.ones(size, bool), 1)])
        for name in ("one.png", "one.tif")
    ]
    with pytest.raises(DatasetError, match=r"one.png and .*one.tif would both become one.png: re"):
        prepare_own(OwnData(["cell"], {"train": sources}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_run_replaces_the_first(root, tmp_path):
    output = tmp_path / "out"
    prepare_own(labelled(root), output)
    assert {path.name for path in output.iterdir()} == {"train.json", "val.json", "images"}
    prepare_own(masked(root), output, val_fraction=0)
    assert {path.name for path in output.iterdir()} == {"train.json", "images"}


def test_without_links_the_images_in_use_are_copied(root, tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for name in ("one", "two"):
        (root / "images" / "deep").mkdir(exist_ok=True)
        shutil.copy(root / "images" / f"{name}.jpg", root / "images" / "deep" / f"{name}_.jpg")
    flat = labelled(root)
    deep = [
        source._replace(image=root / "images" / "deep" / f"{source.image.stem}_.jpg")
        for source in flat.splits["train"]
        if source.image.stem in ("one", "two")
    ]
    for folder, data in (
        ("flat", flat),
        ("nested", flat._replace(splits={"train": flat.splits["train"], "val": deep})),
    ):
        for _ in range(2):
            prepare_own(data, tmp_path / folder)
            images = tmp_path / folder / "images"
            assert not images.is_symlink()
            for split in ("train", "val"):
                content = json.loads((tmp_path / folder / f"{split}.json").read_text())
                assert all((images / image["file_name"]).is_file() for image in content["images"])


def test_nothing_of_anybody_elses_is_overwritten(root, tmp_path):
    def refuse(output: Path, message: str) -> None:
        before = sorted(path for path in tmp_path.rglob("*"))
        with pytest.raises(DatasetError, match=message):
            prepare_own(labelled(root), output)
        assert sorted(path for path in tmp_path.rglob("*")) == before

    refuse(root, r"mine is no earlier output of this tool: .*; found: images/, labels/, masks/$")
    refuse(root / "images" / "one.jpg", "one.jpg is a file: give another --output")
    shutil.rmtree(root / "masks")
    shutil.move(root / "labels", tmp_path / "labels")
    data = labels_data(root / "images", tmp_path / "labels")
    with pytest.raises(DatasetError, match="no earlier output"):
        prepare_own(data, root)
    (root / "train.json").write_text('{"info": {}}')
    with pytest.raises(DatasetError, match=r"train\.json would be overwritten, which this package"):
        prepare_own(data, root)
    (root / "train.json").write_text('{"info": {"written_by": "semiconv_d2"}}')
    with pytest.raises(DatasetError, match=r"lies in the output folder .*mine, whose images are"):
        prepare_own(data, root)
    assert len(list((root / "images").iterdir())) == 5


def test_images_of_an_earlier_output_are_not_lost(root, tmp_path):
    prepare_own(labelled(root), tmp_path / "out")
    again = labels_data(tmp_path / "out" / "images", root / "labels")
    with pytest.raises(DatasetError, match="lies in the output folder"):
        prepare_own(again, tmp_path / "out")
    assert (tmp_path / "out" / "images" / "one.jpg").is_file()


def replace(path: str, pixels: np.ndarray) -> Callable[[Path], None]:
    return lambda root: save(root / path, pixels)


def overwrite(path: str, content: bytes = b"no image") -> Callable[[Path], object]:
    return lambda root: (root / path).write_bytes(content)


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def cut(path: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-40])


ONE, SIZE = LABELS["one"], LABELS["one"].shape


@pytest.mark.parametrize(
    ("read", "spoil", "message"),
    [
        (labelled, lambda r: shutil.rmtree(r / "images"), "there is no folder .*images; found: n"),
        (labelled, lambda r: shutil.rmtree(r / "labels"), "there is no folder .*labels; found: n"),
        (masked, lambda r: shutil.rmtree(r / "masks"), "there is no folder .*masks; found: nothi"),
        (labelled, remove("labels/two.png"), r"1 image without instances: two.jpg; expected .*lab"),
        (masked, remove("masks/four_0.png"), "1 image without instances: four.jpg; expected .*_1"),
        (labelled, remove("images/two.jpg"), "labels without an image: .*labels/two.png; name"),
        (masked, remove("images/four.jpg"), "masks without an image: .*masks/four_0.png; begin"),
        (labelled, overwrite("images/two.jpg"), "cannot read the image .*images/two.jpg"),
        (labelled, cut("images/two.jpg"), "cannot read the image .*images/two.jpg"),
        (labelled, overwrite("labels/two.png", b""), "cannot read the image .*labels/two.png"),
        (labelled, cut("labels/two.png"), "cannot read the image .*labels/two.png"),
        (masked, cut("masks/two_0.png"), "cannot read the image .*masks/two_0.png"),
        (
            labelled,
            replace("labels/one.png", ONE[1:].astype(np.uint8)),
            r"labels/one.png is \(7, 11\) pixels \(height, width\), its image .*one.jpg is \(8, 11",
        ),
        (
            masked,
            replace("masks/one_0.png", ONE.T.astype(bool)),
            r"masks/one_0.png is \(11, 8\) pixels .*one.jpg is \(8, 11\)",
        ),
        (labelled, replace("labels/one.png", np.zeros((*SIZE, 3), np.uint8)), "mode RGB, expected"),
        (
            labelled,
            replace("labels/one.png", (ONE > 0).astype(np.uint8) * 255),
            "one.png has the one label 255, as the mask of all instances at once",
        ),
        (masked, replace("masks/one_0.png", ONE.astype(np.uint8)), "has the values 0, 1, 9; the m"),
        (masked, replace("masks/one_0.png", np.zeros(SIZE, bool)), "one_0.png is an empty mask"),
        (masked, replace("masks/one.png", ONE > 0), "masks/one.png is named as its image"),
        (masked, replace("masks/six/1.png", ONE > 0), "masks without an image: .*masks/six;"),
        (labelled, replace("images/one.png", np.zeros((*SIZE, 3), np.uint8)), "one.jpg and .*one."),
        (
            labelled,
            lambda r: [save(r / f"labels/{n}.png", np.zeros((2, 2), np.uint8)) for n in LABELS],
            "5 problems: .*five.png is .*; .*four.png is .*; .*two.png is ",
        ),
        (
            labelled,
            lambda r: [
                save(r / f"labels/{n}.png", np.zeros(v.shape, np.uint8)) for n, v in LABELS.items()
            ],
            "no image for training has an instance with a mask",
        ),
        (
            lambda r: masked(r, category_folders=True),
            lambda r: (r / "masks" / "three").rmdir(),
            "masks has no folder for each category; found: five_0.png",
        ),
    ],
)
def test_an_error_names_the_file_and_nothing_is_written(root, tmp_path, read, spoil, message):
    spoil(root)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_own(read(root), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_failed_run_leaves_the_earlier_output(root, tmp_path):
    prepare_own(labelled(root), tmp_path / "out")
    before = (tmp_path / "out" / "train.json").read_bytes()
    cut("labels/two.png")(root)
    with pytest.raises(DatasetError):
        prepare_own(labelled(root), tmp_path / "out")
    assert (tmp_path / "out" / "train.json").read_bytes() == before


def test_single_instances_everywhere_are_remarked_on(root, tmp_path):
    for name, labels in LABELS.items():
        save(root / "labels" / f"{name}.png", (labels > 0).astype(np.uint8))
    summary = prepare_own(labelled(root), tmp_path / "out")
    assert "no image has more than one instance" in str(summary)


def test_polygons_cover_their_inside():
    square = np.array([[2, 1], [7, 1], [7, 5], [2, 5.0]])
    mask = polygon_mask(square, (8, 9))
    assert mask.sum() == 20
    assert mask[1:5, 2:7].all()
    outside = polygon_mask(square - 4, (8, 9))
    np.testing.assert_array_equal(np.argwhere(outside), [[0, 0], [0, 1], [0, 2]])
    assert not polygon_mask(square + 20, (8, 9)).any()


def test_ellipses_cover_their_inside():
    mask = ellipse_mask((10, 8), (6, 3), 0, (20, 24))
    assert mask.sum() == pytest.approx(np.pi * 18, abs=3)
    assert mask[8, 4]
    assert not mask[4, 10]
    turned = ellipse_mask((10, 8), (6, 3), 90, (20, 24))
    assert turned[13, 9]
    assert not turned[8, 4]
    slanted = ellipse_mask((10, 10), (8, 2), 45, (20, 20))
    assert slanted[14, 14]  # down to the right
    assert not slanted[5, 14]
    assert not ellipse_mask((10, 10), (0, 2), 0, (20, 20)).any()


def test_crops_are_cut_off_at_the_borders():
    crop = np.array([[True, False], [True, True]])
    assert np.argwhere(crop_mask(crop, 2, 1, (3, 4))).tolist() == [[1, 2], [2, 2], [2, 3]]
    assert np.argwhere(crop_mask(crop, -1, 1, (3, 4))).tolist() == [[2, 0]]
    assert np.argwhere(crop_mask(crop, 3, 2, (3, 4))).tolist() == [[2, 3]]


def test_shapes_of_a_group_are_one_instance():
    def dot(category: int, group: object, column: int) -> Shape:
        return Shape(
            category, group, lambda size: crop_mask(np.ones((1, 1), bool), column, 0, size)
        )

    shapes = [dot(1, None, 0), dot(2, 7, 1), dot(1, None, 2), dot(2, 7, 3), dot(1, 7, 4)]
    painted = [(np.flatnonzero(mask).tolist(), kind) for mask, kind in paint_shapes(shapes, (1, 6))]
    assert painted == [([0], 1), ([1, 3], 2), ([2], 1), ([4], 1)]


def test_the_script_says_how_to_train(root, tmp_path, scripts, monkeypatch, capsys):
    output = tmp_path / "my cells"
    arguments = ["labels", root / "images", root / "labels", "--output", output]
    monkeypatch.setattr(sys, "argv", ["prepare_custom.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(scripts / "prepare_custom.py"), run_name="__main__")
    first, *_, heading, stage_1, stage_2 = capsys.readouterr().out.splitlines()
    assert first.startswith("wrote 5 images with 7 instances (train 4 with ")
    assert heading == "train with it:"
    for command, config in ((stage_1, "own_mask_rcnn"), (stage_2, "own_semiconv")):
        program, *words = shlex.split(command)
        assert (program, words[0]) == ("python", "tools/train_net.py")
        assert words[1:] == [
            *("--config-file", f"configs/{config}.yaml"),
            *("OWN_DATA.TRAIN_JSON", str(output / "train.json")),
            *("OWN_DATA.TRAIN_IMAGES", str(output / "images")),
            *("OWN_DATA.TEST_JSON", str(output / "val.json")),
            *("OWN_DATA.TEST_IMAGES", str(output / "images")),
        ]


WITHOUT = """
import runpy, sys
for name in ("detectron2", "torch", "datumaro"):
    sys.modules[name] = None  # importing it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_script_needs_neither_detectron2_nor_datumaro(root, tmp_path, scripts):
    def run(*arguments: object) -> subprocess.CompletedProcess:
        script = str(scripts / "prepare_custom.py")
        return subprocess.run(
            [sys.executable, "-c", WITHOUT, script, *map(str, arguments)],
            capture_output=True,
            text=True,
        )

    output = ("--output", tmp_path / "out", "--val-fraction", 0)
    done = run("masks", root / "images", root / "masks", *output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("wrote 5 images with 7 instances (train 5 with 7)")
    done = run("datumaro", "coco", root, *output)
    assert done.returncode == 1
    assert done.stderr == "error: reading coco needs datumaro: pip install datumaro\n"
    done = run("labels", root / "images", root / "masks", *output)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: labels without an image: ")


def test_real_masks_come_back_bit_for_bit(real_coco_tiny, tmp_path, read_masks):
    """COCO's instances as mask files, and painted one over the other as labels."""
    coco = read_masks(real_coco_tiny / "annotations" / "instances_val2017.json")
    masks, labels = {}, {}
    for name, instances in list(coco.items())[:30]:
        stem = Path(name).stem
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(real_coco_tiny / "val2017" / name, tmp_path / "images")
        masks[name] = [mask for mask, _ in instances]
        with Image.open(tmp_path / "images" / name) as image:
            painted = np.zeros((image.height, image.width), dtype=np.uint16)
        (tmp_path / "masks" / stem).mkdir(parents=True)
        for number, mask in enumerate(masks[name], start=1):
            painted[mask] = number * 100
            save(tmp_path / "masks" / stem / f"{number:03}.png", mask)
        save(tmp_path / "labels" / f"{stem}.tif", painted)
        values = sorted({*painted.ravel().tolist()} - {0})
        labels[name] = [painted == value for value in values]
    for form, read, expected in (("masks", masks_data, masks), ("labels", labels_data, labels)):
        data = read(tmp_path / "images", tmp_path / form)
        prepare_own(data, tmp_path / "out", val_fraction=0)
        found = read_masks(tmp_path / "out" / "train.json")
        assert set(found) == set(expected)
        for name, instances in found.items():
            assert len(instances) == len(expected[name])
            for (mask, _), original in zip(instances, expected[name], strict=True):
                np.testing.assert_array_equal(mask, original)


def test_real_worms_are_mask_files(real_bbbc010, tmp_path, read_masks):
    wells = ("A01", "B07", "E04")
    foregrounds = real_bbbc010 / "BBBC010_v1_foreground"
    worms = real_bbbc010 / "BBBC010_v1_foreground_eachworm"
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for well in wells:
        shutil.copy(foregrounds / f"{well}_binary.png", tmp_path / "images" / f"{well}.png")
        for path in worms.glob(f"{well}_*.png"):
            shutil.copy(path, tmp_path / "masks")
    data = masks_data(tmp_path / "images", tmp_path / "masks", "worm")
    prepare_own(data, tmp_path / "out", val_fraction=0)
    found = read_masks(tmp_path / "out" / "train.json")
    for well in wells:
        files = sorted(worms.glob(f"{well}_*.png"))
        assert len(found[f"{well}.png"]) == len(files) > 8
        for (mask, _), path in zip(found[f"{well}.png"], files, strict=True):
            np.testing.assert_array_equal(mask, np.asarray(Image.open(path)) > 0)
