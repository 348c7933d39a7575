"""Small models and made-up batches."""

from __future__ import annotations

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage

import semiconv_d2
from semiconv_d2.training import load_config

SIZE = 96


@pytest.fixture
def make_cfg():
    """The demo's config, smaller still and with all losses; overrides: KEY VALUE KEY VALUE …"""

    def make(*overrides) -> CfgNode:
        smaller = (
            "MODEL.DEVICE", "cpu",
            "MODEL.WEIGHTS", "",
            "MODEL.RESNETS.DEPTH", 50,
            "MODEL.RPN.POST_NMS_TOPK_TRAIN", 20,
            "MODEL.RPN.POST_NMS_TOPK_TEST", 20,
            "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16,
            "MODEL.ROI_BOX_HEAD.FC_DIM", 16,
            "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0,
            "TEST.DETECTIONS_PER_IMAGE", 5,
            "INPUT.MIN_SIZE_TEST", SIZE,
            "MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT", 1.0,
        )  # fmt: skip
        return load_config(semiconv_d2.get_config_file("demo_semiconv"), [*smaller, *overrides])

    return make


@pytest.fixture
def make_model(make_cfg):
    """A model of `make_cfg`, the same weights at every call."""

    def make(*overrides, like: torch.nn.Module | None = None) -> torch.nn.Module:
        torch.manual_seed(1)
        model = build_model(make_cfg(*overrides))
        if like is not None:
            _missing, unexpected = model.load_state_dict(like.state_dict(), strict=False)
            assert not unexpected
        return model

    return make


def squares(height: int, width: int, num: int, num_classes: int, masks: str) -> Instances:
    """Overlapping squares along the diagonal."""
    step, side = 12, 36
    boxes = torch.tensor([[8.0 + step * i] * 2 + [8.0 + step * i + side] * 2 for i in range(num)])
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(boxes)
    instances.gt_classes = torch.arange(num) % num_classes
    if masks == "bitmask":
        bits = torch.zeros(num, height, width, dtype=torch.bool)
        for bit, (x0, y0, x1, y1) in zip(bits, boxes.int().tolist(), strict=True):
            bit[y0:y1, x0:x1] = True
        instances.gt_masks = BitMasks(bits)
    else:
        instances.gt_masks = PolygonMasks(
            [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes.tolist()]
        )
    return instances


def no_instances(height: int, width: int) -> Instances:
    """As Detectron2's mapper gives an image without annotations: no `gt_masks` at all."""
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.zeros(0, 4))
    instances.gt_classes = torch.zeros(0, dtype=torch.int64)
    return instances


@pytest.fixture
def make_batch():
    """Inputs of a model in training, one image for each count of instances."""

    def make(*counts: int, num_classes: int = 1, masks: str = "bitmask") -> list[dict]:
        generator = torch.Generator().manual_seed(2)
        batch = []
        for i, count in enumerate(counts):
            height, width = SIZE + 16 * i, SIZE  # of different sizes
            image = torch.randint(0, 256, (3, height, width), generator=generator)
            instances = (
                squares(height, width, count, num_classes, masks)
                if count
                else no_instances(height, width)
            )
            batch.append(
                {
                    "image": image.to(torch.uint8),
                    "height": height,
                    "width": width,
                    "instances": instances,
                }
            )
        return batch

    return make


@pytest.fixture
def losses_of():
    """Losses of one training step, with the random choices of the sampling repeated."""

    def run(model: torch.nn.Module, batch: list[dict]) -> dict[str, torch.Tensor]:
        model.train()
        torch.manual_seed(3)
        with EventStorage():
            return model(batch)

    return run


@pytest.fixture
def predict():
    def run(model: torch.nn.Module, batch: list[dict]) -> list[Instances]:
        model.eval()
        with torch.no_grad():
            return [output["instances"] for output in model(batch)]

    return run
