"""The registered names, as somebody with Detectron2 uses them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import BoxMode, Instances

from semiconv_d2.cli.prepare import COMMANDS as COMMANDS_OF_PREPARE
from semiconv_d2.data.datasets.bbbc010 import prepare_bbbc010
from semiconv_d2.data.datasets.catalog import PREPARED_DATASETS, register_prepared_datasets
from semiconv_d2.data.datasets.dots import DotSettings, prepare_dots
from semiconv_d2.data.datasets.sbd import prepare_union
from semiconv_d2.data.datasets.synthetic_worms import WormSettings, prepare_synthetic_worms
from semiconv_d2.data.datasets.voc import CATEGORIES, prepare_voc
from semiconv_d2.errors import DatasetError

NAMES = {
    "voc_2012_instance_train": "voc_2012/train.json",
    "voc_2012_instance_val": "voc_2012/val.json",
    "voc_2007_instance_train": "voc_2007/train.json",
    "voc_2007_instance_val": "voc_2007/val.json",
    "sbd_instance_train": "sbd/train.json",
    "sbd_instance_val": "sbd/val.json",
    "sbd_voc_2012_instance_train": "sbd_voc_2012/train.json",
    "bbbc010_train": "bbbc010/train.json",
    "bbbc010_test": "bbbc010/test.json",
    "bbbc010_bright_field_train": "bbbc010_bright_field/train.json",
    "bbbc010_bright_field_test": "bbbc010_bright_field/test.json",
    "cvppp_a1_train": "cvppp_a1/train.json",
    "cvppp_a1_test": "cvppp_a1/test.json",
    "dsb2018_train": "dsb2018/train.json",
    "dsb2018_test": "dsb2018/test.json",
    "synthetic_worms_train": "synthetic_worms/train.json",
    "synthetic_worms_val": "synthetic_worms/val.json",
    "dots_train": "dots/train.json",
    "dots_val": "dots/val.json",
}


@pytest.fixture
def root(catalogs: Path) -> Path:
    """Folder of all datasets; the prepared names are registered and no others."""
    register_prepared_datasets()
    return catalogs


def test_importing_the_package_registers_all_names():
    assert set(NAMES) <= set(DatasetCatalog.list())
    root = Path(os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets")))
    for name, path in NAMES.items():
        assert MetadataCatalog.get(name).json_file == str(root / path)


def classes_of(name: str) -> list[str]:
    if name.startswith(("voc", "sbd")):
        return list(CATEGORIES)
    return {"dots": ["dot"], "cvpp": ["leaf"], "dsb2": ["nucleus"]}.get(name[:4], ["worm"])


def test_metadata_is_known_before_loading(root):
    assert set(DatasetCatalog.list()) == set(NAMES)
    for name, path in NAMES.items():
        metadata = MetadataCatalog.get(name)
        assert metadata.json_file == str(root / path)
        assert metadata.image_root == str((root / path).parent / "images")
        assert metadata.evaluator_type == "coco"
        classes = metadata.thing_classes
        assert classes == classes_of(name)
        ids = metadata.thing_dataset_id_to_contiguous_id
        assert ids == {i + 1: i for i in range(len(classes))}


def test_the_folder_of_all_data_sets_is_read_as_detectron2_reads_it(catalogs, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/of mine")
    register_prepared_datasets()
    expected = os.path.expanduser("~/of mine/bbbc010/test.json")
    assert MetadataCatalog.get("bbbc010_test").json_file == expected


def test_without_the_variable_it_is_the_folder_datasets(catalogs, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS")
    register_prepared_datasets()
    assert MetadataCatalog.get("bbbc010_test").json_file == "datasets/bbbc010/test.json"


def test_registering_again_and_names_of_the_user_are_left_alone(catalogs):
    DatasetCatalog.register("bbbc010_train", lambda: ["mine"])
    MetadataCatalog.get("bbbc010_train").thing_classes = ["nematode"]
    for _ in range(2):
        register_prepared_datasets()
    assert DatasetCatalog.get("bbbc010_train") == ["mine"]
    assert MetadataCatalog.get("bbbc010_train").thing_classes == ["nematode"]
    assert set(DatasetCatalog.list()) == set(NAMES)


def mapped_masks(record: dict) -> tuple[np.ndarray, list[int]]:
    """Masks (N, H, W) and classes that a model trains on."""
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.INPUT.MASK_FORMAT = "bitmask"
    mapper = DatasetMapper(cfg, is_train=True, augmentations=[])
    instances = mapper(record)["instances"]
    return instances.gt_masks.tensor.numpy(), instances.gt_classes.tolist()


def test_voc_through_the_catalog_and_the_mapper(root, voc, read_masks):
    prepare_voc(voc)
    records = DatasetCatalog.get("voc_2012_instance_train")

    assert [Path(record["file_name"]).name for record in records] == ["one.jpg", "empty.jpg"]
    masks, classes = mapped_masks(records[0])
    expected = read_masks(root / "voc_2012" / "train.json")["one.jpg"]
    np.testing.assert_array_equal(masks, [mask for mask, _ in expected])
    assert [CATEGORIES[c] for c in classes] == ["bird", "person", "tvmonitor"]
    assert records[0]["annotations"][0]["bbox_mode"] == BoxMode.XYWH_ABS
    assert records[1]["annotations"] == []


def test_the_union_through_the_catalog_and_the_mapper(root, sbd, voc, read_masks):
    prepare_union(sbd, voc)
    records = DatasetCatalog.get("sbd_voc_2012_instance_train")

    images = [Path(record["file_name"]).relative_to(root) for record in records]
    assert [str(image) for image in images] == [
        f"sbd_voc_2012/images/{name}.jpg"
        for name in ("sbd/three", "sbd/four", "voc/one", "voc/empty")
    ]
    expected = read_masks(root / "sbd_voc_2012" / "train.json")
    for record, names in (
        (records[0], ["dog", "person"]),
        (records[2], ["bird", "person", "tvmonitor"]),
    ):
        masks, classes = mapped_masks(record)
        file_name = "/".join(Path(record["file_name"]).parts[-2:])
        np.testing.assert_array_equal(masks, [mask for mask, _ in expected[file_name]])
        assert [CATEGORIES[c] for c in classes] == names


def test_dots_through_the_catalog_and_the_mapper(root):
    settings = DotSettings(rows=(2, 2), columns=(3, 3))
    prepare_dots(settings=settings, train_images=1, val_images=1)
    (record,) = DatasetCatalog.get("dots_val")
    masks, classes = mapped_masks(record)
    assert masks.shape == (6, *settings.image_size)
    assert classes == [0] * 6


def test_bbbc010_through_the_catalog_and_the_mapper(root, bbbc010, read_masks):
    prepare_bbbc010(bbbc010)
    (record,) = DatasetCatalog.get("bbbc010_test")
    masks, classes = mapped_masks(record)
    expected = read_masks(root / "bbbc010" / "test.json")["A01.png"]
    np.testing.assert_array_equal(masks, [mask for mask, _ in expected])
    assert (masks[0] & masks[1]).any()
    assert classes == [0, 0]


def test_real_worms_through_the_catalog_and_the_mapper(root, real_bbbc010):
    prepare_bbbc010(real_bbbc010)
    assert len(DatasetCatalog.get("bbbc010_train")) == 50
    records = DatasetCatalog.get("bbbc010_test")
    assert sum(len(record["annotations"]) for record in records) == 697
    masks, _ = mapped_masks(records[0])
    assert masks.shape == (len(records[0]["annotations"]), 520, 696)


def test_the_true_masks_as_predictions_score_full_marks(root, tmp_path):
    prepare_synthetic_worms(settings=WormSettings(worms=(3, 4)), train_images=1, val_images=3)
    records = DatasetCatalog.get("synthetic_worms_val")
    evaluator = COCOEvaluator("synthetic_worms_val", ("segm",), False, str(tmp_path))
    evaluator.reset()
    for record in records:
        masks, _ = mapped_masks(record)
        predicted = Instances((record["height"], record["width"]))
        predicted.pred_boxes = _boxes(record)
        predicted.pred_masks = _tensor(masks)
        predicted.scores = _tensor(np.ones(len(masks), dtype=np.float32))
        predicted.pred_classes = _tensor(np.zeros(len(masks), dtype=np.int64))
        evaluator.process([record], [{"instances": predicted}])
    assert evaluator.evaluate()["segm"]["AP"] == pytest.approx(100)


def _tensor(values: np.ndarray):
    import torch

    return torch.from_numpy(values)


def _boxes(record: dict):
    from detectron2.structures import Boxes

    return Boxes(
        [
            BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS)
            for a in record["annotations"]
        ]
    )


COMMANDS = {
    "voc_2012": "semiconv prepare voc PATH/TO/VOCdevkit/VOC2012",
    "voc_2007": "semiconv prepare voc PATH/TO/VOCdevkit/VOC2007",
    "sbd": "semiconv prepare sbd PATH/TO/benchmark_RELEASE/dataset",
    "sbd_voc_2012": "semiconv prepare sbd PATH/TO/benchmark_RELEASE/dataset "
    "--voc PATH/TO/VOCdevkit/VOC2012",
    "bbbc010": "semiconv prepare bbbc010 PATH/TO/BBBC010",
    "bbbc010_bright_field": "semiconv prepare bbbc010 PATH/TO/BBBC010 --bright-field",
    "cvppp_a1": "semiconv prepare cvppp_a1 PATH/TO/A1",
    "dsb2018": "semiconv prepare dsb2018 PATH/TO/stage1_train",
    "synthetic_worms": "semiconv prepare synthetic_worms",
    "dots": "semiconv prepare dots",
}


@pytest.mark.parametrize("name", NAMES)
def test_an_unprepared_data_set_names_folder_and_command(root, name):
    folder, file_name = NAMES[name].split("/")
    with pytest.raises(DatasetError) as caught:
        DatasetCatalog.get(name)
    message = str(caught.value)
    assert f"'{name}' is not prepared: there is no {file_name}. " in message
    assert f"Expected {file_name} and images/ in {root / folder}; " in message
    assert "found: nothing, there is no such folder. " in message
    assert f"Prepare it with: {COMMANDS[folder]} (" in message


def _truncate(folder: Path) -> None:
    path = folder / "test.json"
    path.write_bytes(path.read_bytes()[:-20])


def _other_categories(folder: Path) -> None:
    content = json.loads((folder / "test.json").read_text())
    content["categories"][0]["name"] = "snake"
    (folder / "test.json").write_text(json.dumps(content))


def _dangling_link(folder: Path) -> None:
    (folder / "images").rename(folder / "gone")
    (folder / "images").symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "test.json").unlink(),
            r"there is no test.json\. .* found: images/, train.json\. ",
        ),
        (
            lambda folder: (folder / "images").rename(folder / "pictures"),
            r"there is no folder images\. .* found: pictures/, test.json, train.json\. ",
        ),
        (
            _dangling_link,
            r"there is no folder images\. .* images \(a link to elsewhere, which is not there\)",
        ),
        (_truncate, r"test.json is damaged \(JSONDecodeError: "),
        (lambda folder: (folder / "test.json").write_text("[]"), r"test.json is damaged \("),
        (lambda folder: (folder / "test.json").write_text("{}"), r"test.json is damaged \("),
        (lambda folder: (folder / "test.json").write_bytes(b"\xff"), r"test.json is damaged \("),
        (_other_categories, r"test.json is damaged \(.*snake"),
        (
            lambda folder: (folder / "images" / "A01.png").unlink(),
            r"the image .*bbbc010/images/A01.png is missing\. ",
        ),
    ],
)
def test_a_damaged_data_set_names_folder_and_command(root, bbbc010, spoil, message):
    prepare_bbbc010(bbbc010)
    spoil(root / "bbbc010")
    with pytest.raises(DatasetError, match=message) as caught:
        DatasetCatalog.get("bbbc010_test")
    assert f"in {root / 'bbbc010'}; found: " in str(caught.value)
    assert COMMANDS["bbbc010"] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_page_has_every_name_file_and_command(scripts):
    page = scripts.parent / "docs" / "how_to" / "datasets.md"
    readme = page.read_text(encoding="utf-8")
    assert {dataset.name for dataset in PREPARED_DATASETS} == set(NAMES)
    for dataset in PREPARED_DATASETS:
        assert f"| `{dataset.name}` | `{NAMES[dataset.name]}`, " in readme
        assert f"`{dataset.command}`" in readme
        semiconv, prepare, name = dataset.command.split()[:3]
        assert (semiconv, prepare) == ("semiconv", "prepare")
        assert name in COMMANDS_OF_PREPARE
        assert (scripts / f"prepare_{name}.py").is_file()
