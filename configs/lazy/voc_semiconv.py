"""`voc_semiconv.yaml` as a LazyConfig, for Detectron2's `lazyconfig_train_net.py`."""

from detectron2.config import LazyCall as L
from detectron2.model_zoo import get_config
from detectron2.modeling.poolers import ROIPooler
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from semiconv_d2 import (
    Competition,
    EmbeddingHead,
    RegionEmbedding,
    SeedKernel,
    SemiConvMaskBranch,
    SemiConvROIHeads,
)

model = get_config("common/models/mask_rcnn_fpn.py").model
model.backbone.bottom_up.stages.depth = 101
model.backbone.bottom_up.freeze_at = 2
model.roi_heads.num_classes = 20
model.roi_heads.update(
    _target_=SemiConvROIHeads,
    mask_branch=L(SemiConvMaskBranch)(
        embedding_head=L(EmbeddingHead)(
            in_channels="${model.backbone.out_channels}",
            sum_strides=[4, 8, 16, 32],
        ),
        region_embedding=L(RegionEmbedding)(
            pooler=L(ROIPooler)(
                output_size=28,  # the side of the mask logits
                scales=[1.0 / 4],  # the finest level, into which all levels are summed
                sampling_ratio=0,
                pooler_type="ROIAlignV2",
            )
        ),
        seed_kernel=L(SeedKernel)(competition=L(Competition)()),
    ),
)

dataloader = get_config("common/data/coco.py").dataloader
dataloader.train.dataset.names = "voc_2012_instance_train"
dataloader.train.mapper.instance_mask_format = "bitmask"
dataloader.train.total_batch_size = 2
dataloader.test.dataset.names = "voc_2012_instance_val"

optimizer = get_config("common/optim.py").SGD
optimizer.lr = 0.0025

train = get_config("common/train.py").train
train.init_checkpoint = "output/voc_mask_rcnn/model_final.pth"
train.output_dir = "output/voc_semiconv_lazy"
train.checkpointer.period = 1464  # 2 epochs
train.eval_period = 4392  # 6 epochs
train.max_iter = 17568  # 24 epochs: 24 × 1,464 images of train / 2 images a batch

lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(
        values=[1.0, 0.1],
        milestones=[8784],  # 12 epochs
        num_updates="${train.max_iter}",
    ),
    warmup_factor=0.001,
    warmup_length=1000 / 17568,
)
