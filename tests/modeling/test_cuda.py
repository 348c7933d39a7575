"""On a GPU as on the CPU. Without one everything here is skipped."""

import pytest
import torch
from detectron2.engine import AMPTrainer
from detectron2.modeling import GeneralizedRCNNWithTTA, build_model
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage

import semiconv_d2
from semiconv_d2.config import read_preset
from semiconv_d2.training import load_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

LOSSES = ("loss_mask", "loss_kernel", "loss_embedding")
GPU = ("MODEL.DEVICE", "cuda")
VARIANTS = {
    "defaults": (),
    "without competition": ("MODEL.SEMICONV.COMPETITION", False),
    "the paper": tuple(x for pair in read_preset("paper").items() for x in pair),
    "mask score": ("MODEL.SEMICONV.MASK_SCORE", True),
    "cascade": (
        *("MODEL.ROI_HEADS.NAME", "SemiConvCascadeROIHeads"),
        *("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
    ),
}
OPTIONS_OF_MASKS = (
    *("MODEL.SEMICONV.MASK_SCORE", True, "MODEL.SEMICONV.EXCLUSIVE_MASKS", True),
    *("TEST.AUG.MIN_SIZES", (64,)),
)


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def heads(request, make_model):
    """The same ROI heads on the CPU and on the GPU, with masks that are not all alike."""
    on_cpu = make_model(*request.param)
    torch.nn.init.normal_(on_cpu.roi_heads.mask_head.predictor.weight, std=0.3)
    if on_cpu.roi_heads.mask_branch.seed_kernel.gain is not None:
        on_cpu.roi_heads.mask_branch.seed_kernel.gain.set(0.5)
    on_gpu = make_model(*request.param, *GPU, like=on_cpu)
    return on_cpu.roi_heads, on_gpu.roi_heads


def maps() -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(2, 64, 128 // stride, 96 // stride)
        for name, stride in (("p2", 4), ("p3", 8), ("p4", 16), ("p5", 32))
    }


def boxes_near(instances: Instances) -> torch.Tensor:
    boxes = instances.gt_boxes.tensor.repeat(3, 1)
    return boxes + torch.randint(-3, 4, boxes.shape)


def test_masks(heads, make_batch):
    features = maps()
    masks, scores = [], []
    given = [boxes_near(image["instances"]) for image in make_batch(3, 2)]
    for own, device in zip(heads, ("cpu", "cuda"), strict=True):
        instances = [
            Instances(
                (96 + 16 * i, 96),
                pred_boxes=Boxes(boxes),
                pred_classes=torch.zeros(len(boxes), dtype=torch.long),
                scores=torch.linspace(0.9, 0.5, len(boxes)),
            ).to(device)
            for i, boxes in enumerate(given)
        ]
        there = {name: value.to(device) for name, value in features.items()}
        with torch.no_grad():
            found = own.eval().forward_with_given_boxes(there, instances)
        assert {x.pred_masks.device.type for x in found} == {device}
        masks.append([x.pred_masks.cpu() for x in found])
        scores.append([x.scores.cpu() for x in found])
    torch.testing.assert_close(masks[1], masks[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-3, atol=1e-4)


def test_losses_and_gradients(heads, make_batch):
    """With so few proposals that none is left to chance."""
    features, batch = maps(), make_batch(3, 2)
    given = [boxes_near(image["instances"]) for image in batch]
    losses, gradients = [], []
    for own, device in zip(heads, ("cpu", "cuda"), strict=True):
        own.train().batch_size_per_image = 512
        there = {n: x.detach().to(device).requires_grad_() for n, x in features.items()}
        proposals = [
            Instances(
                image["instances"].image_size,
                proposal_boxes=Boxes(boxes),
                objectness_logits=torch.zeros(len(boxes)),
            ).to(device)
            for image, boxes in zip(batch, given, strict=True)
        ]
        targets = [image["instances"].to(device) for image in batch]
        images = ImageList(torch.zeros(2, 3, 128, 96), [x.image_size for x in proposals])
        with EventStorage():
            _, found = own(images, there, proposals, targets)
        found = {name: found[name] for name in LOSSES}
        gradient = torch.autograd.grad(sum(found.values()), list(there.values()))
        gradients.append([g.cpu() for g in gradient])
        losses.append({n: x.detach().cpu() for n, x in found.items()})
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_mixed_precision_trains(make_model, make_batch, precision):
    """Detectron2's own trainer, with what its GradScaler leaves of the gradients."""
    model = make_model(*GPU).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cuda", init_scale=128.0)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with EventStorage() as storage:
        trainer = AMPTrainer(
            model, _forever(make_batch(3, 2)), optimizer, grad_scaler=scaler, precision=precision
        )
        for trainer.iter in range(3):
            trainer.run_step()
        losses = {n: x for n, (x, _) in storage.latest().items() if "loss" in n}
    assert set(LOSSES) <= set(losses)
    assert all(x == x and abs(x) < 100 for x in losses.values())
    new = [n for n in before if "mask_branch" in n]
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        if name in new:
            assert not torch.equal(parameter, before[name]), name


def _forever(batch):
    while True:
        yield batch


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_mixed_precision_predicts(make_model, make_batch, predict, precision):
    model = make_model(*GPU, "MODEL.SEMICONV.MASK_SCORE", True)
    with torch.autocast("cuda", dtype=precision):
        found = predict(model, make_batch(3, 0))
    assert len(found[0]) > 0
    assert torch.isfinite(found[0].scores).all()


def test_all_options_of_masks_and_test_time_augmentation(make_cfg, make_model, make_batch, predict):
    options = (*GPU, *OPTIONS_OF_MASKS)
    model = make_model(*options)
    batch = make_batch(3)
    [found] = predict(model, batch)
    assert found.pred_masks.is_cuda
    assert found.pred_masks.sum(dim=0).max() <= 1
    augmented = GeneralizedRCNNWithTTA(make_cfg(*options), model.eval())
    with torch.no_grad():
        [output] = augmented([{k: v for k, v in batch[0].items() if k != "instances"}])
    assert len(output["instances"]) > 0


@pytest.mark.parametrize("decoder", ["greedy", "kmeans", "mean_shift"])
def test_instance_coloring(make_batch, losses_of, decoder):
    batch = [image | {"num_instances": 3} for image in make_batch(3, 2)]
    config = semiconv_d2.get_config_file("demo_coloring")
    losses, colors, states = [], [], None
    for device in ("cpu", "cuda"):
        overrides = ("MODEL.WEIGHTS", "", "MODEL.COLORING.DECODER", decoder)
        model = build_model(load_config(config, [*overrides, "MODEL.DEVICE", device]))
        states = states or model.state_dict()
        model.load_state_dict(states)
        losses.append({n: x.detach().cpu() for n, x in losses_of(model, batch).items()})
        model.load_state_dict(states)
        with torch.no_grad():
            colors.append([c.embedding.cpu() for c in model.eval().color(batch)])
            assert len(model(batch)) == 2
    torch.testing.assert_close(losses[1]["loss_embedding"], losses[0]["loss_embedding"])
    torch.testing.assert_close(colors[1], colors[0], rtol=1e-3, atol=1e-3)
