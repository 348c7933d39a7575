"""Small datasets that are made up here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def scripts() -> Path:
    return REPOSITORY / "datasets"


@pytest.fixture(scope="session")
def read_masks() -> Callable[[Path], dict[str, list[tuple[np.ndarray, str]]]]:
    """Masks and names of categories of each image in a COCO JSON, as pycocotools reads it."""
    from pycocotools.coco import COCO

    def read(path: Path) -> dict[str, list[tuple[np.ndarray, str]]]:
        coco = COCO(str(path))
        return {
            image["file_name"]: [
                (coco.annToMask(instance) > 0, coco.cats[instance["category_id"]]["name"])
                for instance in coco.imgToAnns[image["id"]]
            ]
            for image in coco.imgs.values()
        }

    return read


def save_image(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette((np.arange(768) % 256).tolist())
    image.save(path)


VOC_OBJECTS = {
    # 0 is background, 255 void; 1 is a bird, 2 a person and 3 a tvmonitor.
    "one": np.pad([[1, 1, 255, 2, 2, 2], [1, 1, 255, 2, 2, 2], [0, 255, 255, 3, 3, 3]], 4),
    "two": np.pad([[255, 1, 1], [1, 1, 255]], ((3, 4), (2, 6))),
    "empty": np.zeros((5, 9), dtype=int),
}
VOC_CLASSES = np.zeros(256, dtype=np.uint8)
VOC_CLASSES[[1, 2, 3, 255]] = 3, 15, 20, 255


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A VOCdevkit year with the images "one" and "empty" to train, "two" to validate and one more
    that is in no list."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name, objects in VOC_OBJECTS.items():
        objects = objects.astype(np.uint8)
        photograph = np.full((*objects.shape, 3), 100, dtype=np.uint8)
        save_image(root / "JPEGImages" / f"{name}.jpg", photograph)
        save_image(root / "SegmentationObject" / f"{name}.png", objects, mode="P")
        save_image(root / "SegmentationClass" / f"{name}.png", VOC_CLASSES[objects], mode="P")
    save_image(root / "JPEGImages" / "unused.jpg", photograph)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("one\nempty\n\n")
    (lists / "val.txt").write_text("two \n")
    return root


SBD_OBJECTS = {
    # The instances 1, 2 and 3 are a dog, a person and an aeroplane.
    "one": np.pad([[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 3, 3]], 4),  # as in VOC
    "two": np.pad([[0, 1, 1], [1, 1, 3]], ((3, 4), (2, 6))),  # as in VOC; no pixel is of 2
    "three": np.pad([[1, 1], [2, 2]], 3),
    "four": np.pad([[0, 1, 1, 3]], 2),
}
SBD_CATEGORIES = np.array([[12], [15], [1]], dtype=np.uint8)


@pytest.fixture
def sbd(tmp_path: Path) -> Path:
    """SBD with the images "one", "two" and "three" to train and "four" to validate; the first two
    are those of the fixture `voc` with other instances."""
    sparse, scipy_io = pytest.importorskip("scipy.sparse"), pytest.importorskip("scipy.io")
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    (root / "inst").mkdir(parents=True)
    for name, objects in SBD_OBJECTS.items():
        save_image(root / "img" / f"{name}.jpg", np.full((*objects.shape, 3), 90, dtype=np.uint8))
        boundaries = np.empty((3, 1), dtype=object)
        for number in (1, 2, 3):
            boundaries[number - 1, 0] = sparse.csc_matrix(objects == number, dtype=float)
        struct = {
            "Segmentation": objects.astype(np.uint8),
            "Boundaries": boundaries,
            "Categories": SBD_CATEGORIES,
        }
        scipy_io.savemat(root / "inst" / f"{name}.mat", {"GTinst": struct}, do_compression=True)
    (root / "train.txt").write_text("one\ntwo\nthree\n")
    (root / "val.txt").write_text("four\n")
    return root


@pytest.fixture
def bbbc010(tmp_path: Path) -> Path:
    """The download of two wells with two worms each, and the lists that split them."""
    root = tmp_path / "BBBC010"
    for well in ("A01", "A02"):
        worms = np.zeros((2, 12, 16), dtype=np.uint8)
        worms[0, 2:4, 1:12] = 255
        worms[1, 1:11, 6:8] = 255
        foreground = np.zeros((12, 16, 4), dtype=np.uint8)
        foreground[1:, :, :3] = worms.max(axis=0)[:-1, :, None]  # one row lower, as the original
        foreground[..., 3] = 255
        save_image(root / "BBBC010_v1_foreground" / f"{well}_binary.png", foreground)
        for number, worm in zip(("01", "03"), worms, strict=True):
            save_image(
                root / "BBBC010_v1_foreground_eachworm" / f"{well}_{number}_ground_truth.png", worm
            )
        bright = np.full((12, 16), 900, dtype=np.uint16)
        save_image(root / "BBBC010_v1_images" / f"1649_B_{well}_w2_15AD.tif", bright)
        save_image(root / "BBBC010_v1_images" / f"1649_B_{well}_w1_15AD.tif", bright)
    (root / "train_wells.txt").write_text("A02\n")
    (root / "test_wells.txt").write_text("A01\n")
    return root


@pytest.fixture
def cvppp_a1(tmp_path: Path) -> Path:
    """Three plants with two leaves each, and the lists that split them."""
    root = tmp_path / "A1"
    for number in (1, 2, 4):
        labels = np.zeros((12, 16), dtype=np.uint8)
        labels[2:8, 1:9] = 3
        labels[6:11, 6:14] = number + 4
        image = np.dstack([40 * labels] * 3 + [np.full_like(labels, 255)])
        save_image(root / f"plant00{number}_rgb.png", image)
        save_image(root / f"plant00{number}_label.png", labels, mode="P")
    (root / "train.txt").write_text("plant004\nplant001\n")
    (root / "test.txt").write_text("plant002\n")
    return root


@pytest.fixture
def dsb2018(tmp_path: Path) -> Path:
    """Three samples with two nuclei each, and the lists that split them."""
    root = tmp_path / "stage1_train"
    for name in ("0a", "1b", "2c"):
        masks = np.zeros((2, 10, 14), dtype=np.uint8)
        masks[0, 1:5, 2:7] = masks[1, 4:9, 8:13] = 255
        save_image(root / name / "images" / f"{name}.png", np.dstack([masks.max(axis=0)] * 4))
        for number, mask in enumerate(masks):
            save_image(root / name / "masks" / f"{name}{number}.png", mask)
    (root / "train.txt").write_text("2c\n0a\n")
    (root / "test.txt").write_text("1b\n")
    return root


@pytest.fixture
def catalogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Detectron2's catalogs without any dataset, and an empty folder of all datasets."""
    data = pytest.importorskip("detectron2.data")
    monkeypatch.setattr(data.DatasetCatalog, "data", {})
    monkeypatch.setattr(data.MetadataCatalog, "data", {})
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "all"))
    return tmp_path / "all"
