"""What `InstanceColoring` learns from."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from semiconv_d2.ops import kernel_cross_entropy, log_odds, segment_embedding_loss

LOSSES = {"loss_embedding", "loss_kernel"}
LEARNED = ("MODEL.COLORING.FOREGROUND", "learned")
MARGIN = ("MODEL.COLORING.MARGIN_LOSS_WEIGHT", 1.0)


def test_the_embedding_loss_is_equation_5(make_coloring, make_batch, losses_of):
    model = make_coloring()
    nn.init.normal_(model.embedding_head.embedding.weight, std=0.1)
    batch = make_batch(3, 2)
    found = losses_of(model, batch)["loss_embedding"]
    expected = []
    for coloring, x in zip(model.color(batch), batch, strict=True):
        masks = x["instances"].gt_masks.tensor
        own = masks & (masks.sum(dim=0) == 1)
        psi = coloring.embedding.expand(len(own), -1, -1, -1)
        expected.append(segment_embedding_loss(psi, own))
    torch.testing.assert_close(found, sum(expected) / 2)


def test_the_kernel_loss_compares_pixels_with_the_mean_of_each_instance(
    make_coloring, make_batch, losses_of
):
    model = make_coloring("MODEL.COLORING.MAX_PIXELS", 10**6)
    nn.init.normal_(model.embedding_head.embedding.weight, std=0.1)
    batch = make_batch(2)
    found = losses_of(model, batch)["loss_kernel"]
    [coloring] = model.color(batch)
    masks = batch[0]["instances"].gt_masks.tensor
    own = masks & (masks.sum(dim=0) == 1)
    anyone = own.any(dim=0)
    expected = []
    for mask in own:
        mean = coloring.embedding[:, mask].mean(dim=1)[:, None, None]
        distance = ((coloring.embedding - mean).square().sum(dim=0) + 1e-4).sqrt()
        log_k = -distance / model.kernel.sigma
        mean_loss = kernel_cross_entropy(log_odds(log_k[None]), mask[None], anyone[None])
        expected.append(mean_loss * anyone.sum() / mask.sum())
    torch.testing.assert_close(found, sum(expected) / 2)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), LOSSES),
        (LEARNED, LOSSES | {"loss_foreground"}),
        (MARGIN, LOSSES | {"loss_margin"}),
        (("MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", 0.0), {"loss_embedding"}),
        (("MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT", 0.0), {"loss_kernel"}),
    ],
)
@pytest.mark.parametrize("counts", [(3, 1), (0, 2), (0, 0)])
def test_losses_are_the_same_whatever_the_batch(
    make_coloring, make_batch, losses_of, overrides, expected, counts
):
    model = make_coloring(*overrides)
    losses = losses_of(model, make_batch(*counts))
    assert set(losses) == expected
    sum(losses.values()).backward()
    assert all(torch.isfinite(x) for x in losses.values())
    for name, p in model.named_parameters():
        if p.requires_grad and not name.startswith("backbone.fpn_output"):
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name


def test_loss_weights_scale_their_losses(make_coloring, make_batch, losses_of):
    one = losses_of(make_coloring(*MARGIN), make_batch(3))
    other = losses_of(
        make_coloring(
            "MODEL.COLORING.MARGIN_LOSS_WEIGHT", 3.0, "MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", 0.5
        ),
        make_batch(3),
    )  # fmt: skip
    torch.testing.assert_close(other["loss_margin"], 3 * one["loss_margin"])
    torch.testing.assert_close(other["loss_kernel"], 0.5 * one["loss_kernel"])
    assert torch.equal(other["loss_embedding"], one["loss_embedding"])


def test_shared_pixels_teach_nothing(make_coloring, make_batch, losses_of):
    """Two instances with the same mask have no pixel of their own."""
    model = make_coloring()
    batch = make_batch(2)
    masks = batch[0]["instances"].gt_masks.tensor
    masks[1] = masks[0]
    losses = losses_of(model, batch)
    assert all(x == 0 for x in losses.values())


def test_polygons_are_as_good_as_bit_masks(make_coloring, make_batch, losses_of):
    model = make_coloring(*LEARNED, "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    expected = losses_of(model, make_batch(3, 0, 1, num_classes=2))
    found = losses_of(model, make_batch(3, 0, 1, num_classes=2, masks="polygon"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_foreground_head_learns_each_class(make_coloring, make_batch, predict):
    model = make_coloring(*LEARNED, "MODEL.ROI_HEADS.NUM_CLASSES", 2)
    batch = make_batch(1, num_classes=2)
    batch[0]["instances"].gt_classes[:] = 1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    with EventStorage():
        for _ in range(25):
            optimizer.zero_grad()
            model.train()(batch)["loss_foreground"].backward()
            optimizer.step()
        [coloring] = model.color(batch)
    truth = batch[0]["instances"].gt_masks.tensor[0]
    assert ((coloring.foreground[1] > 0.5) == truth).float().mean() > 0.9
    assert coloring.foreground[0].max() < 0.5


def test_under_autocast_losses_and_instances_are_finite(make_coloring, make_batch, losses_of):
    model = make_coloring(*LEARNED, *MARGIN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(model, make_batch(3, 1))
        sum(losses.values()).backward()
        outputs = model.eval()(make_batch(2))
    assert all(x.dtype == torch.float32 and torch.isfinite(x) for x in losses.values())
    assert outputs[0]["instances"].pred_masks.dtype == torch.bool


@pytest.mark.parametrize("masks", [None, torch.ones(2, 96, 96)])
def test_masks_of_another_kind_name_the_image(make_coloring, make_batch, losses_of, masks):
    batch = make_batch(2)
    batch[0]["file_name"] = "strange.png"
    batch[0]["instances"].remove("gt_masks")
    if masks is not None:
        batch[0]["instances"].gt_masks = masks
    with pytest.raises(TypeError, match=r"strange\.png: gt_masks"):
        losses_of(make_coloring(), batch)
