"""What the ROI heads promise, through Detectron2's public interfaces."""

import copy
from functools import partial

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.export import TracingAdapter
from detectron2.export.torchscript_patch import patch_builtin_len
from detectron2.modeling import GeneralizedRCNNWithTTA, build_model
from detectron2.modeling.roi_heads import (
    ROI_HEADS_REGISTRY,
    CascadeROIHeads,
    Res5ROIHeads,
    StandardROIHeads,
)
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch.utils._python_dispatch import TorchDispatchMode

import semiconv_d2
from semiconv_d2 import EmbeddingHead, SemiConvMixin, SemiConvROIHeads
from semiconv_d2.config import read_preset
from semiconv_d2.inference.measuring import count_operations
from semiconv_d2.modeling import embedding_head, ground_truth
from semiconv_d2.training import load_config

STOCK = ("MODEL.ROI_HEADS.NAME", "StandardROIHeads")
OFF = tuple(x for pair in read_preset("stock").items() for x in pair)
PAPER = tuple(x for pair in read_preset("paper").items() for x in pair)
LEARNED = ("MODEL.SEMICONV.GAIN", "learned")
ALONE = ("MODEL.SEMICONV.COMPETITION", False)
ASSIGNED = (*ALONE, "MODEL.SEMICONV.EMBEDDING_LEVELS", "assigned")
LOG_K = (*ALONE, "MODEL.SEMICONV.GAIN", "fixed")
STOCK_LOSSES = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
LOSSES = STOCK_LOSSES | {"loss_embedding", "loss_kernel"}


def assert_same_predictions(found: list[Instances], expected: list[Instances]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert len(a) == len(b) > 0
        assert torch.equal(a.pred_boxes.tensor, b.pred_boxes.tensor)
        assert torch.equal(a.scores, b.scores)
        assert torch.equal(a.pred_classes, b.pred_classes)
        assert torch.equal(a.pred_masks, b.pred_masks)


def new_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if "mask_branch" in name}


# --- Equal to the stock model where that is promised.


def test_switched_off_is_the_stock_model_bit_for_bit(make_model, make_batch, losses_of, predict):
    stock, off = make_model(*STOCK), make_model(*OFF)
    assert list(off.state_dict()) == list(stock.state_dict())
    batch = make_batch(3, 1)
    expected, found = losses_of(stock, batch), losses_of(off, batch)
    assert set(found) == set(expected) == STOCK_LOSSES
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert_same_predictions(predict(off, batch), predict(stock, batch))


@pytest.mark.parametrize("classes", [1, 3])
def test_learned_gain_starts_as_the_stock_model(
    make_model, make_batch, losses_of, predict, classes
):
    size = ("MODEL.ROI_HEADS.NUM_CLASSES", classes)
    stock = make_model(*STOCK, *size)
    attached = make_model(*LEARNED, *size, like=stock)
    batch = make_batch(3, 2, num_classes=classes)
    assert_same_predictions(predict(attached, batch), predict(stock, batch))
    expected, found = losses_of(stock, batch), losses_of(attached, batch)
    assert set(found) == LOSSES
    assert all(torch.equal(found[name], expected[name]) for name in STOCK_LOSSES)


def test_fixed_gain_approaches_the_stock_model_with_sigma(make_model, make_batch, predict):
    stock, batch = make_model(*STOCK), make_batch(2)
    [expected] = predict(stock, batch)
    lost = []
    for sigma in (1.0, 10.0, 1000.0):
        attached = make_model(*LOG_K, "MODEL.SEMICONV.SIGMA_INIT", sigma, like=stock)
        attached.roi_heads.mask_head.load_state_dict(stock.roi_heads.mask_head.state_dict())
        features = stock.backbone(stock.preprocess_image(batch).tensor)
        given = [Instances(expected.image_size)]
        given[0].pred_boxes, given[0].pred_classes = expected.pred_boxes, expected.pred_classes
        masks = [
            m.eval().roi_heads.forward_with_given_boxes(features, given)[0].pred_masks.clone()
            for m in (stock, attached)
        ]
        lost.append((masks[0] - masks[1]).max().item())
    assert lost[0] > lost[1] > lost[2] > 0  # log K ≤ 0: masks are only lowered
    assert lost[2] < 0.01


@pytest.mark.parametrize(
    ("weights", "extra"),
    [((1.0, 0.0), {"loss_embedding"}), ((0.0, 1.0), {"loss_kernel"}), ((0.5, 2.0), LOSSES)],
)
def test_auxiliary_losses_leave_the_masks_alone(
    make_model, make_batch, losses_of, predict, weights, extra
):
    stock = make_model(*STOCK)
    torch.nn.init.normal_(stock.roi_heads.mask_head.predictor.weight)
    auxiliary = make_model(
        "MODEL.SEMICONV.RESCORE", False,
        "MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT", weights[0],
        "MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", weights[1],
        like=stock,
    )  # fmt: skip
    batch = make_batch(3, 1)
    expected, found = losses_of(stock, batch), losses_of(auxiliary, batch)
    assert set(found) == STOCK_LOSSES | extra
    assert all(torch.equal(found[name], expected[name]) for name in STOCK_LOSSES)
    assert_same_predictions(predict(auxiliary, batch), predict(stock, batch))
    # Every parameter that was built is used: DistributedDataParallel demands it.
    sum(found.values()).backward()
    assert all(p.grad is not None for p in new_parameters(auxiliary).values())


def test_loss_weights_scale_their_losses(make_model, make_batch, losses_of):
    one = make_model()
    other = make_model(
        "MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT", 3.0, "MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", 0.5,
        like=one,
    )  # fmt: skip
    batch = make_batch(3)
    a, b = losses_of(one, batch), losses_of(other, batch)
    torch.testing.assert_close(b["loss_embedding"], 3 * a["loss_embedding"])
    torch.testing.assert_close(b["loss_kernel"], 0.5 * a["loss_kernel"])
    assert torch.equal(a["loss_mask"], b["loss_mask"])


# --- Checkpoints.


def test_a_stock_checkpoint_lacks_only_the_new_parameters(
    make_model, make_batch, predict, tmp_path
):
    stock = make_model(*STOCK)
    torch.nn.init.normal_(stock.roi_heads.mask_head.predictor.weight)
    DetectionCheckpointer(stock, str(tmp_path)).save("stock")
    attached = make_model(*LEARNED)
    missing, unexpected = attached.load_state_dict(stock.state_dict(), strict=False)
    assert set(missing) == {
        *new_parameters(attached),
        "roi_heads.mask_branch.seed_kernel.sigma_init",
    }
    assert not unexpected

    attached = make_model(*LEARNED)
    DetectionCheckpointer(attached).load(str(tmp_path / "stock.pth"))
    batch = make_batch(2)
    assert_same_predictions(predict(attached, batch), predict(stock, batch))


def test_a_checkpoint_of_version_0_1_is_read_by_its_old_names(make_model, tmp_path):
    model = make_model(*LEARNED)
    for p in new_parameters(model).values():
        torch.nn.init.normal_(p, std=0.05)
    old = {
        name.replace("mask_branch.", "").replace("competition.", ""): value
        for name, value in model.state_dict().items()
    }
    assert "roi_heads.seed_kernel.log_background_ratio.value" in old
    torch.save({"model": old}, tmp_path / "old.pth")
    other = make_model(*LEARNED)
    DetectionCheckpointer(other).load(str(tmp_path / "old.pth"))
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_a_semiconv_checkpoint_round_trips(make_model, make_batch, predict, tmp_path):
    model = make_model(*LEARNED)
    for p in new_parameters(model).values():
        torch.nn.init.normal_(p, std=0.05)
    DetectionCheckpointer(model, str(tmp_path)).save("model")
    other = make_model(*LEARNED)
    DetectionCheckpointer(other).load(str(tmp_path / "model.pth"))
    batch = make_batch(2)
    assert_same_predictions(predict(other, batch), predict(model, batch))


# --- The subnet.


@pytest.mark.parametrize("config", ["voc_semiconv", "voc_paper"])
def test_the_voc_configs_build_the_paper_s_subnet(config):
    """1×1 (256) → ReLU → 3×3 → 8, one set of weights for every level, a tenth of the gradient."""
    cfg = load_config(semiconv_d2.get_config_file(config), ["MODEL.WEIGHTS", ""])
    assert cfg.MODEL.RESNETS.DEPTH == 101
    model = build_model(cfg)
    heads = model.roi_heads
    assert isinstance(heads, SemiConvROIHeads)
    branch = heads.mask_branch
    first, between, second = branch.embedding_head.children()
    assert isinstance(first, torch.nn.Conv2d)
    assert isinstance(between, torch.nn.ReLU)
    assert isinstance(second, torch.nn.Conv2d)
    assert (first.in_channels, first.out_channels, first.kernel_size) == (256, 256, (1, 1))
    assert (second.in_channels, second.out_channels, second.kernel_size) == (256, 8, (3, 3))
    assert len([m for m in model.modules() if isinstance(m, EmbeddingHead)]) == 1
    assert branch.embedding_head.gradient_scale == 0.1
    assert branch.embedding_loss_weight > 0
    assert branch.kernel_loss_weight > 0
    assert branch.rescores
    assert heads.mask_in_features == ["p2", "p3", "p4", "p5"]
    assert branch.region_embedding.shares_a_map == (config == "voc_semiconv")
    assert branch.region_embedding.pooler.output_size == (28, 28)
    maps = branch.embedding_head([torch.zeros(1, 256, s, s) for s in (16, 8, 4, 2)])
    sides = (16,) if config == "voc_semiconv" else (16, 8, 4, 2)
    assert [x.shape[1:] for x in maps] == [(8, s, s) for s in sides]
    assert len(model.backbone.bottom_up.res4) == 23


@pytest.mark.parametrize("levels", [(), ASSIGNED])
def test_every_level_teaches_the_subnet(make_model, make_batch, losses_of, levels):
    """Regions of all sizes: the losses of the embedding reach every level of the FPN."""
    model, batch = make_model(*levels, "MODEL.SEMICONV.GRADIENT_SCALE", 1.0), make_batch(3)
    torch.nn.init.normal_(model.roi_heads.mask_branch.embedding_head.embedding.weight, std=0.1)
    gradients, _ = fpn_gradients(model, batch, losses_of, ["loss_embedding", "loss_kernel"])
    reached = {name for name, g in gradients.items() if g.any()}
    assert reached == ({"p2", "p3", "p4", "p5"} if not levels else {"p2"}), "boxes of 36 pixels"


def test_all_levels_share_the_weights():
    head = EmbeddingHead(in_channels=16, hidden_dim=8, embedding_dim=4)
    torch.nn.init.normal_(head.embedding.weight)
    x = torch.randn(1, 16, 10, 12)
    fine, coarse = head([x, x])
    assert fine.shape == (1, 4, 10, 12)
    assert torch.equal(fine, coarse)


def fpn_gradients(model, batch, losses_of, names):
    """Gradients of the named losses at the FPN's output, for each level."""
    features = {}

    def keep(_module, _inputs, output):
        for name, x in output.items():
            x.retain_grad()
            features[name] = x

    handle = model.backbone.register_forward_hook(keep)
    losses = losses_of(model, batch)
    handle.remove()
    sum(losses[name] for name in names).backward()
    return {name: x.grad for name, x in features.items() if x.grad is not None}, losses


@pytest.mark.parametrize("levels", [(), ASSIGNED])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0])
def test_gradient_into_the_fpn_is_scaled(make_model, make_batch, losses_of, scale, levels):
    one = make_model(*levels, "MODEL.SEMICONV.GRADIENT_SCALE", 1.0)
    scaled = make_model(*levels, "MODEL.SEMICONV.GRADIENT_SCALE", scale, like=one)
    for model in (one, scaled):
        torch.manual_seed(4)
        torch.nn.init.normal_(model.roi_heads.mask_branch.embedding_head.embedding.weight, std=0.1)
    batch = make_batch(3, 2)
    # The embedding loss reaches the FPN through the subnet alone.
    whole, expected = fpn_gradients(one, batch, losses_of, ["loss_embedding"])
    part, found = fpn_gradients(scaled, batch, losses_of, ["loss_embedding"])
    assert any(g.abs().max() > 0 for g in whole.values())
    assert bool(part) == (scale > 0)
    for name in part:
        torch.testing.assert_close(part[name], whole[name] * scale, rtol=1e-4, atol=1e-7)
    # Nothing else changes: neither any loss nor the gradient of the subnet's own weights.
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for a, b in zip(
        scaled.roi_heads.mask_branch.embedding_head.parameters(),
        one.roi_heads.mask_branch.embedding_head.parameters(),
        strict=True,
    ):
        assert torch.equal(a.grad, b.grad)


def test_the_rest_of_the_fpn_s_gradient_is_untouched(make_model, make_batch, losses_of):
    """What is left at scale 0 is what the other paths give; what scale 0.1 adds is a tenth of
    what scale 1 adds."""
    gradients = []
    for scale in (0.0, 0.1, 1.0):
        model = make_model("MODEL.SEMICONV.GRADIENT_SCALE", scale)
        torch.manual_seed(4)
        torch.nn.init.normal_(model.roi_heads.mask_branch.embedding_head.embedding.weight, std=0.1)
        gradients.append(fpn_gradients(model, make_batch(3), losses_of, LOSSES)[0]["p2"])
    none, tenth, whole = gradients
    assert (whole - none).abs().max() > 1e-4
    torch.testing.assert_close(tenth - none, 0.1 * (whole - none), atol=1e-7, rtol=1e-3)


# --- All that a Detectron2 model can be asked for.


@pytest.mark.parametrize("masks", ["bitmask", "polygon"])
@pytest.mark.parametrize(
    ("classes", "agnostic"), [(1, False), (3, False), (3, True), (80, False), (80, True)]
)
def test_classes_and_kinds_of_masks(
    make_model, make_batch, losses_of, predict, classes, agnostic, masks
):
    model = make_model(
        "MODEL.ROI_HEADS.NUM_CLASSES", classes, "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", agnostic
    )
    batch = make_batch(3, 2, num_classes=classes, masks=masks)
    losses = losses_of(model, batch)
    assert set(losses) == LOSSES
    assert all(torch.isfinite(x) and x.requires_grad for x in losses.values())
    for image, found in zip(batch, predict(model, batch), strict=True):
        assert found.pred_masks.shape == (len(found), image["height"], image["width"])


def test_bit_masks_and_polygons_give_the_same_losses(make_model, make_batch, losses_of):
    """The squares lie on whole pixels, where both kinds of masks are exact."""
    model = make_model()
    bits = losses_of(model, make_batch(4, masks="bitmask"))
    polygons = losses_of(model, make_batch(4, masks="polygon"))
    for name in LOSSES:
        torch.testing.assert_close(bits[name], polygons[name], atol=0.02, rtol=0.02)


@pytest.mark.parametrize("pooled", [7, 14])
def test_mask_resolutions(make_model, make_batch, losses_of, pooled):
    model = make_model("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", pooled)
    batch = make_batch(2)
    assert set(losses_of(model, batch)) == LOSSES
    raw = model.eval().inference(batch, do_postprocess=False)[0].pred_masks
    assert raw.shape[-2:] == (2 * pooled,) * 2


@pytest.mark.parametrize(
    "options",
    [
        PAPER,
        ALONE,
        ASSIGNED,
        ("MODEL.SEMICONV.MIXING", "none"),
        ("MODEL.SEMICONV.KERNEL", "gaussian"),
        ("MODEL.SEMICONV.EMBEDDING_DIM", 2),
        ("MODEL.SEMICONV.GAIN", "fixed"),
        ("MODEL.SEMICONV.GRADIENT_SCALE", 0.0),
        ("MODEL.SEMICONV.HIDDEN_DIM", 0),
    ],
)
def test_every_option_trains_and_predicts(make_model, make_batch, losses_of, options):
    model = make_model(*options)
    batch = make_batch(3, 0)
    losses = losses_of(model, batch)
    assert set(losses) == LOSSES
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in new_parameters(model).values())
    with torch.no_grad():
        found = model.eval().inference(batch, do_postprocess=False)
    assert all(x.pred_masks.isfinite().all() for x in found)


@pytest.mark.parametrize(
    "key",
    ["MIXING", "KERNEL", "GAIN", "EMBEDDING_LEVELS"],
)
def test_a_wrong_word_names_key_and_choices(make_model, key):
    with pytest.raises(ValueError, match=rf"{key} is 'wrong'; it must be one of '"):
        make_model(f"MODEL.SEMICONV.{key}", "wrong")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SIGMA_INIT", 0.0),
        ("SIGMA_INIT", float("nan")),
        ("EMBEDDING_DIM", 1),
        ("KERNEL_LOSS_WEIGHT", -1.0),
        ("EMBEDDING_LOSS_WEIGHT", float("nan")),
    ],
)
def test_a_wrong_number_names_its_key(make_model, key, value):
    with pytest.raises(ValueError, match=key):
        make_model(f"MODEL.SEMICONV.{key}", value)


@pytest.mark.parametrize("counts", [(0, 0), (0, 3)])
@pytest.mark.parametrize(
    "options",
    [
        (),
        PAPER,
        LOG_K,
        ASSIGNED,
        ("MODEL.SEMICONV.RESCORE", False),
    ],
)
def test_images_without_instances(make_model, make_batch, losses_of, counts, options):
    model = make_model(*options)
    losses = losses_of(model, make_batch(*counts))
    assert set(losses) == LOSSES
    assert all(torch.isfinite(x) and x.requires_grad for x in losses.values())
    if not any(counts):
        assert losses["loss_embedding"] == losses["loss_kernel"] == losses["loss_mask"] == 0
    # Every parameter has a gradient, as in any other batch, or processes would wait forever.
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_no_detection(make_model, make_batch, predict):
    model = make_model("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 1.0)
    [found] = predict(model, make_batch(1))
    assert len(found) == 0
    assert found.pred_masks.shape[0] == 0


def test_masks_switched_off(make_model, make_batch, losses_of, predict):
    model = make_model("MODEL.MASK_ON", False)
    assert not new_parameters(model)
    batch = make_batch(2)
    assert set(losses_of(model, batch)) == STOCK_LOSSES - {"loss_mask"}
    assert not predict(model, batch)[0].has("pred_masks")


def test_frozen_backbone(make_model, make_batch, losses_of):
    model = make_model()
    for p in model.backbone.parameters():
        p.requires_grad_(False)
    sum(losses_of(model, make_batch(2)).values()).backward()
    assert all(p.grad is not None for p in new_parameters(model).values())
    assert all(p.grad is None for p in model.backbone.parameters())


def test_test_time_augmentation(make_cfg, make_model, make_batch):
    sizes = ("TEST.AUG.MIN_SIZES", (64, 96))
    augmented = GeneralizedRCNNWithTTA(make_cfg(*sizes), make_model(*sizes).eval())
    batch = [{k: v for k, v in x.items() if k != "instances"} for x in make_batch(1)]
    with torch.no_grad():
        found = augmented(batch)[0]["instances"]
    assert len(found) > 0
    assert found.pred_masks.shape[1:] == (96, 96)


@pytest.mark.parametrize("rescore", [True, False])
def test_cascade(make_model, make_batch, losses_of, predict, rescore):
    model = make_model(
        "MODEL.ROI_HEADS.NAME", "SemiConvCascadeROIHeads",
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True,
        "MODEL.SEMICONV.RESCORE", rescore,
    )  # fmt: skip
    batch = make_batch(3, 0)
    assert {"loss_mask", "loss_embedding", "loss_kernel"} < set(losses_of(model, batch))
    assert all(x.has("pred_masks") for x in predict(model, batch))


def test_cascade_switched_off_is_the_stock_cascade(make_model, make_batch, losses_of, predict):
    agnostic = ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True)
    stock = make_model("MODEL.ROI_HEADS.NAME", "CascadeROIHeads", *agnostic)
    off = make_model("MODEL.ROI_HEADS.NAME", "SemiConvCascadeROIHeads", *agnostic, *OFF)
    batch = make_batch(2, 1)
    expected, found = losses_of(stock, batch), losses_of(off, batch)
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert_same_predictions(predict(off, batch), predict(stock, batch))


def test_panoptic_fpn(make_model, make_batch, losses_of, predict):
    model = make_model(
        "MODEL.META_ARCHITECTURE", "PanopticFPN",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32,
    )  # fmt: skip
    batch = make_batch(2)
    batch[0]["sem_seg"] = torch.zeros(96, 96, dtype=torch.int64)
    assert set(losses_of(model, batch)) == LOSSES | {"loss_sem_seg"}
    assert predict(model, batch)[0].has("pred_masks")


C4 = (
    "MODEL.BACKBONE.NAME", "build_resnet_backbone",
    "MODEL.RESNETS.OUT_FEATURES", ["res4"],
    "MODEL.RPN.IN_FEATURES", ["res4"],
    "MODEL.ROI_HEADS.IN_FEATURES", ["res4"],
    "MODEL.ANCHOR_GENERATOR.SIZES", [[32, 64]],
)  # fmt: skip


def test_a_single_level_without_fpn(make_model, make_batch, losses_of, predict):
    model, batch = make_model(*C4), make_batch(2, 0)
    assert set(losses_of(model, batch)) == LOSSES
    assert predict(model, batch)[0].has("pred_masks")


def test_c4_heads_are_refused(make_model):
    with pytest.raises(ValueError, match=r"ROI_BOX_HEAD.NAME is empty, as in C4"):
        make_model(*C4, "MODEL.ROI_BOX_HEAD.NAME", "")
    with pytest.raises(TypeError, match=r"C4Heads cannot be semi-convolutional.*Res5ROIHeads"):
        type("C4Heads", (SemiConvMixin, Res5ROIHeads), {})


def test_a_mask_branch_that_would_be_replaced_is_refused():
    class Own(StandardROIHeads):
        def _forward_mask(self, features, instances):
            return super()._forward_mask(features, instances)

    with pytest.raises(TypeError, match=r"Mine cannot be.*Own has a _forward_mask of its own"):
        type("Mine", (SemiConvMixin, Own), {})
    type("Mine", (SemiConvMixin, StandardROIHeads), {"_forward_mask": Own._forward_mask})
    type("Mine", (SemiConvMixin, CascadeROIHeads), {})


def test_mask_heads_of_another_kind_are_refused(make_cfg):
    pytest.importorskip("cv2")
    from detectron2.projects.point_rend import add_pointrend_config

    cfg = make_cfg().clone()
    cfg.defrost()
    add_pointrend_config(cfg)
    cfg.MODEL.ROI_MASK_HEAD.merge_from_other_cfg(
        type(cfg)({"NAME": "PointRendMaskHead", "POOLER_TYPE": ""})
    )
    cfg.MODEL.POINT_HEAD.NUM_CLASSES = 1
    with pytest.raises(
        TypeError, match="masks of PointRendMaskHead cannot be rescored: SemiConv needs"
    ):
        build_model(cfg)


@pytest.mark.parametrize("pooler", ["ROIAlign", "ROIPool"])
def test_poolers_that_move_boxes_are_refused(make_model, pooler):
    with pytest.raises(ValueError, match="POOLER_TYPE to 'ROIAlignV2'"):
        make_model("MODEL.ROI_MASK_HEAD.POOLER_TYPE", pooler)


def test_the_mixin_extends_heads_of_one_s_own(make_cfg, make_batch, losses_of):
    parent = ROI_HEADS_REGISTRY.get("StandardROIHeads")

    class OwnHeads(parent):
        def _forward_box(self, features, proposals):
            losses = super()._forward_box(features, proposals)
            if self.training:
                losses["loss_own"] = losses["loss_cls"] * 0
            return losses

    name = "OwnSemiConvROIHeads"
    if name not in ROI_HEADS_REGISTRY:
        ROI_HEADS_REGISTRY.register(type(name, (SemiConvMixin, OwnHeads), {}))
    model = build_model(make_cfg("MODEL.ROI_HEADS.NAME", name))
    assert set(losses_of(model, make_batch(2))) == LOSSES | {"loss_own"}


def test_autocast_in_bfloat16(make_model, make_batch, losses_of, predict):
    model, batch = make_model(*LEARNED), make_batch(3, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(model, batch)
        sum(losses.values()).backward()
        found = predict(model, batch)
    assert set(losses) == LOSSES
    assert all(torch.isfinite(x) for x in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in new_parameters(model).values())
    assert len(found[0]) > 0


@pytest.mark.filterwarnings("ignore")  # of the tracer, about Detectron2's assertions
@pytest.mark.parametrize("competition", [False, True])
def test_tracing_serves_other_sizes_and_no_boxes(make_model, competition):
    """Mask branch alone, given boxes: what export needs of the plugin."""
    options = ("MODEL.ROI_HEADS.NUM_CLASSES", 3, *(() if competition else ASSIGNED))
    heads = make_model(*options).roi_heads.eval().requires_grad_(False)
    torch.nn.init.normal_(heads.mask_head.predictor.weight)
    heads.mask_branch.seed_kernel.gain.set(1.0)

    class MaskBranch(torch.nn.Module):
        def forward(self, p2, p3, p4, p5, boxes, classes):
            instances = Instances((128, 128))
            instances.pred_boxes, instances.pred_classes = Boxes(boxes), classes
            features = {"p2": p2, "p3": p3, "p4": p4, "p5": p5}
            return heads.forward_with_given_boxes(features, [instances])[0].pred_masks

    def inputs(count, size):
        corners = torch.rand(count, 2) * size / 2
        boxes = torch.cat([corners, corners + 10 + torch.rand(count, 2) * size / 3], dim=1)
        maps = [torch.randn(1, 64, size // s, size // s) for s in (4, 8, 16, 32)]
        return *maps, boxes, torch.arange(count) % 3

    with torch.no_grad(), patch_builtin_len():
        traced = torch.jit.trace(MaskBranch(), inputs(6, 128), check_trace=False)
        for count, size in ((6, 128), (1, 128), (9, 256), (0, 192)):
            given = inputs(count, size)
            torch.testing.assert_close(traced(*given), MaskBranch()(*given))


# --- Geometry.


@pytest.mark.parametrize("levels", ["assigned", "summed"])
def test_log_kernel_moves_with_the_image(make_model, levels):
    """FPN tensors and boxes moved by the coarsest stride, away from the border: log K stays."""
    model = make_model(*ALONE, "MODEL.SEMICONV.EMBEDDING_LEVELS", levels)
    heads = model.roi_heads.eval()
    torch.nn.init.normal_(heads.mask_branch.embedding_head.embedding.weight, std=0.1)
    shift, size = 32, 512
    strides = dict(zip(("p2", "p3", "p4", "p5"), (4, 8, 16, 32), strict=True))
    whole = {
        name: torch.randn(1, 64, (size + shift) // s, (size + shift) // s)
        for name, s in strides.items()
    }
    # On three levels: areas below 112², up to 224², above.
    boxes = torch.tensor([[130.0, 140, 171, 233], [150, 120, 310, 290], [128, 100, 400, 390]])
    logits = torch.randn(3, 28, 28)
    log_kernels = []
    for offset in (0, shift):
        features = {
            name: x[:, :, offset // strides[name] :, offset // strides[name] :][
                :, :, : size // strides[name], : size // strides[name]
            ]
            for name, x in whole.items()
        }
        with torch.no_grad():
            scene = heads.scene(features)
            masks = heads.mask_branch.rescore(scene, logits, [Boxes(boxes - offset)])
            log_kernels.append(masks.log_kernel)
    assert log_kernels[0].std() > 0.01
    torch.testing.assert_close(*log_kernels, atol=1e-4, rtol=1e-4)


# --- Ground truth.


def test_ground_truth_is_cropped_once(make_model, make_batch, losses_of, monkeypatch):
    calls = []
    original = ground_truth._crop

    def counted(masks, boxes, *options):
        calls.append(len(boxes))
        return original(masks, boxes, *options)

    monkeypatch.setattr(ground_truth, "_crop", counted)
    losses_of(make_model(), make_batch(3))
    # Once for the regions, which mask loss and kernel loss share; once for the whole instances.
    assert len(calls) == 2
    assert 3 in calls


@pytest.mark.parametrize("competition", [False, True])
def test_own_heads_that_drop_features_get_a_clear_error(
    make_model, make_batch, losses_of, competition
):
    model = make_model("MODEL.SEMICONV.COMPETITION", competition)
    original = model.roi_heads._forward_mask
    model.roi_heads._forward_mask = lambda features, instances: original(
        {name: features[name] for name in ("p2", "p3", "p4", "p5")}, instances
    )
    with pytest.raises(KeyError, match="must pass on the whole dictionary"):
        losses_of(model, make_batch(2))


def test_coverage_is_computed_only_for_losses_that_read_it(make_model, make_batch, losses_of):
    model = make_model(*OFF, *ALONE, "MODEL.SEMICONV.RESCORE", True)
    batch = make_batch(2)
    batch[0]["instances"].gt_masks = OpaqueMasks(batch[0]["instances"].gt_masks)
    assert set(losses_of(model, batch)) == STOCK_LOSSES


class OpaqueMasks:
    """Masks of a kind that the plugin does not know, but that can be cropped."""

    def __init__(self, masks):
        self.masks = masks

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, index):
        return OpaqueMasks(self.masks[index])

    def to(self, *args, **kwargs):
        return self

    def crop_and_resize(self, boxes, side):
        return self.masks.crop_and_resize(boxes, side)


def test_weight_of_the_mask_head_is_honoured(make_model, make_batch, losses_of):
    one = make_model()
    other = make_model(like=one)
    other.roi_heads.mask_head.loss_weight = 2.5
    batch = make_batch(3)
    a, b = losses_of(one, batch), losses_of(other, batch)
    torch.testing.assert_close(b["loss_mask"], 2.5 * a["loss_mask"])
    assert torch.equal(b["loss_kernel"], a["loss_kernel"])


# --- What training leaves behind.


def storage_after(model, batch, iteration):
    model.train()
    with EventStorage(iteration) as storage:
        model(batch)
    return storage


def test_sigma_and_gain_go_to_the_event_storage(make_model, make_batch):
    model, batch = make_model(*LEARNED), make_batch(2)
    with torch.no_grad():
        model.roi_heads.mask_branch.seed_kernel.gain.set(0.25)
    latest = storage_after(model, batch, 19).latest()
    assert latest["semiconv/sigma"][0] == pytest.approx(
        model.roi_heads.mask_branch.seed_kernel.sigma.item()
    )
    assert latest["semiconv/gain"][0] == 0.25
    assert "semiconv/sigma" not in storage_after(model, batch, 18).latest()


def test_pictures_at_vis_period(make_model, make_batch):
    pytest.importorskip("cv2")
    model, batch = make_model("VIS_PERIOD", 10), make_batch(3)
    pictures = [
        image
        for name, image, _ in storage_after(model, batch, 10)._vis_data
        if name.startswith("semiconv")
    ]
    assert len(pictures) == 1
    assert pictures[0].dtype == torch.uint8
    assert pictures[0].shape[0] == 3
    assert not storage_after(model, batch, 11)._vis_data


# --- Masks: scores, exclusive ones; on stock models and on semi-convolutional ones.


@pytest.mark.parametrize("off", [(), OFF])
def test_mask_score_is_the_expected_iou_of_the_mask(make_model, make_batch, predict, off):
    plain = make_model(*off)
    torch.nn.init.normal_(plain.roi_heads.mask_head.predictor.weight)
    scored = make_model(*off, "MODEL.SEMICONV.MASK_SCORE", True, like=plain)
    batch = make_batch(2)
    [expected], [found] = predict(plain, batch), predict(scored, batch)
    with torch.no_grad():
        [raw] = plain.inference(batch, do_postprocess=False)
    factor = semiconv_d2.ops.expected_iou(raw.pred_masks[:, 0])
    assert (factor < 1).any()
    scores, order = (expected.scores * factor).sort(descending=True)
    assert torch.equal(found.scores, scores)
    assert torch.equal(found.get("class_scores"), expected.scores[order])
    assert torch.equal(found.pred_masks, expected.pred_masks[order])


def test_mask_scores_are_made_once_and_boxes_may_come_without_scores(make_model, make_batch):
    model = make_model("MODEL.SEMICONV.MASK_SCORE", True).eval()
    model.roi_heads.mask_branch.seed_kernel.gain.set(1.0)
    with torch.no_grad():
        [found] = model.inference(make_batch(2), do_postprocess=False)
        features = model.backbone(model.preprocess_image(make_batch(2)).tensor)
        [again] = model.roi_heads.forward_with_given_boxes(features, [copy.deepcopy(found)])
        bare = Instances(found.image_size)
        bare.pred_boxes, bare.pred_classes = found.pred_boxes, found.pred_classes
        [bare] = model.roi_heads.forward_with_given_boxes(features, [bare])
    torch.testing.assert_close(again.scores, found.scores)
    assert torch.equal(again.get("class_scores"), found.get("class_scores"))
    assert bare.has("pred_masks")
    assert not bare.has("scores")


def test_exclusive_masks_have_no_pixel_in_common(make_model, make_batch, predict):
    plain = make_model(*OFF)
    torch.nn.init.normal_(plain.roi_heads.mask_head.predictor.weight, std=3.0)
    exclusive = make_model(*OFF, "MODEL.SEMICONV.EXCLUSIVE_MASKS", True, like=plain)
    batch = make_batch(3)
    [expected], [found] = predict(plain, batch), predict(exclusive, batch)
    assert expected.pred_masks.sum(dim=0).max() > 1
    assert torch.equal(found.pred_masks.sum(dim=0), expected.pred_masks.any(dim=0).long())
    assert not (found.pred_masks & ~expected.pred_masks).any()
    assert torch.equal(found.scores, expected.scores)


@pytest.mark.filterwarnings("ignore")  # of the tracer, about Detectron2's assertions
def test_a_traced_model_has_mask_scores_and_no_exclusive_masks(make_model, make_batch):
    model = make_model("MODEL.SEMICONV.MASK_SCORE", True).eval().requires_grad_(False)
    inputs = [{"image": x["image"]} for x in make_batch(2)]

    def infer(model, inputs):
        return [{"instances": x} for x in model.inference(inputs, do_postprocess=False)]

    adapter = TracingAdapter(model, inputs, infer)
    with patch_builtin_len():
        traced = torch.jit.trace(adapter, adapter.flattened_inputs, check_trace=False)
    [found] = adapter.outputs_schema(traced(*adapter.flattened_inputs))
    [expected] = infer(model, inputs)
    found, expected = found["instances"], expected["instances"]
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.pred_masks, expected.pred_masks)
    model.roi_heads.exclusive_masks = True
    with pytest.raises(ValueError, match=r"cannot be traced.*EXCLUSIVE_MASKS False"):
        torch.jit.trace(
            TracingAdapter(model, inputs, lambda model, inputs: infer(model, inputs)[0]),
            adapter.flattened_inputs,
        )


def test_test_time_augmentation_with_all_options_of_masks(make_cfg, make_model, make_batch):
    options = (
        "MODEL.SEMICONV.MASK_SCORE", True, "MODEL.SEMICONV.EXCLUSIVE_MASKS", True,
        "TEST.AUG.MIN_SIZES", (80, 96),
    )  # fmt: skip
    model = make_model(*options).eval()
    with torch.no_grad():
        [found] = GeneralizedRCNNWithTTA(make_cfg(*options), model)(
            [{k: v for k, v in x.items() if k != "instances"} for x in make_batch(2)]
        )
    masks = found["instances"].pred_masks
    assert len(masks)
    assert masks.shape[1:] == (96, 96)


def test_prediction_takes_few_operations_more(make_model, make_batch, predict, monkeypatch):
    """A fast GPU waits for the next kernel most of the time, so that their number is what counts;
    the stock model has about a thousand."""

    def as_on_a_gpu(maps, weight, bias):
        return [torch.nn.functional.conv2d(x, weight, bias, padding=1) for x in maps]

    monkeypatch.setattr(embedding_head, "shifted_convolution", as_on_a_gpu)
    stock = make_model(*STOCK)
    batch = make_batch(3)
    counts = []
    for model in (stock, make_model(like=stock)):
        predict(model, batch)
        counts.append(count_operations(partial(predict, model, batch)))
    assert counts[1] - counts[0] <= 80, counts


@pytest.mark.parametrize("options", [(), PAPER])
def test_predicting_uses_no_operation_that_onnx_lacks(make_model, make_batch, predict, options):
    """The two that stopped an export, and that have equivalents."""
    seen = set()

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            seen.add(str(operation))
            return operation(*args, **(kwargs or {}))

    model, batch = make_model(*options), make_batch(3)
    with Names():
        predict(model, batch)
    assert "aten._softmax.default" in seen
    assert not seen & {"aten.expm1.default", "aten.fill_diagonal_.default"}
