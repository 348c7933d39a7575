"""Configs: every file builds, every key is read, and what is shared with Detectron2 is equal."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml
from detectron2 import model_zoo
from detectron2.config import CfgNode, LazyConfig, get_cfg, instantiate
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances

import semiconv_d2
from semiconv_d2.config import MASK_OPTIONS, read_preset
from semiconv_d2.training import load_config

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
    assert ours == (getattr(heads, "mask_branch", None) is not None)
    assert ("coloring" in path.stem) == isinstance(model, semiconv_d2.InstanceColoring)


ONE_STAGE = {
    CONFIGS / f"{name}_semiconv.yaml"
    for name in ("bbbc010_bright_field_small", "leaves", "nuclei", "own_small")
}
STAGE_2 = {*CONFIGS.glob("*_semiconv*.yaml")} - ONE_STAGE


@pytest.mark.parametrize("stage_2", sorted(STAGE_2), ids=lambda p: p.stem)
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


THE_PAPER_S = {
    "RESCORE": True,
    "EMBEDDING_DIM": 8,
    "HIDDEN_DIM": 256,
    "GRADIENT_SCALE": 0.1,
    "MIXING": "additive",
    "KERNEL": "laplacian",
    "KERNEL_LOSS_WEIGHT": 1.0,
}
"""What the defaults have from the paper; beside them, a weight of the embedding loss above 0."""


def test_every_part_of_the_paper_is_on_by_default():
    keys = load_config("").MODEL.SEMICONV
    assert {name: keys[name] for name in THE_PAPER_S} == THE_PAPER_S
    assert keys.EMBEDDING_LOSS_WEIGHT > 0
    assert len(keys) <= 15


@pytest.mark.parametrize("base", sorted(CONFIGS.glob("*semiconv*.yaml")), ids=lambda p: p.stem)
@pytest.mark.parametrize("preset", ["paper", "stock"])
def test_presets_are_merged_over_any_config(tmp_path, preset, base):
    own = tmp_path / "own.yaml"
    own.write_text(f"_BASE_: ['{base}', '{CONFIGS / 'presets' / preset}.yaml']\n")
    one, other = load_config(str(own)), load_config(str(base))
    changed = read_preset(preset)
    for name, value in changed.items():
        assert one.MODEL.SEMICONV[name.removeprefix("MODEL.SEMICONV.")] == value
    one.defrost()
    one.merge_from_list(
        [x for name in changed for x in (name, other.MODEL.SEMICONV[name.rpartition(".")[2]])]
    )
    one.freeze()
    assert one == other


def test_the_preset_of_colouring_makes_another_model_of_the_same_backbone(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(f"_BASE_: ['{CONFIGS}/leaves_semiconv.yaml', '{CONFIGS}/presets/coloring.yaml']")
    model = build_model(load_config(str(own), ["MODEL.DEVICE", "cpu"]))
    assert isinstance(model, semiconv_d2.InstanceColoring)
    assert model.backbone.output_shape()["p2"].channels == 64


@pytest.mark.parametrize("data", ["voc", "bbbc010"])
def test_the_paper_s_configs_differ_from_ours_in_the_plugin_s_keys_alone(data):
    paper, ours = (
        load_config(semiconv_d2.get_config_file(f"{data}_{kind}")) for kind in ("paper", "semiconv")
    )
    node = paper.MODEL.SEMICONV
    assert (node.GAIN, node.COMPETITION, node.LR_FACTOR) == ("fixed", False, 1.0)
    assert (node.EMBEDDING_LEVELS, node.MASK_SCORE) == ("assigned", False)
    assert node.EMBEDDING_LOSS_WEIGHT == 1.0
    for key, value in THE_PAPER_S.items():
        assert node[key] == ours.MODEL.SEMICONV[key] == value
    for cfg in (paper, ours):
        cfg.defrost()
        del cfg.MODEL["SEMICONV"]
        cfg.OUTPUT_DIR = ""
    assert paper == ours


def test_parts_have_the_defaults_of_their_keys():
    keys = load_config("").MODEL.SEMICONV
    for part, names in (
        (semiconv_d2.SeedKernel, ("KERNEL", "SIGMA_INIT", "GAIN", "RESCORE")),
        (semiconv_d2.EmbeddingHead, ("HIDDEN_DIM", "EMBEDDING_DIM", "GRADIENT_SCALE")),
        (semiconv_d2.RegionEmbedding, ("MIXING",)),
        (semiconv_d2.SemiConvMaskBranch, ("EMBEDDING_LOSS_WEIGHT", "KERNEL_LOSS_WEIGHT")),
        (semiconv_d2.SemiConvMixin, MASK_OPTIONS),
    ):
        parameters = inspect.signature(part).parameters
        assert {n: parameters[n.lower()].default for n in names} == {n: keys[n] for n in names}
        if "lr_factor" in parameters:
            assert parameters["lr_factor"].default == keys.LR_FACTOR


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
        found = [i for i, line in enumerate(lines) if f"node.{key} =" in line]
        assert found, key
        assert all(lines[at - 1].lstrip().startswith("#") for at in found), key


def test_keys_beside_detectron2_s_are_read_and_explained():
    source = "\n".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "config.py")
    lines = inspect.getsource(semiconv_d2.config._add_input).splitlines()
    keys = [line.split("node.")[1].split(" =")[0] for line in lines if "node." in line]
    assert {*keys} == {*section("INPUT")} - {*get_cfg().INPUT}
    for key in keys:
        assert f"cfg.INPUT.{key}" in source or f'"{key}"' in source
        [at] = [i for i, line in enumerate(lines) if f"node.{key} =" in line]
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
    torch.nn.init.normal_(ours.roi_heads.mask_branch.embedding_head.embedding.weight, std=0.1)
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


# --- Configs of others.


def partial_config(**keys) -> CfgNode:
    """As another program makes it: Detectron2's defaults, and a short YAML merged with new keys
    allowed."""
    cfg = get_cfg()
    cfg.set_new_allowed(True)
    cfg.merge_from_file(semiconv_d2.get_config_file("demo_mask_rcnn"))
    cfg.MODEL.ROI_HEADS.NAME = "SemiConvROIHeads"
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    if keys:
        cfg.MODEL.SEMICONV = CfgNode(keys)
    return cfg


@pytest.mark.parametrize("keys", [{}, {"SIGMA_INIT": 3.0}])
def test_a_partial_config_takes_the_defaults_of_what_it_lacks(keys):
    cfg = partial_config(**keys)
    before = cfg.dump()
    model = build_model(cfg)
    assert cfg.dump() == before
    overrides = ["MODEL.WEIGHTS", "", "MODEL.SEMICONV.HIDDEN_DIM", "256"]
    whole = load_config(semiconv_d2.get_config_file("demo_semiconv"), overrides)
    expected = build_model(whole)
    assert str(model) == str(expected)
    branch = model.roi_heads.mask_branch
    assert branch.seed_kernel.sigma.item() == pytest.approx(keys.get("SIGMA_INIT", 10.0))
    assert branch.embedding_loss_weight == whole.MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT


def test_the_frozen_partial_config_of_a_coloring_is_completed_too():
    cfg = partial_config(HIDDEN_DIM=32)
    cfg.MODEL.META_ARCHITECTURE = "InstanceColoring"
    cfg.freeze()
    model = build_model(cfg)
    assert model.embedding_head.hidden.out_channels == 32
    assert model.decoder == "greedy"


def test_a_partial_config_may_name_a_backbone_of_timm():
    pytest.importorskip("timm")
    cfg = partial_config()
    cfg.MODEL.BACKBONE.NAME = "build_timm_fpn_backbone"
    cfg.MODEL.FPN.NORM = "GN"
    assert type(build_model(cfg).backbone.bottom_up).__name__ == "TimmBackbone"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("HIDEN_DIM", r"MODEL\.SEMICONV\.HIDEN_DIM is not a key\. The keys are: .*HIDDEN_DIM"),
        ("SEED_ROUNDS", r"MODEL\.SEMICONV\.SEED_ROUNDS was removed in version 0\.2.*leave it out"),
    ],
)
def test_a_key_that_is_none_is_named(key, message):
    with pytest.raises(ValueError, match=message):
        build_model(partial_config(**{key: 2}))
