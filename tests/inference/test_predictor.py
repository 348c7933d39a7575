"""A model that takes images as they come, and says how it came to what it found."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from PIL import Image

import semiconv_d2
from semiconv_d2 import Predictor
from semiconv_d2.errors import ConfigError, DatasetError
from semiconv_d2.inference.explanation import can_explain
from semiconv_d2.inference.finding import find_config
from semiconv_d2.inference.images import read_rgb
from semiconv_d2.ops import log_odds
from semiconv_d2.training import load_config

SMALL = ("INPUT.MIN_SIZE_TEST", "192", "MODEL.WEIGHTS", "checkpoints/demo_mask_rcnn.pth")
GAIN, SIGMA = 0.3, 4.0


def write_run(folder: Path, name: str, *overrides) -> Path:
    """A run whose model has a kernel that matters, and a config that names other weights."""
    cfg = load_config(semiconv_d2.get_config_file(name), [*SMALL, *overrides])
    torch.manual_seed(0)
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    branch = getattr(getattr(model, "roi_heads", None), "mask_branch", None)
    if branch is not None:
        kernel = branch.seed_kernel
        kernel.gain.set(GAIN)
        kernel.log_sigma_ratio.set((SIGMA / kernel.sigma_init).log())
    DetectionCheckpointer(model, save_dir=str(folder)).save("model_0000009")
    (folder / "config.yaml").write_text(cfg.dump())
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), "demo_semiconv")


@pytest.fixture(scope="session")
def predictor(run) -> Predictor:
    return Predictor.load(run)


def test_keys_of_another_program_do_not_matter(run, predictor, worms, tmp_path, caplog):
    folder = tmp_path / "own"
    folder.mkdir()
    for path in run.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "config.yaml").unlink()
    text = (run / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{text}\nMYPROJECT:\n  LOSS: 3\nNAME: mine\n")
    with caplog.at_level("INFO"):
        own = Predictor.load(folder)
    assert "has keys of another program: MYPROJECT, NAME" in caplog.text
    assert torch.equal(own(worms).scores, predictor(worms).scores)
    (folder / "config.yaml").write_text(text.replace("SEMICONV:", "SEMICONV:\n    SIGMAA: 3"))
    with pytest.raises(ConfigError, match="SIGMAA is not a key"):
        Predictor.load(folder)


def test_the_config_of_a_lazy_run_says_what_to_name(run, tmp_path):
    (tmp_path / "model_final.pth").symlink_to(run / "model_0000009.pth")
    (tmp_path / "config.yaml").write_text(
        "model: !!python/object:detectron2.layers.shape_spec.ShapeSpec {channels: 3}\n"
    )
    with pytest.raises(ConfigError, match="Name the LazyConfig instead"):
        Predictor.load(tmp_path)


@pytest.fixture(scope="session")
def worms(datasets_folder) -> Path:
    return sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[0]


def same(a, b) -> bool:
    return len(a) == len(b) and all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ("scores", "pred_classes", "pred_masks")
    )


def test_takes_a_model_that_somebody_has(run, predictor, worms):
    cfg = load_config(str(run / "config.yaml"), ["MODEL.WEIGHTS", str(run / "model_0000009.pth")])
    theirs = DefaultPredictor(cfg)
    mine = Predictor(theirs.model, classes=["worm"], augmentations=[theirs.aug])
    assert same(mine(worms), predictor(worms))
    assert mine.classes == ["worm"]
    with pytest.raises(ConfigError, match=r"Predictor\.load\('output/mine'\) finds and loads one"):
        Predictor("output/mine")


def test_predicts_what_detectron2_predicts(run, predictor, worms):
    cfg = load_config(str(run / "config.yaml"), ["MODEL.WEIGHTS", str(run / "model_0000009.pth")])
    found = predictor(worms)
    image = np.asarray(Image.open(worms).convert("RGB"))
    expected = DefaultPredictor(cfg)(image[..., ::-1])["instances"]
    assert len(found) > 2
    assert same(found, expected[expected.scores >= 0.5])
    assert found.pred_masks.shape[1:] == image.shape[:2]


def test_takes_images_as_they_come(predictor, worms):
    picture = Image.open(worms).convert("RGB")
    grey = Image.fromarray(np.asarray(picture)[..., 1])
    expected = predictor(worms)
    assert same(predictor(str(worms)), expected)
    assert same(predictor(picture), expected)
    assert same(predictor(np.asarray(picture)), expected)
    assert same(predictor(np.asarray(grey)), predictor(grey))


def test_gives_the_model_its_order_of_colours(predictor):
    assert predictor._format == "BGR"
    flat = np.broadcast_to(np.array([250, 100, 10], dtype=np.uint8), (8, 8, 3))
    np.testing.assert_allclose(predictor._input(flat)["image"][:, 5, 5], [10, 100, 250])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), dtype=np.uint16),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros(4, dtype=np.uint8),
    ],
)
def test_refuses_arrays_that_are_no_images(predictor, image):
    with pytest.raises(ValueError, match="uint8"):
        predictor(image)


@pytest.mark.parametrize("image", [None, [[0, 0], [0, 0]], b"png", 7, torch.zeros(3, 4, 4)])
def test_refuses_what_is_no_image_at_all(predictor, image):
    with pytest.raises(ValueError, match=rf"a {type(image).__name__}; it must be a file, a Pillow"):
        predictor(image)


def test_arrays_are_refused_in_their_own_shape(predictor):
    with pytest.raises(ValueError, match=r"float64 with the shape \(4, 6\)"):
        predictor(np.zeros((4, 6)))


def test_an_image_whose_shorter_side_vanishes_is_refused(predictor):
    with pytest.raises(DatasetError, match="9000 × 1 pixels"):
        predictor(np.zeros((1, 9000, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": None}, "score threshold is None"),
        ({"score_threshold": "0.5"}, "score threshold is '0.5'"),
        ({"score_threshold": float("nan")}, "score threshold is nan"),
        ({"classes": "worm"}, r"must be a list: \['worm'\]"),
    ],
)
def test_bad_options_are_refused(run, options, message):
    with pytest.raises(ConfigError, match=message):
        Predictor.load(run, **options)


def test_a_device_may_be_one_of_torch(run):
    assert (
        next(Predictor.load(run, device=torch.device("cpu")).model.parameters()).device.type
        == "cpu"
    )


def test_knows_whether_the_weights_had_an_embedding(predictor, run):
    assert predictor.trained_embedding
    assert not Predictor.load(
        "demo_semiconv", weights="checkpoints/demo_mask_rcnn.pth"
    ).trained_embedding


def test_names_files_that_are_none(predictor, tmp_path):
    with pytest.raises(DatasetError, match=r"there is no image .*nowhere\.png"):
        predictor(tmp_path / "nowhere.png")


def test_leaves_out_what_is_not_sure(run, predictor, worms):
    everything = Predictor.load(run, score_threshold=0)(worms)
    confident = predictor(worms)
    assert len(everything) > len(confident)
    assert same(everything[everything.scores >= 0.5], confident)
    with pytest.raises(ConfigError, match="threshold"):
        Predictor.load(run, score_threshold=1.5)


def test_takes_the_weights_of_the_run(run, predictor):
    assert predictor.model.roi_heads.mask_branch.seed_kernel.gain().item() == pytest.approx(GAIN)
    for name in (run / "config.yaml", run / "model_0000009.pth"):
        assert Predictor.load(
            name
        ).model.roi_heads.mask_branch.seed_kernel.gain().item() == pytest.approx(GAIN)
    stage_1 = Predictor.load("demo_semiconv", overrides=SMALL)
    assert stage_1.model.roi_heads.mask_branch.seed_kernel.gain().item() == 0
    attached = Predictor.load("demo_semiconv", weights=run / "model_0000009.pth", overrides=SMALL)
    assert attached.model.roi_heads.mask_branch.seed_kernel.gain().item() == pytest.approx(GAIN)


def test_knows_the_names_of_classes(run, predictor, worms, tmp_path):
    assert predictor.classes == ["worm"]
    found = predictor(worms)
    best = found.scores[0].item()
    assert predictor.labels(found)[0] == f"worm {best:.0%}"
    assert Predictor.load(run, classes=["nematode"]).classes == ["nematode"]
    with pytest.raises(ConfigError, match="classes has 2 names; the model has 1 classes"):
        Predictor.load(run, classes=["a", "b"])
    for file in run.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "run.json").write_text(json.dumps({"classes": ["noted"]}))
    assert Predictor.load(tmp_path).classes == ["noted"]


def test_makes_up_names_where_none_are_known(run):
    overrides = ["DATASETS.TEST", "('unheard_of',)", "DATASETS.TRAIN", "()"]
    assert Predictor.load(run, overrides=overrides).classes == ["class 0"]


def test_names_of_other_datasets_are_not_taken(run, tmp_path):
    names = [{"id": i, "name": f"thing {i}"} for i in range(3)]
    content = {"images": [], "annotations": [], "categories": names}
    (tmp_path / "own.json").write_text(json.dumps(content))
    overrides = ["OWN_DATA.TEST_JSON", str(tmp_path / "own.json")]
    overrides += ["OWN_DATA.TEST_IMAGES", str(tmp_path)]
    assert Predictor.load(run, overrides=overrides).classes == ["class 0"]


def test_reads_names_from_own_annotations(run, tmp_path):
    content = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "seed"}]}
    (tmp_path / "own.json").write_text(json.dumps(content))
    overrides = ["OWN_DATA.TEST_JSON", str(tmp_path / "own.json")]
    overrides += ["OWN_DATA.TEST_IMAGES", str(tmp_path)]
    assert Predictor.load(run, overrides=overrides).classes == ["seed"]


def test_a_shipped_model_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predictor = Predictor.load("binary_worms")
    assert predictor.classes == ["worm"]
    assert predictor.trained_embedding
    monkeypatch.setattr("semiconv_d2.inference.finding.find_weights", lambda name: name)
    with pytest.raises(
        ConfigError, match=r"binary_worms needs checkpoints/.* clone the repository"
    ):
        Predictor.load("binary_worms")
    (tmp_path / "binary_worms").mkdir()  # what is there comes first
    with pytest.raises(ConfigError, match=r"binary_worms has no config\.yaml"):
        Predictor.load("binary_worms")


def test_says_what_is_missing(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "alone.pth").write_bytes(b"")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text((run / "config.yaml").read_text())
    for model, message in (
        (tmp_path / "empty", "has no config.yaml"),
        (tmp_path / "new", "no complete checkpoint yet"),
        (tmp_path / "alone.pth", "no config.yaml beside"),
        (tmp_path / "none.pth", "There is no"),
        ("no_such_config", "neither a run's folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_config(model)
    with pytest.raises(ConfigError, match=r"MODEL\.WEIGHTS is empty"):
        Predictor.load("demo_semiconv", overrides=["MODEL.WEIGHTS", ""])
    for device in ("gpu", *(["cuda:99"] if torch.cuda.is_available() else [])):
        with pytest.raises(ConfigError, match=f"There is no device '{device}' .--device"):
            Predictor.load(run, device=device)
    with pytest.raises(ConfigError, match="there is no file"):
        Predictor.load("demo_semiconv", weights=tmp_path / "none.pth")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        Predictor.load("demo_semiconv", weights=tmp_path / "alone.pth")
    with pytest.raises(ConfigError, match=r"own_semiconv\.yaml: .*NUM_CLASSES is 0.* folder of"):
        Predictor.load("own_semiconv", weights=run / "model_0000009.pth")
    overrides = ["MODEL.ROI_HEADS.NUM_CLASSES", "3"]
    with pytest.raises(ConfigError, match="number of classes is 1, the config's is 3"):
        Predictor.load(run, overrides=overrides)


def test_a_gpu_that_the_config_does_not_take_is_mentioned(run, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    overrides = ["MODEL.DEVICE", "cpu"]
    with caplog.at_level(logging.WARNING):
        Predictor.load(run, device="cpu")
        assert "--device" not in caplog.text
        Predictor.load(run, overrides=overrides)
    assert "Running on the CPU, as the config says. To use the GPU: --device cuda" in caplog.text


DEEP = {"16.png": np.uint16, "16.tif": np.uint16, "32.tif": np.int32, "float.tif": np.float32}


@pytest.fixture
def deep(tmp_path) -> list[Path]:
    """The same picture of 12 bits in files of more than 8."""
    grey = np.random.default_rng(0).integers(200, 4096, (12, 16))
    for name, kind in DEEP.items():
        Image.fromarray(grey.astype(kind)).save(tmp_path / name)
    return [tmp_path / name for name in DEEP]


def test_deep_pillow_images_are_refused(deep):
    for path in deep:
        with pytest.raises(ValueError, match="more than 8 bits"):
            read_rgb(Image.open(path))


def test_files_are_read_as_the_config_says(run, tmp_path):
    """Page, channel and scale are those that the model was trained with."""
    keys = ["INPUT.PAGES", "(1,)", "INPUT.INTENSITY_RANGE", "bounds 0 1000"]
    predictor = Predictor.load(run, overrides=keys)
    pages = [Image.fromarray(np.full((40, 50), value, dtype=np.uint16)) for value in (10, 200)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    [seen] = predictor._input(tmp_path / "stack.tif")["image"].unique()
    assert seen == 51
    with pytest.raises(DatasetError, match="has 2 pages: choose"):
        Predictor.load(run)(tmp_path / "stack.tif")


def test_explains_regions(predictor, worms):
    found = predictor(worms)
    explanation = predictor.explain(worms)
    instances, views = explanation.instances, explanation.views
    assert same(instances, found)
    height, width = found.pred_masks.shape[1:]
    assert explanation.embedding.shape == (8, height, width)
    assert explanation.votes.shape == (2, height, width)
    assert instances.seed_embeddings.shape == (len(found), 8)
    assert [v.label for v in views] == predictor.labels(found)
    for number, view in enumerate(views):
        side = view.logits.shape[0]
        assert view.seed_weights.sum() == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(view.seed_weights, softmax(view.logits), atol=1e-5)
        np.testing.assert_allclose(
            view.rescored,
            view.logits + GAIN * log_odds(torch.tensor(view.log_kernel)).numpy(),
            rtol=1e-3,
            atol=1e-3,
        )
        np.testing.assert_array_equal(view.mask, found.pred_masks[number])
        np.testing.assert_allclose(view.box, found.pred_boxes.tensor[number], atol=0.51)
        x0, y0, x1, y1 = view.box
        ticks = (np.arange(side) + 0.5) / side
        expected = [
            (view.seed_weights.sum(axis=0) * (x0 + ticks * (x1 - x0))).sum(),
            (view.seed_weights.sum(axis=1) * (y0 + ticks * (y1 - y0))).sum(),
        ]
        np.testing.assert_allclose(view.seed, expected, rtol=1e-3)
        np.testing.assert_array_equal(view.seed, instances.seeds[number])


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def test_exclusive_masks_are_the_same_whatever_is_shown(run, worms):
    overrides = ["MODEL.SEMICONV.EXCLUSIVE_MASKS", "True"]
    predictor = Predictor.load(run, overrides=overrides, score_threshold=0.9)
    found = predictor(worms)
    assert len(found)
    assert same(found, predictor.explain(worms).instances)


def test_votes_are_the_embedding_in_pixels(run, worms):
    # At the size of the image the cells of P2 are 4 pixels, whose centres no pixel's is.
    predictor = Predictor.load(run)
    image = np.asarray(Image.open(worms).convert("RGB"))
    explanation = predictor.explain(image)
    model = predictor.model
    inputs = predictor._input(image)
    with torch.no_grad():
        features = model.backbone(model.preprocess_image([inputs]).tensor)
        phi = model.roi_heads.scene(features).maps[0][0]
    for row, column in ((0, 0), (3, 10), (20, 31)):
        # Between the four pixels around the centre of a cell: the cell's own value.
        block = slice(4 * row + 1, 4 * row + 3), slice(4 * column + 1, 4 * column + 3)
        mean = explanation.embedding[:, block[0], block[1]].mean(dim=(1, 2))
        votes = explanation.votes[:, block[0], block[1]].mean(dim=(1, 2))
        centre = torch.tensor([column + 0.5, row + 0.5])
        near = phi[:, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        low, high = near.amin(dim=(1, 2)), near.amax(dim=(1, 2))
        assert (low[2:] - 1e-4 <= mean[2:]).all()
        assert (mean[2:] <= high[2:] + 1e-4).all()
        assert (low[:2] - 1e-3 <= votes / 4 - centre).all()
        assert (votes / 4 - centre <= high[:2] + 1e-3).all()


def test_explains_colourings(tmp_path, worms):
    run = write_run(tmp_path, "demo_coloring", "MODEL.COLORING.FOREGROUND", "image")
    image = np.zeros((96, 128, 3), dtype=np.uint8)
    image[20:40, 10:30] = image[60:80, 90:120] = 255
    predictor = Predictor.load(run, score_threshold=0, overrides=["INPUT.MIN_SIZE_TEST", "96"])
    explanation = predictor.explain(image)
    assert same(explanation.instances, predictor(image))
    assert len(explanation.views) == len(explanation.instances) >= 1
    assert explanation.votes.shape == (2, 96, 128)
    torch.testing.assert_close(explanation.votes, 4 * explanation.embedding[:2])
    for number, view in enumerate(explanation.views):
        expected = np.minimum(view.logits, log_odds(torch.tensor(view.log_kernel)).numpy())
        np.testing.assert_allclose(view.rescored, expected, atol=1e-5)
        rows, columns = view.mask.nonzero()
        np.testing.assert_allclose(view.seed, (columns.mean() + 0.5, rows.mean() + 0.5), atol=1e-3)
        mean = explanation.embedding[:, torch.from_numpy(view.mask)].mean(dim=1)
        torch.testing.assert_close(explanation.instances.seed_embeddings[number], mean)


def test_explains_images_in_which_nothing_is_found(predictor, tmp_path):
    blank = np.full((64, 80, 3), 127, dtype=np.uint8)
    explanation = predictor.explain(blank)
    assert explanation.views == []
    assert explanation.instances.seeds.shape == (0, 2)
    run = write_run(tmp_path, "demo_coloring", "MODEL.COLORING.FOREGROUND", "image")
    colouring = Predictor.load(run).explain(np.zeros((64, 80, 3), dtype=np.uint8))
    assert colouring.views == []
    assert colouring.instances.seed_embeddings.shape == (0, 8)


def test_stock_models_predict_and_have_nothing_to_explain(worms):
    stock = Predictor.load("demo_mask_rcnn", weights="checkpoints/demo_mask_rcnn.pth")
    assert len(stock(worms)) > 2
    assert not can_explain(stock.model)
    with pytest.raises(ValueError, match="StandardROIHeads has no embedding"):
        stock.explain(worms)


LAZY = """
from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config
from detectron2.modeling.poolers import ROIPooler
from semiconv_d2 import EmbeddingHead, RegionEmbedding, SeedKernel
from semiconv_d2 import SemiConvMaskBranch, SemiConvROIHeads

model = get_config("common/models/mask_rcnn_fpn.py").model
model.backbone.bottom_up.stages.depth = 18
del model.backbone.bottom_up.stages.stride_in_1x1
model.backbone.bottom_up.freeze_at = 0
model.backbone.bottom_up.stages.norm = "BN"
model.roi_heads.num_classes = 2
model.roi_heads.mask_head.conv_dims = [16, 16]
model.roi_heads.box_predictor.test_score_thresh = 0.0
model.roi_heads.update(
    _target_=SemiConvROIHeads,
    mask_branch=L(SemiConvMaskBranch)(
        embedding_head=L(EmbeddingHead)(in_channels=256, sum_strides=[4, 8, 16, 32]),
        region_embedding=L(RegionEmbedding)(
            pooler=L(ROIPooler)(
                output_size=28,
                scales=[1.0 / 4],
                sampling_ratio=0,
                pooler_type="ROIAlignV2",
            )
        ),
        seed_kernel=L(SeedKernel)(),
    ),
)
dataloader = get_config("common/data/coco.py").dataloader
dataloader.test.dataset.names = "unheard_of"
dataloader.test.mapper.augmentations[0].short_edge_length = 64
train = get_config("common/train.py").train
"""


def test_takes_lazy_configs(tmp_path, worms):
    from detectron2.config import LazyConfig, instantiate

    (tmp_path / "lazy.py").write_text(LAZY)
    model = instantiate(LazyConfig.load(str(tmp_path / "lazy.py")).model)
    DetectionCheckpointer(model, save_dir=str(tmp_path)).save("trained")
    weights = tmp_path / "trained.pth"
    with pytest.raises(ConfigError, match=r"train\.init_checkpoint"):
        Predictor.load(tmp_path / "lazy.py", run_code=True)
    predictor = Predictor.load(
        tmp_path / "lazy.py", weights=weights, score_threshold=0, run_code=True
    )
    assert predictor.classes == ["class 0", "class 1"]
    found = predictor(worms)
    assert len(found)
    assert len(predictor.explain(worms).views) == len(found)
    overridden = Predictor.load(
        tmp_path / "lazy.py",
        score_threshold=0,
        run_code=True,
        overrides=[
            f"train.init_checkpoint={weights}",
            "model.roi_heads.box_predictor.test_topk_per_image=1",
        ],
    )
    assert len(overridden(worms)) == 1


def test_a_program_is_run_where_that_is_asked_for(tmp_path):
    touched = tmp_path / "touched"
    (tmp_path / "lazy.py").write_text(f"import pathlib\npathlib.Path({str(touched)!r}).touch()\n")
    with pytest.raises(ConfigError, match=r"lazy\.py is a LazyConfig, a program.*run_code=True"):
        Predictor.load(tmp_path / "lazy.py")
    assert not touched.exists()


def test_broken_lazy_configs_get_one_clear_error(tmp_path):
    (tmp_path / "broken.py").write_text("model = 1\n")
    with pytest.raises(ConfigError, match=r"broken\.py"):
        Predictor.load(tmp_path / "broken.py", weights="x.pth", run_code=True)


def test_detectron2s_own_models_work(tmp_path, worms):
    """Without a key of this package in the config of the run."""
    from detectron2.config import get_cfg

    cfg: CfgNode = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.MASK_ON = False
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.BACKBONE.NAME = "build_retinanet_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res3", "res4", "res5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    cfg.MODEL.RETINANET.NUM_CLASSES = 3
    cfg.MODEL.RETINANET.SCORE_THRESH_TEST = 0.0
    cfg.DATASETS.TEST = cfg.DATASETS.TRAIN = ()
    cfg.INPUT.MIN_SIZE_TEST = 64
    DetectionCheckpointer(build_model(cfg), save_dir=str(tmp_path)).save("model_final")
    (tmp_path / "config.yaml").write_text(cfg.dump())
    predictor = Predictor.load(tmp_path, score_threshold=0)
    found = predictor(worms)
    assert len(found)
    assert not found.has("pred_masks")
    assert predictor.classes == []
    assert predictor.labels(found)[0].startswith(f"class {found.pred_classes[0]} ")
