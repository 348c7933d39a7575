from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.datasets.bbbc010 import (
    find_worms,
    prepare_bbbc010,
    prepare_bright_field,
    split_wells,
)
from semiconv_d2.errors import DatasetError

FOREGROUND, EACH_WORM = "BBBC010_v1_foreground", "BBBC010_v1_foreground_eachworm"


def test_images_are_aligned_and_masks_come_back_bit_for_bit(bbbc010, tmp_path, read_masks):
    output = tmp_path / "out"
    summary = prepare_bbbc010(bbbc010, output)

    assert summary.images == {"train": 1, "test": 1}
    assert summary.instances == {"train": 2, "test": 2}
    train, test = read_masks(output / "train.json"), read_masks(output / "test.json")
    assert (list(train), list(test)) == (["A02.png"], ["A01.png"])
    for name, worms in (train | test).items():
        well = name.removesuffix(".png")
        for number, (mask, category) in zip(("01", "03"), worms, strict=True):
            source = Image.open(bbbc010 / EACH_WORM / f"{well}_{number}_ground_truth.png")
            np.testing.assert_array_equal(mask, np.asarray(source) > 0)
            assert category == "worm"
        assert (worms[0][0] & worms[1][0]).any()
        image = np.asarray(Image.open(output / "images" / name))
        np.testing.assert_array_equal(image, (worms[0][0] | worms[1][0]) * np.uint8(255))
        assert not image[-1].any()


def test_the_first_row_of_the_foreground_is_dropped(bbbc010, tmp_path):
    path = bbbc010 / FOREGROUND / "A01_binary.png"
    pixels = np.full((12, 16, 4), 255, dtype=np.uint8)
    pixels[0, :, :3] = 0
    Image.fromarray(pixels).save(path)
    prepare_bbbc010(bbbc010, tmp_path)
    image = np.asarray(Image.open(tmp_path / "images" / "A01.png"))
    assert (image[:11] == 255).all()
    assert (image[11] == 0).all()


def _mask(root, name, pixels):
    Image.fromarray(pixels).save(root / EACH_WORM / name)


def _remove_worms(root, well):
    for path in (root / EACH_WORM).glob(f"{well}_*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: shutil.rmtree(root / EACH_WORM),
            f"BBBC010 is not the unpacked download of BBBC010: expected the folders {FOREGROUND}, "
            f"{EACH_WORM}; missing: {EACH_WORM}; found: {FOREGROUND}/, "
            f"BBBC010_v1_images/, test_wells.txt, train_wells.txt$",
        ),
        (lambda root: _remove_worms(root, "A02"), f"well A02 has no .*{EACH_WORM}/A02_NN_ground"),
        (
            lambda root: (root / FOREGROUND / "A02_binary.png").unlink(),
            f"the well of .*A02_01_ground_truth.png has no .*{FOREGROUND}/A02_binary.png",
        ),
        (
            lambda root: _mask(root, "A02_03_ground_truth.png", np.ones((11, 16), np.uint8)),
            r"A02_03_ground_truth.png is \(11, 16\) pixels .* its foreground is \(12, 16\)",
        ),
        (
            lambda root: _mask(root, "A02_03_ground_truth.png", np.zeros((12, 16), np.uint8)),
            "A02.png, instance 2: the mask is empty",
        ),
        (
            lambda root: (root / EACH_WORM / "A02_03_ground_truth.png").write_bytes(b"no image"),
            "cannot read the image .*A02_03_ground_truth.png",
        ),
        (
            lambda root: (root / FOREGROUND / "A02_binary.png").write_bytes(b""),
            "cannot read the image .*A02_binary.png",
        ),
        (lambda root: (root / "test_wells.txt").unlink(), "cannot read .*test_wells.txt"),
        (
            lambda root: (root / "test_wells.txt").write_text("A01\nZ99\n"),
            f"no .*{FOREGROUND}/Z99_binary.png, but a list in .*BBBC010 names it",
        ),
        (
            lambda root: (root / "test_wells.txt").write_text("A01\nA02\n"),
            "well A02 is listed more than once in .*train_wells.txt and .*test_wells.txt",
        ),
        (
            lambda root: [(root / f"{split}_wells.txt").unlink() for split in ("train", "test")],
            f"{FOREGROUND} has 2 of the 100 wells: the first 50 .* none is left for testing",
        ),
    ],
)
def test_an_error_names_the_file_and_no_json_is_left(bbbc010, tmp_path, spoil, message):
    output = tmp_path / "out"
    spoil(bbbc010)
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_bbbc010(bbbc010, output)
    assert "\n" not in str(caught.value)
    assert not list(output.glob("*.json*"))


def test_wells_in_no_list_are_left_out_and_named(bbbc010, tmp_path, read_masks, caplog):
    for folder in (FOREGROUND, EACH_WORM):
        for path in (bbbc010 / folder).glob("A01_*"):
            shutil.copy(path, path.with_name(path.name.replace("A01", "B07")))
    prepare_bbbc010(bbbc010, tmp_path / "out")
    assert list(read_masks(tmp_path / "out" / "train.json")) == ["A02.png"]
    assert "left out: B07" in caplog.text


def test_other_files_in_the_folders_are_passed_over(bbbc010):
    (bbbc010 / FOREGROUND / "._A01_binary.png").write_bytes(b"")
    (bbbc010 / EACH_WORM / "._A01_01_ground_truth.png").write_bytes(b"")
    (bbbc010 / EACH_WORM / "Thumbs.db").write_bytes(b"")
    worms = find_worms(bbbc010)
    assert [path.name for path in worms["A01"]] == [
        "A01_01_ground_truth.png",
        "A01_03_ground_truth.png",
    ]
    assert list(worms) == ["A01", "A02"]


def test_nothing_is_written_through_a_link_of_an_earlier_preparation(bbbc010, tmp_path):
    originals = tmp_path / "originals"
    originals.mkdir()
    output = tmp_path / "out"
    output.mkdir()
    (output / "images").symlink_to(originals)
    prepare_bbbc010(bbbc010, output)
    assert not list(originals.iterdir())
    assert len(list((output / "images").iterdir())) == 2


@pytest.fixture(scope="module")
def prepared(real_bbbc010, tmp_path_factory):
    return prepare_bbbc010(real_bbbc010, tmp_path_factory.mktemp("bbbc010"))


def test_real_worms_come_back_bit_for_bit(real_bbbc010, prepared, read_masks):
    assert prepared.images == {"train": 50, "test": 50}
    assert prepared.instances == {"train": 710, "test": 697}
    differing = []
    for split in ("train", "test"):
        for name, worms in read_masks(prepared.folder / f"{split}.json").items():
            well = name.removesuffix(".png")
            sources = sorted((real_bbbc010 / EACH_WORM).glob(f"{well}_*"))
            for path, (mask, _) in zip(sources, worms, strict=True):
                np.testing.assert_array_equal(mask, np.asarray(Image.open(path)) > 0)
            image = np.asarray(Image.open(prepared.folder / "images" / name))
            union = np.any([mask for mask, _ in worms], axis=0)
            assert (image[union] == 255).all()
            if not np.array_equal(image > 0, union):
                differing.append(well)
    assert differing == ["A09", "B11", "C02", "C05"]


def test_both_rules_split_the_real_wells_alike(real_bbbc010, tmp_path):
    wells = list(find_worms(real_bbbc010))
    assert (real_bbbc010 / "train_wells.txt").exists()
    by_lists = split_wells(real_bbbc010, wells)
    by_order = split_wells(tmp_path, wells)  # a folder without lists
    assert by_lists == by_order
    assert (by_order["train"][-1], by_order["test"][0], len(wells)) == ("C02", "C03", 100)


def test_the_bright_field_has_the_same_worms(bbbc010, tmp_path, read_masks):
    prepare_bbbc010(bbbc010, tmp_path / "binary")
    summary = prepare_bright_field(bbbc010, tmp_path / "bright")
    assert summary.instances == {"train": 2, "test": 2}
    binary, bright = (read_masks(tmp_path / name / "test.json") for name in ("binary", "bright"))
    assert list(bright) == ["1649_B_A01_w2_15AD.tif"]
    for (mask, _), (other, _) in zip(*binary.values(), *bright.values(), strict=True):
        np.testing.assert_array_equal(mask, other)
    assert (tmp_path / "bright" / "images").resolve() == bbbc010 / "BBBC010_v1_images"


def test_wells_without_a_bright_field_are_named(bbbc010, tmp_path, caplog):
    [image] = (bbbc010 / "BBBC010_v1_images").glob("*_A01_w2_*")
    image.rename(image.with_name("1649_B_A09_w2_0.tif"))
    with pytest.raises(DatasetError, match="the split 'test' has no images"):
        prepare_bright_field(bbbc010, tmp_path)
    assert "wells without a bright-field image are left out: A01" in caplog.text
    shutil.copy(image.with_name("1649_B_A09_w2_0.tif"), image.with_name("2_A09_w2_0.tif"))
    with pytest.raises(DatasetError, match="the well A09 has two bright-field images"):
        prepare_bright_field(bbbc010, tmp_path)


def test_real_bright_field(real_bbbc010, tmp_path):
    summary = prepare_bright_field(real_bbbc010, tmp_path)
    assert summary.images == {"train": 50, "test": 47}
