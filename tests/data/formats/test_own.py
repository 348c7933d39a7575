from __future__ import annotations

import json
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_images import LABELS, labelled, masked, save
from PIL import Image

from semiconv_d2.data.formats.mask_folders import labels_data
from semiconv_d2.data.formats.own import OwnData, ReadInstances, Source, by_split, prepare_own
from semiconv_d2.errors import DatasetError


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
    assert "1 image written with 8 bits, 1 of them scaled from more bits" in str(summary)
    images = tmp_path / "out" / "images"
    assert not images.is_symlink()
    assert {path.name for path in images.iterdir()} == {
        *(f"{name}.jpg" for name in LABELS if name != "one"),
        "one.tif",
    }
    with Image.open(images / "one.tif") as image:
        assert image.mode == "L"
        pixels = np.asarray(image).astype(int)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.diff(pixels.ravel()) >= 0).all()
    assert len(read_masks(tmp_path / "out" / "train.json")["one.tif"]) == 2


def test_images_are_taken_as_they_are_shown(root, tmp_path, read_masks):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    height, width = LABELS["one"].shape
    save(root / "images" / "one.jpg", np.zeros((width, height, 3), dtype=np.uint8), exif=exif)
    summary = prepare_own(labelled(root), tmp_path / "out", val_fraction=0)
    assert read_masks(tmp_path / "out" / "train.json")["one.jpg"][0][0].shape == (height, width)
    assert "1 image turned by EXIF orientation: check that the masks" in str(summary)


def test_images_must_not_become_one(root, tmp_path):
    save(root / "deep" / "one.pgm", np.arange(88, dtype=np.int32).reshape(8, 11))
    save(root / "deep" / "one.png", np.zeros((8, 11), dtype=np.uint8))
    sources = [
        Source(root / "deep" / name, lambda size: ReadInstances([(np.ones(size, bool), 1)]))
        for name in ("one.png", "one.pgm")
    ]
    with pytest.raises(DatasetError, match=r"one.png and .*one.pgm would both become one.png: re"):
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

    refuse(
        root, r"mine is not an earlier output of this tool: .*; found: images/, labels/, masks/$"
    )
    refuse(root / "images" / "one.jpg", "one.jpg is a file: give another --output")
    shutil.rmtree(root / "masks")
    shutil.move(root / "labels", tmp_path / "labels")
    data = labels_data(root / "images", tmp_path / "labels")
    with pytest.raises(DatasetError, match="not an earlier output"):
        prepare_own(data, root)
    (root / "train.json").write_text('{"info": {}}')
    with pytest.raises(DatasetError, match=r"train\.json would be overwritten, but this package"):
        prepare_own(data, root)
    (root / "train.json").write_text('{"info": {"written_by": "semiconv_d2"}}')
    with pytest.raises(DatasetError, match=r"lies in the output folder .*mine, whose images"):
        prepare_own(data, root)
    assert len(list((root / "images").iterdir())) == 5


def test_images_of_an_earlier_output_are_not_lost(root, tmp_path):
    prepare_own(labelled(root), tmp_path / "out")
    again = labels_data(tmp_path / "out" / "images", root / "labels")
    with pytest.raises(DatasetError, match="lies in the output folder"):
        prepare_own(again, tmp_path / "out")
    assert (tmp_path / "out" / "images" / "one.jpg").is_file()


def test_a_failed_run_leaves_the_earlier_output(root, tmp_path):
    prepare_own(labelled(root), tmp_path / "out")
    before = (tmp_path / "out" / "train.json").read_bytes()
    path = root / "labels" / "two.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError):
        prepare_own(labelled(root), tmp_path / "out", strict=True)
    assert (tmp_path / "out" / "train.json").read_bytes() == before


def test_single_instances_everywhere_are_remarked_on(root, tmp_path):
    for name, labels in LABELS.items():
        save(root / "labels" / f"{name}.png", (labels > 0).astype(np.uint8))
    summary = prepare_own(labelled(root), tmp_path / "out")
    assert "no image has more than one instance" in str(summary)


def test_the_script_says_how_to_train(root, tmp_path, scripts, monkeypatch, capsys):
    output = tmp_path / "my cells"
    arguments = ["labels", root / "images", root / "labels", "--output", output]
    monkeypatch.setattr(sys, "argv", ["prepare_custom.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(scripts / "prepare_custom.py"), run_name="__main__")
    first, *_, heading, command = capsys.readouterr().out.splitlines()
    assert first.startswith("wrote 5 images with 7 instances (train 4 with ")
    assert heading.startswith("train a small model with it")
    program, *words = shlex.split(command)
    assert (program, words[0]) == ("semiconv", "train")
    assert words[1:] == [
        *("--config-file", "own_small_semiconv"),
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
    assert line.startswith("error: 7 problems: labels without an image: ")
