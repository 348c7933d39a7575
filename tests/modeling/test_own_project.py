"""Two lines added to somebody's own Detectron2 project."""

from pathlib import Path

import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer

import semiconv_d2


@pytest.fixture
def coco_tiny(real_coco_tiny: Path):
    name = "semiconv_test_coco_tiny"
    register_coco_instances(
        name,
        {},
        str(real_coco_tiny / "annotations" / "instances_train2017.json"),
        str(real_coco_tiny / "train2017"),
    )
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_detectron2_s_own_trainer_on_coco(coco_tiny, tmp_path):
    """COCO photographs, polygon masks, 80 classes, Detectron2's config, loader and trainer."""
    cfg = get_cfg()
    semiconv_d2.add_semiconv_config(cfg)  # line one
    cfg.merge_from_file(
        model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")
    )
    cfg.MODEL.ROI_HEADS.NAME = "SemiConvROIHeads"  # line two
    # Nothing to do with the plugin: no GPU, no ImageNet weights, and little time.
    cfg.merge_from_list(
        ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RESNETS.NORM", "BN",
         "DATASETS.TRAIN", (coco_tiny,), "DATASETS.TEST", (), "INPUT.MIN_SIZE_TRAIN", (160,),
         "SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 3, "SOLVER.BASE_LR", 0.001,
         "DATALOADER.NUM_WORKERS", 0, "MODEL.BACKBONE.FREEZE_AT", 0,
         "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 32, "OUTPUT_DIR", str(tmp_path)]
    )  # fmt: skip
    trainer = DefaultTrainer(cfg)
    before = trainer.model.roi_heads.mask_branch.embedding_head.embedding.weight.detach().clone()
    trainer.train()
    latest = trainer.storage.latest()
    for name in ("loss_mask", "loss_kernel", "loss_embedding", "total_loss"):
        assert torch.isfinite(torch.tensor(latest[name][0]))
    assert not torch.equal(
        before, trainer.model.roi_heads.mask_branch.embedding_head.embedding.weight
    )
