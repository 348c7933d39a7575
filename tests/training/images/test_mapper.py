"""What training and evaluation see of image files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import read_image
from detectron2.utils.file_io import PathManager
from PIL import Image

from semiconv_d2.data.pixels import read_rgb
from semiconv_d2.errors import DatasetError
from semiconv_d2.inference import images
from semiconv_d2.training import Trainer, load_config
from semiconv_d2.training.images.mapper import ImageMapper, as_file

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
SIZES = ["INPUT.MIN_SIZE_TRAIN", "(40,)", "INPUT.MIN_SIZE_TEST", "40"]


def config(*keys):
    return load_config("own_semiconv", [*SIZES, "INPUT.RANDOM_FLIP", "none", *keys])


def entry(path, **keys):
    polygon = [5, 5, 25, 5, 25, 25, 5, 25]
    return {
        "file_name": str(path),
        "height": 40,
        "width": 60,
        "annotations": [
            {"segmentation": [polygon], "bbox": [5, 5, 25, 25], "bbox_mode": 0, "category_id": 0}
        ],
        **keys,
    }


@pytest.mark.parametrize("is_train", [True, False])
def test_images_of_8_bits_come_as_detectron2_s_mapper_brings_them(tmp_path, is_train):
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    cfg = config()
    ours = ImageMapper(cfg, is_train)(entry(tmp_path / "x.png"))
    stock = DatasetMapper(cfg, is_train)(entry(tmp_path / "x.png"))
    assert ours["file_name"] == stock["file_name"]
    assert torch.equal(ours["image"], stock["image"])
    assert ours.keys() == stock.keys()
    if is_train:
        assert torch.equal(ours["instances"].gt_boxes.tensor, stock["instances"].gt_boxes.tensor)


@pytest.mark.parametrize("name", ["colours.png", "colours.tif", "grey.tif"])
def test_training_and_prediction_see_the_same_of_deep_images(tmp_path, name):
    deep = PIXELS.astype(np.uint16) * 13 + 100
    cv2.imwrite(str(tmp_path / name), deep[..., 0] if name == "grey.tif" else deep)
    cfg = config("INPUT.INTENSITY_RANGE", "bounds 0 4000", "INPUT.FORMAT", "RGB")
    mapper = ImageMapper(cfg, is_train=True)
    trained = mapper(entry(tmp_path / name))["image"].permute(1, 2, 0).numpy()
    predicted = images.read_rgb(tmp_path / name, mapper.reading)
    np.testing.assert_array_equal(trained, predicted)
    assert np.ptp(trained) > 200


def test_loaders_of_the_trainer_have_it(monkeypatch):
    for name in ("build_train_loader", "build_detection_test_loader"):
        monkeypatch.setattr(
            f"semiconv_d2.training.trainer.{name}", lambda *args, mapper=None: mapper or args[1]
        )
    cfg = config("INPUT.PAGES", "(1,)")
    for mapper in (Trainer.build_train_loader(cfg), Trainer.build_test_loader(cfg, "some")):
        assert mapper.reading.pages == (1,)


def test_what_is_wrong_with_an_image_names_it(tmp_path):
    mapper = ImageMapper(config(), is_train=True)
    Image.fromarray(PIXELS[:30]).save(tmp_path / "other.png")
    with pytest.raises(DatasetError, match=r"other\.png: Mismatched image shape for image other"):
        mapper(entry(tmp_path / "other.png"))
    Image.fromarray(np.zeros((1, 3000, 3), np.uint8)).save(tmp_path / "strip.png")
    with pytest.raises(DatasetError, match=r"strip\.png: "):
        mapper(entry(tmp_path / "strip.png", height=1, width=3000))
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"broken\.png"):
        mapper(entry(tmp_path / "broken.png"))


def test_pixels_as_a_file():
    with as_file(PIXELS) as name:
        np.testing.assert_array_equal(read_image(name, "RGB"), PIXELS)
    with pytest.raises(KeyError):
        PathManager.open(name, "rb")


def test_an_image_beyond_the_limit_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # it refuses twice as many
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    assert read_rgb(tmp_path / "x.png").shape == PIXELS.shape
    assert "image" in ImageMapper(config(), is_train=True)(entry(tmp_path / "x.png"))
