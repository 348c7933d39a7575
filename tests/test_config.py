"""Configs: every file builds, every key is read, and what is shared with Detectron2 is equal."""

import inspect
import json
import re
from pathlib import Path
from statistics import mean

import pytest
import torch
import yaml
from detectron2 import model_zoo
from detectron2.config import LazyConfig, get_cfg, instantiate
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances

import semiconv_d2
from semiconv_d2.engine import load_config

CONFIGS = Path(semiconv_d2.get_config_file("Base-RCNN-FPN")).parent
PACKAGE = Path(semiconv_d2.__file__).parent


def test_base_is_detectron2_s():
    theirs = Path(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
    theirs = theirs.parent.parent / "Base-RCNN-FPN.yaml"
    ours = CONFIGS / "Base-RCNN-FPN.yaml"
    assert yaml.safe_load(ours.read_text()) == yaml.safe_load(theirs.read_text())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_builds(path):
    # 0, of the configs for data of one's own, is replaced once the data are known.
    classes = load_config(str(path)).MODEL.ROI_HEADS.NUM_CLASSES or 2
    cfg = load_config(str(path), ["MODEL.ROI_HEADS.NUM_CLASSES", str(classes)])
    model = build_model(cfg)
    heads = getattr(model, "roi_heads", None)
    ours = "semiconv" in path.stem or "paper" in path.stem
    assert ours == hasattr(heads, "embedding_head")
    assert ("coloring" in path.stem) == isinstance(model, semiconv_d2.InstanceColoring)


@pytest.mark.parametrize("stage_2", sorted(CONFIGS.glob("*_semiconv*.yaml")), ids=lambda p: p.stem)
def test_both_stages_are_the_same_model_but_for_the_plugin(stage_2):
    stage_1 = CONFIGS / stage_2.name.replace("semiconv", "mask_rcnn")
    first, second = load_config(str(stage_1)), load_config(str(stage_2))
    for cfg in (first, second):
        cfg.defrost()
        cfg.MODEL.ROI_HEADS.NAME = cfg.MODEL.WEIGHTS = ""
        cfg.MODEL.pop("SEMICONV")
    assert first.MODEL == second.MODEL
    assert first.DATASETS == second.DATASETS
    assert first.INPUT == second.INPUT


def test_voc_schedule_is_the_paper_s():
    cfg = load_config(str(CONFIGS / "voc_semiconv.yaml"))
    epoch = 1464 / cfg.SOLVER.IMS_PER_BATCH
    assert cfg.SOLVER.IMS_PER_BATCH == 2
    assert cfg.SOLVER.BASE_LR == 0.0025
    assert 24 * epoch == cfg.SOLVER.MAX_ITER
    assert (12 * epoch,) == cfg.SOLVER.STEPS
    assert cfg.SOLVER.GAMMA == 0.1


def test_own_data_start_from_a_model_of_detectron2_s_zoo():
    url = model_zoo.get_checkpoint_url("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    weights = load_config(str(CONFIGS / "own_mask_rcnn.yaml")).MODEL.WEIGHTS
    assert url.endswith(weights.removeprefix("detectron2://"))


@pytest.mark.parametrize("data", ["voc", "bbbc010"])
def test_the_paper_s_configs_differ_from_ours_in_the_plugin_s_keys_alone(data):
    paper, ours = (
        load_config(semiconv_d2.get_config_file(f"{data}_{kind}")) for kind in ("paper", "semiconv")
    )
    node = paper.MODEL.SEMICONV
    assert (node.GAIN, node.EVIDENCE, node.COMPETITION) == ("fixed", "log", False)
    assert (node.SEED, node.SEED_ROUNDS) == ("soft", 1)
    assert (node.EMBEDDING_DIM, node.HIDDEN_DIM, node.HIDDEN_LAYERS) == (8, 256, 1)
    assert (node.GRADIENT_SCALE, node.LR_FACTOR) == (0.1, 1.0)
    assert (node.EMBEDDING_LEVELS, node.KERNEL_PIXELS) == ("assigned", "region")
    assert (node.EMBEDDING_LOSS_WEIGHT, node.KERNEL_LOSS_WEIGHT) == (1.0, 1.0)
    for cfg in (paper, ours):
        cfg.defrost()
        del cfg.MODEL["SEMICONV"]
        cfg.OUTPUT_DIR = ""
    assert paper == ours


def test_parts_have_the_defaults_of_their_keys():
    keys = load_config("").MODEL.SEMICONV
    kernel = inspect.signature(semiconv_d2.SeedKernel).parameters
    head = inspect.signature(semiconv_d2.EmbeddingHead).parameters
    mixin = inspect.signature(semiconv_d2.SemiConvMixin).parameters
    of_kernel = (
        *("KERNEL", "SIGMA_INIT", "GAIN", "EVIDENCE", "COMPETITION"),
        *("SEED", "SEED_ROUNDS", "RESCORE"),
    )
    of_head = ("HIDDEN_DIM", "HIDDEN_LAYERS", "EMBEDDING_DIM", "GRADIENT_SCALE")
    of_mixin = (
        *("EMBEDDING_LOSS_WEIGHT", "KERNEL_LOSS_WEIGHT", "KERNEL_PIXELS", "SHARED_PIXELS"),
        *("MASK_TARGETS", "MASK_SCORE", "EXCLUSIVE_MASKS"),
    )
    for part, names in ((kernel, of_kernel), (head, of_head), (mixin, of_mixin)):
        assert {n: part[n.lower()].default for n in names} == {n: keys[n] for n in names}


SECTIONS = {
    "MODEL.SEMICONV": 10,
    "MODEL.COLORING": 9,
    "MODEL.TIMM": 3,
    "OWN_DATA": 4,
    "EVALUATION": 3,
}


def section(name):
    node = load_config(str(CONFIGS / "voc_semiconv.yaml"))
    for part in name.split("."):
        node = node[part]
    return node


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_read(name):
    source = "\n".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "config.py")
    keys = section(name)
    pattern = rf"(?<!\w)(node|own|{re.escape(name)})\.{{}}\b"
    unread = [k for k in keys if not re.search(pattern.format(k), source)]
    assert len(keys) >= SECTIONS[name]
    assert not unread


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_explained(name):
    lines = inspect.getsource(semiconv_d2.config).splitlines()
    for key in section(name):
        [at] = [i for i, line in enumerate(lines) if f"node.{key} =" in line]
        assert lines[at - 1].lstrip().startswith("#"), key


def test_the_key_beside_detectron2_s_is_read_and_explained():
    source = "\n".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "config.py")
    assert "cfg.INPUT.QUARTER_TURNS" in source
    lines = inspect.getsource(semiconv_d2.config).splitlines()
    [at] = [i for i, line in enumerate(lines) if "cfg.INPUT.QUARTER_TURNS =" in line]
    assert lines[at - 1].lstrip().startswith("#")


def test_adding_the_config_twice_keeps_what_is_set():
    cfg = get_cfg()
    semiconv_d2.add_semiconv_config(cfg)
    cfg.MODEL.SEMICONV.SIGMA_INIT = 3.0
    semiconv_d2.add_semiconv_config(cfg)
    assert cfg.MODEL.SEMICONV.SIGMA_INIT == 3.0
    assert "SEMICONV" not in get_cfg().MODEL  # Detectron2's global defaults are left alone


def test_lazy_config_is_the_same_model():
    lazy = LazyConfig.load(semiconv_d2.get_config_file("lazy/voc_semiconv.py"))
    cfg = load_config(str(CONFIGS / "voc_semiconv.yaml"))
    torch.manual_seed(0)
    ours, theirs = build_model(cfg).eval(), instantiate(lazy.model).eval()
    torch.nn.init.normal_(ours.roi_heads.embedding_head.embedding.weight, std=0.1)
    theirs.load_state_dict(ours.state_dict())
    trained = [{n for n, p in m.named_parameters() if p.requires_grad} for m in (ours, theirs)]
    assert trained[0] == trained[1]
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = [m.backbone(image) for m in (ours, theirs)]
    assert all(torch.equal(maps[0][name], maps[1][name]) for name in maps[0])
    assert torch.equal(ours.pixel_mean, theirs.pixel_mean)
    assert torch.equal(ours.pixel_std, theirs.pixel_std)
    assert ours.input_format == theirs.input_format

    # The same boxes for both, random ones: untrained models detect next to nothing.
    features = {
        name: torch.randn(1, 256, 128 // s, 128 // s)
        for name, s in zip(("p2", "p3", "p4", "p5"), (4, 8, 16, 32), strict=True)
    }
    masks = []
    for model in (ours, theirs):
        instances = Instances((128, 128))
        instances.pred_boxes = Boxes(torch.tensor([[10.0, 10, 90, 60], [5, 5, 125, 120]]))
        instances.pred_classes = torch.tensor([3, 14])
        with torch.no_grad():
            [found] = model.roi_heads.forward_with_given_boxes(features, [instances])
        masks.append(found.pred_masks)
    assert torch.equal(*masks)
    lazy.optimizer.params.model = theirs
    optimizers = build_optimizer(cfg, ours), instantiate(lazy.optimizer)
    options = [
        {
            names[id(p)]: (group["lr"], group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for optimizer, names in zip(
            optimizers,
            ({id(p): n for n, p in m.named_parameters()} for m in (ours, theirs)),
            strict=True,
        )
    ]
    assert options[0] == options[1]
    assert lazy.train.max_iter == cfg.SOLVER.MAX_ITER
    assert lazy.train.eval_period == cfg.TEST.EVAL_PERIOD
    assert lazy.train.checkpointer.period == cfg.SOLVER.CHECKPOINT_PERIOD
    assert lazy.dataloader.train.total_batch_size == cfg.SOLVER.IMS_PER_BATCH


def test_unknown_config_names_those_that_there_are():
    with pytest.raises(ValueError, match=r"no config 'voc'.*voc_semiconv\.yaml"):
        semiconv_d2.get_config_file("voc")


CHANCE = 3.0
"""Mask AP by which two runs may differ, as docs/ablation.md has it."""


@pytest.mark.parametrize(
    ("key", "words", "variant", "base"),
    [
        ("EMBEDDING_DIM", "2 costs", "D = 2", "ours"),
        ("LR_FACTOR", "1 costs", "learning rate × 1", "ours"),
        ("MIXING", "costs", "no mixing", "ours"),
        ("EMBEDDING_RESOLUTION", "costs", "embedding of 28²", "ours"),
        ("SEED", "costs", "one round of hard seeds", "one round of seeds"),
        ("SIGMA_INIT", "costs", "σ from 100", "ours"),
        ("COMPETITION", "False costs", "no competition", "ours"),
        ("EMBEDDING_LOSS_WEIGHT", "1 costs", "embedding loss", "ours"),
        ("KERNEL_LOSS_WEIGHT", "0 costs", "no kernel loss", "ours"),
        ("KERNEL_PIXELS", '"instances" costs', "kernel loss over instances", "ours"),
    ],
)
def test_what_a_value_costs_is_what_was_measured(key, words, variant, base):
    """The comment above a key, against the rows of the ablation."""
    cost = measured_cost(variant, base)
    [said] = re.findall(rf"(?<!\d){words} (\d+\.\d) AP", comment_above(key))
    assert float(said) == pytest.approx(cost, abs=0.06)
    assert cost >= CHANCE


@pytest.mark.parametrize(
    ("key", "words", "variants", "base"),
    [
        ("EMBEDDING_DIM", "4 and 16 tie", ["D = 4", "D = 16"], "ours"),
        ("HIDDEN_DIM", "256 ties", ["256 channels"], "ours"),
        ("HIDDEN_LAYERS", "1 and 3 tie", ["one hidden layer", "three hidden layers"], "ours"),
        (
            "GRADIENT_SCALE",
            "0, 0.01 and 1 tie",
            ["gradient × 0", "gradient × 0.01", "gradient × 1"],
            "ours",
        ),
        ("LR_FACTOR", "30 ties", ["learning rate × 30"], "ours"),
        ("COORD_UNIT", '"pixel", which ties', ["unit of a pixel"], "ours"),
        (
            "EMBEDDING_LEVELS",
            "which ties without competition",
            ["no competition, assigned levels"],
            "no competition",
        ),
        ("SEED_ROUNDS", "1 and 3 tie", ["one round of seeds", "three rounds of seeds"], "ours"),
        ("KERNEL", "which ties", ["Gaussian"], "ours"),
        ("SIGMA_INIT", "3 ties", ["σ from 3"], "ours"),
        ("EVIDENCE", '"log" ties', ["evidence log P"], "ours"),
        ("GAIN", "which ties after fine-tuning", ["gain fixed"], "ours"),
        ("SHARED_PIXELS", "which ties", ["shared pixels count"], "ours"),
        ("MASK_TARGETS", "which ties", ["soft targets"], "ours"),
    ],
)
def test_what_is_said_to_tie_does(key, words, variants, base):
    assert words in comment_above(key)
    assert max(abs(measured_cost(variant, base)) for variant in variants) < CHANCE


def comment_above(key):
    source = (PACKAGE / "config.py").read_text(encoding="utf-8")
    above = source.partition(f"    node.{key} = ")[0]
    return re.search(r"(?:    # .*\n)+$", above)[0].replace("\n    #", "")


def measured_cost(variant, base):
    """Mask AP that the ablation's variant lacks."""
    results = Path(__file__).parents[1] / "results" / "ablation_bbbc010.json"
    runs = json.loads(results.read_text())["runs"]
    ap, of_base = (
        mean(r["values"]["AP"] for r in runs if r["variant"] == name) for name in (variant, base)
    )
    return of_base - ap
