"""Data of one's own: from the files that people have to a trained model, without Python."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

import semiconv_d2
from semiconv_d2.data import register
from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms
from semiconv_d2.errors import ConfigError, DatasetError
from semiconv_d2.training import (
    Start,
    Trainer,
    load_checked_config,
    load_config,
    register_own_data,
)
from semiconv_d2.training.data_fit import adapt_to_data

CONFIG = "configs/own_semiconv.yaml"
SMALL = (
    "MODEL.WEIGHTS", "", "MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.RESNETS.NORM", "BN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS", "16", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32",
    "MODEL.RESNETS.WIDTH_PER_GROUP", "8", "MODEL.FPN.OUT_CHANNELS", "32",
    "MODEL.ROI_BOX_HEAD.FC_DIM", "32", "MODEL.ROI_MASK_HEAD.CONV_DIM", "32",
    "MODEL.SEMICONV.HIDDEN_DIM", "16", "SOLVER.MAX_ITER", "3", "DATALOADER.NUM_WORKERS", "0",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _registered_here_alone():
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def worms(tmp_path_factory) -> Path:
    """A prepared folder of worms: run-length encoded masks of one category."""
    folder = tmp_path_factory.mktemp("own") / "worms"
    prepare_synthetic_worms(folder, train_images=2, val_images=2)
    return folder


def own(folder: Path) -> list[str]:
    return [
        "OWN_DATA.TRAIN_JSON", str(folder / "train.json"),
        "OWN_DATA.TRAIN_IMAGES", str(folder / "images"),
        "OWN_DATA.TEST_JSON", str(folder / "val.json"),
    ]  # fmt: skip


def load(overrides, **arguments):
    config_file = semiconv_d2.get_config_file("own_semiconv")
    overrides = ["MODEL.WEIGHTS", "", "MODEL.BACKBONE.FREEZE_AT", "0", *overrides]
    return load_checked_config(config_file, overrides, Start(**arguments))


# --- Three formats made of photographs


def few_images(real: Path) -> dict[str, tuple[Path, list[dict]]]:
    """The first images of COCO that have instances, and these."""
    content = json.loads((real / "annotations" / "instances_train2017.json").read_text())
    chosen = {}
    for image in content["images"]:
        instances = [
            a
            for a in content["annotations"]
            if a["image_id"] == image["id"] and not a["iscrowd"] and a["area"] > 100
        ]
        if instances and len(chosen) < 6:
            chosen[image["file_name"]] = (image, instances)
    return chosen


def make_coco(real: Path, folder: Path) -> list[str]:
    """COCO's own JSON, all of its 80 categories, polygons."""
    annotations = real / "annotations"
    return [
        "OWN_DATA.TRAIN_JSON", str(annotations / "instances_train2017.json"),
        "OWN_DATA.TRAIN_IMAGES", str(real / "train2017"),
        "OWN_DATA.TEST_JSON", str(annotations / "instances_val2017.json"),
        "OWN_DATA.TEST_IMAGES", str(real / "val2017"),
    ]  # fmt: skip


def make_a_few(real: Path, folder: Path) -> list[str]:
    """The same, tested on five images: without boxes a model looks for 80 classes in each pixel."""
    names = make_coco(real, folder)
    content = json.loads(Path(names[5]).read_text())
    content["images"] = content["images"][:5]
    known = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in known]
    names[5] = str(folder / "val.json")
    Path(names[5]).write_text(json.dumps(content))
    return names


def make_labels(real: Path, folder: Path) -> list[str]:
    """An image of 16-bit labels for each photograph."""
    from pycocotools import mask as mask_util

    for name in ("images", "labels"):
        (folder / name).mkdir()
    for name, (image, instances) in few_images(real).items():
        shutil.copy(real / "train2017" / name, folder / "images")
        labels = np.zeros((image["height"], image["width"]), dtype=np.uint16)
        for number, instance in enumerate(instances, start=1):
            size = image["height"], image["width"]
            rles = mask_util.frPyObjects(instance["segmentation"], *size)
            labels[mask_util.decode(mask_util.merge(rles)) > 0] = 300 + number
        Image.fromarray(labels).save(folder / "labels" / f"{Path(name).stem}.png")
    return ["labels", str(folder / "images"), str(folder / "labels"), "--category", "thing"]


def make_yolo(real: Path, folder: Path) -> list[str]:
    """Ultralytics' layout, with polygons."""
    for name in ("images/train", "images/val", "labels/train", "labels/val"):
        (folder / name).mkdir(parents=True)
    numbers: dict[int, int] = {}
    for index, (name, (image, instances)) in enumerate(few_images(real).items()):
        split = "val" if index < 2 else "train"
        shutil.copy(real / "train2017" / name, folder / "images" / split)
        lines = []
        for instance in instances:
            number = numbers.setdefault(instance["category_id"], len(numbers))
            points = np.reshape(instance["segmentation"][0], (-1, 2))
            points = np.clip(points / (image["width"], image["height"]), 0, 1)
            lines.append(f"{number} {' '.join(f'{v:.6f}' for v in points.ravel())}")
        (folder / "labels" / split / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    names = "".join(f"  {n}: kind {c}\n" for c, n in numbers.items())
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
    return ["yolo", str(folder)]


def make_labelme(real: Path, folder: Path) -> list[str]:
    """A JSON of the labelme program beside each photograph."""
    for name, (image, instances) in few_images(real).items():
        shutil.copy(real / "train2017" / name, folder)
        shapes = [
            {
                "label": f"kind {instance['category_id']}",
                "points": np.reshape(polygon, (-1, 2)).tolist(),
                "shape_type": "polygon",
                "group_id": instance["id"],
            }
            for instance in instances
            for polygon in instance["segmentation"]
        ]
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": None,
            "imageHeight": image["height"],
            "imageWidth": image["width"],
        }
        (folder / f"{Path(name).stem}.json").write_text(json.dumps(content))
    return ["labelme", str(folder)]


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (make_coco, CONFIG),
        (make_labels, CONFIG),
        (make_yolo, CONFIG),
        (make_labelme, CONFIG),
        (make_a_few, "configs/own_coloring.yaml"),
    ],
)
def test_own_data_trains_with_one_config_and_no_python(
    make, config, real_coco_tiny, run_tool, quick, tmp_path
):
    (tmp_path / "original").mkdir()
    arguments = make(real_coco_tiny, tmp_path / "original")
    if make in (make_coco, make_a_few):
        data = arguments
    else:
        output = tmp_path / "prepared"
        status, out, err = run_tool("datasets/prepare_custom.py", *arguments, "--output", output)
        assert status == 0, err
        # What it says to do next.
        assert "--config-file own_small_semiconv" in out
        data = re.findall(r"(OWN_DATA\.\w+) (\S+)", out)
        assert dict(data)["OWN_DATA.TRAIN_JSON"] == str(output / "train.json")
        data = [part for pair in data for part in pair]
    status, out, err = run_tool(
        "tools/train_net.py", "--config-file", config, *data, *quick, *SMALL,
        "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert status == 0, err
    lines = (tmp_path / "out" / "metrics.json").read_text().splitlines()
    metrics = {k: v for line in lines for k, v in json.loads(line).items()}
    assert {"segm/AP", "contact_0/AP"} <= set(metrics)
    assert (
        "mask AP by difficulty" in (tmp_path / "out" / "inference" / "evaluation.txt").read_text()
    )
    assert "MODEL.ROI_HEADS.NUM_CLASSES is set to" in out


# --- What the config takes from the data


def test_classes_and_mask_format_come_from_the_data(worms, caplog):
    with caplog.at_level(logging.INFO, logger="semiconv_d2"):
        cfg = load(own(worms))
    assert cfg.is_frozen()
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 1
    assert cfg.INPUT.MASK_FORMAT == "bitmask"
    assert (str(worms / "train.json"),) == cfg.DATASETS.TRAIN
    assert (str(worms / "val.json"),) == cfg.DATASETS.TEST
    assert 'INPUT.MASK_FORMAT is set to "bitmask"' in caplog.text
    assert "NUM_CLASSES is set to 1" in caplog.text


def test_the_config_remembers_how_large_the_training_images_were(worms, tmp_path):
    content = json.loads((worms / "train.json").read_text())
    boxes = np.array([a["bbox"] for a in content["annotations"]])
    other = ["INPUT.TRAINED_SIZE", "(7, 7)", "INPUT.TRAINED_LENGTH", "7"]  # of another training
    cfg = load([*own(worms), *other])
    assert cfg.INPUT.TRAINED_SIZE == (192, 192)
    assert round(np.percentile(boxes[:, 2:].max(axis=1), 95)) == cfg.INPUT.TRAINED_LENGTH
    evaluated = load_config(
        semiconv_d2.get_config_file("own_semiconv"),
        [*own(worms), *other, "MODEL.ROI_HEADS.NUM_CLASSES", "1"],
    )
    register_own_data(evaluated)
    adapt_to_data(evaluated, train=False)
    assert evaluated.INPUT.TRAINED_SIZE == (7, 7)
    crowd = dict(content["annotations"][0], id=10**6, iscrowd=1, bbox=[0, 0, 10**4, 10**4])
    (tmp_path / "train.json").write_text(
        json.dumps(content | {"annotations": [*content["annotations"], crowd]})
    )
    (tmp_path / "images").symlink_to(worms / "images")
    (tmp_path / "val.json").symlink_to(worms / "val.json")
    assert load(own(tmp_path)).INPUT.TRAINED_LENGTH == cfg.INPUT.TRAINED_LENGTH


def test_images_of_the_test_are_those_of_training_unless_said_otherwise(worms):
    cfg = load_config(semiconv_d2.get_config_file("own_semiconv"), own(worms))
    register_own_data(cfg)
    assert MetadataCatalog.get(str(worms / "val.json")).image_root == str(worms / "images")


def test_reading_a_config_leaves_the_catalogs_alone(worms):
    before = set(DatasetCatalog.list())
    cfg = load_config(semiconv_d2.get_config_file("own_semiconv"), own(worms))
    assert (str(worms / "train.json"),) == cfg.DATASETS.TRAIN
    assert set(DatasetCatalog.list()) == before
    for _ in range(2):  # as each process does
        register_own_data(cfg)
    assert set(DatasetCatalog.list()) == before | {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST}


def test_polygons_stay_polygons(real_coco_tiny):
    cfg = load(make_coco(real_coco_tiny, Path()))
    assert cfg.INPUT.MASK_FORMAT == "polygon"  # the crowds' run-length encodings do not matter
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 80


def test_other_numbers_of_classes_are_both_named(worms):
    with pytest.raises(ConfigError, match=r"NUM_CLASSES is 7, but the .* of .*train\.json is 1"):
        load([*own(worms), "MODEL.ROI_HEADS.NUM_CLASSES", "7"])


def test_models_without_roi_heads_count_their_classes_elsewhere(worms):
    overrides = ["MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.ROI_HEADS.NUM_CLASSES", "80"]
    assert load([*own(worms), *overrides]).MODEL.ROI_HEADS.NUM_CLASSES == 80


def test_datasets_that_differ_in_their_classes(worms, tmp_path):
    content = json.loads((worms / "val.json").read_text())
    content["categories"].append({"id": 2, "name": "egg"})
    (tmp_path / "two.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"NUM_CLASSES is 1, but the .* of .*two\.json is 2"):
        load([*own(worms), "OWN_DATA.TEST_JSON", str(tmp_path / "two.json")])


def test_datasets_that_differ_in_the_order_of_their_classes(worms, tmp_path):
    for name, names in (("train", ("worm", "egg")), ("val", ("egg", "worm"))):
        content = json.loads((worms / f"{name}.json").read_text())
        content["categories"] = [{"id": i, "name": n} for i, n in enumerate(names, start=1)]
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    data = own(tmp_path)
    data[3] = str(worms / "images")
    with pytest.raises(ConfigError, match=r"val\.json are not those of .*class 0.*egg.*worm"):
        load(data)


def test_without_data_the_number_of_classes_cannot_be_known():
    with pytest.raises(ConfigError, match=r"NUM_CLASSES is 0.*OWN_DATA\.TRAIN_JSON"):
        load([])


def test_the_folder_of_images_has_to_be_named(worms):
    with pytest.raises(ConfigError, match=r"OWN_DATA\.TRAIN_IMAGES, the folder"):
        load(["OWN_DATA.TRAIN_JSON", str(worms / "train.json")])


def test_missing_files_are_named(worms, tmp_path):
    with pytest.raises(DatasetError, match=r"there is no gone\.json"):
        load([*own(worms), "OWN_DATA.TRAIN_JSON", str(tmp_path / "gone.json")])
    with pytest.raises(DatasetError, match="no folder of images"):
        load([*own(worms), "OWN_DATA.TRAIN_IMAGES", str(tmp_path / "gone")])


def test_broken_data_are_refused_before_training(worms, tmp_path):
    content = json.loads((worms / "train.json").read_text())
    content["annotations"][3]["segmentation"]["counts"] = "garbage"
    (tmp_path / "broken.json").write_text(json.dumps(content))
    broken = [*own(worms), "OWN_DATA.TRAIN_JSON", str(tmp_path / "broken.json")]
    with pytest.raises(DatasetError, match=r"1 error: annotation 4 .*--fix.*semiconv check"):
        load(broken)


def test_a_model_is_evaluated_without_the_data_it_was_trained_on(worms, tmp_path):
    weights = tmp_path / "model.pth"
    weights.touch()
    model = ["MODEL.WEIGHTS", str(weights), "MODEL.ROI_HEADS.NUM_CLASSES", "1"]
    test = ["OWN_DATA.TEST_IMAGES", str(worms / "images"), *own(worms)[4:]]
    images = ["OWN_DATA.TRAIN_IMAGES", str(worms / "images")]
    for gone in ([*images, "OWN_DATA.TRAIN_JSON", "gone.json"], ["DATASETS.TRAIN", "('gone',)"]):
        cfg = load([*model, *test, *gone], eval_only=True)
        assert list(cfg.DATASETS.TEST) == [str(worms / "val.json")]
        with pytest.raises(ValueError, match=r"gone"):
            load([*model, *test, *gone])
    with pytest.raises(ConfigError, match=r"DATASETS\.TEST is empty"):
        load([*model, *own(worms)[:4]], eval_only=True)


@pytest.mark.parametrize("resume", [True, False])
def test_a_model_is_not_evaluated_on_other_classes(worms, tmp_path, resume):
    """Egg and worm have changed their ids since the training."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"classes": ["egg", "worm"]}))
    with zipfile.ZipFile(run / "model_final.pth", "w"):  # all that is looked at here
        pass
    content = json.loads((worms / "val.json").read_text())
    keys = ["OWN_DATA.TEST_IMAGES", str(worms / "images"), "MODEL.ROI_HEADS.NUM_CLASSES", "2"]
    keys += ["OUTPUT_DIR", str(run), "MODEL.WEIGHTS", str(run / "model_final.pth")]
    for name, fits in (("worm", False), ("egg", True)):
        other = "egg" if name == "worm" else "worm"
        content["categories"] = [{"id": 1, "name": name}, {"id": 2, "name": other}]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        start = Start(eval_only=True, resume=resume)
        keys_of_data = [*keys, "OWN_DATA.TEST_JSON", str(path)]
        if fits:
            load_checked_config("own_semiconv", keys_of_data, start)
            continue
        with pytest.raises(ConfigError, match=r"not those of the trained model: class 0.*is worm"):
            load_checked_config("own_semiconv", keys_of_data, start)


def test_two_test_datasets_keep_their_results_apart(worms):
    cfg = load(own(worms)).clone()
    cfg.defrost()
    cfg.DATASETS.TEST = (str(worms / "val.json"), str(worms / "train.json"))
    folders = {Trainer.build_evaluator(cfg, name).output_dir for name in cfg.DATASETS.TEST}
    assert len(folders) == 2
    assert {f.parent for f in folders} == {Path(cfg.OUTPUT_DIR) / "inference"}


# --- Names


def test_register_gives_a_name_to_files(worms):
    register("my_worms", worms / "train.json", worms / "images")
    register("my_worms", worms / "train.json", worms / "images")  # the same again
    assert len(DatasetCatalog.get("my_worms")) == 2
    assert MetadataCatalog.get("my_worms").thing_classes == ["worm"]
    with pytest.raises(DatasetError, match="'my_worms' is registered already, for other files"):
        register("my_worms", worms / "val.json", worms / "images")


def test_a_json_whose_classes_change_in_the_same_session_is_read_anew(worms, tmp_path):
    content = json.loads((worms / "train.json").read_text())
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    register("my_worms", path, worms / "images")
    MetadataCatalog.get("my_worms").set(thing_colors=[(1, 2, 3)])
    assert len(DatasetCatalog.get("my_worms")) == 2
    content["categories"][0]["name"] = "cell"
    path.write_text(json.dumps(content))
    with pytest.raises(
        DatasetError, match=r"has the classes cell, but .* with the classes worm.*register"
    ):
        DatasetCatalog.get("my_worms")
    register("my_worms", path, worms / "images")
    assert len(DatasetCatalog.get("my_worms")) == 2
    metadata = MetadataCatalog.get("my_worms")
    assert (metadata.thing_classes, metadata.thing_colors) == (["cell"], [(1, 2, 3)])


def test_a_registered_dataset_that_is_missing_says_what_to_look_at(tmp_path):
    register("my_worms", tmp_path / "train.json", tmp_path)
    with pytest.raises(DatasetError, match=r"'my_worms' cannot be read.*semiconv check"):
        DatasetCatalog.get("my_worms")


# --- Measures


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["EVALUATION.MEASURES", "('recall',)"], "EVALUATION.MEASURES: unknown measure 'recall'"),
        (["EVALUATION.THRESHOLD_DATASET", "synthetic_worms_val",
          "DATASETS.TEST", "('synthetic_worms_val',)", "OWN_DATA.TEST_JSON", ""],
         "which is also in DATASETS.TEST"),
        (["EVALUATION.MEASURES", "('coco', 's')", "MODEL.MASK_ON", "False"], "without masks"),
    ],
)  # fmt: skip
def test_measures_are_checked_before_training(worms, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load([*own(worms), *overrides])


def test_the_score_for_s_is_chosen_on_the_dataset_of_the_config(worms, run_tool, tmp_path):
    status, _, err = run_tool(
        "tools/train_net.py", "--config-file", "configs/demo_semiconv.yaml", "--eval-only",
        *own(worms), "OUTPUT_DIR", tmp_path, "EVALUATION.MEASURES", "('coco', 's')",
        "EVALUATION.THRESHOLD_DATASET", worms / "train.json",
    )  # fmt: skip
    assert status == 0, err
    table = (tmp_path / "inference" / "evaluation.txt").read_text()
    assert re.search(rf"S \(score ≥ \d\.\d+, chosen on {re.escape(str(worms))}", table)
