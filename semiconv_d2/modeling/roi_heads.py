"""Mask R-CNN's ROI heads with the semi-convolutional mask branch (section 3.5)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import (
    ROI_HEADS_REGISTRY,
    BaseMaskRCNNHead,
    CascadeROIHeads,
    StandardROIHeads,
    select_foreground_proposals,
)
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from ..config import complete
from ..ops import expected_iou
from ..ops.checks import check_choice
from ..visualization.embedding import draw_map
from ..visualization.regions import draw_regions, place_beside
from .competition import (
    NUMBER,
    Competition,
    Competitors,
    DetectionCompetitors,
    TrueCompetitors,
    number_instances,
)
from .embedding_head import EmbeddingHead
from .ground_truth import CroppedMasks, crop_masks
from .mask_branch import RescoredMasks, Scene, SeedKernel, SemiConvMaskBranch
from .masks.exclusive import ExclusiveMasks
from .region_embedding import RegionEmbedding
from .regions import index_boxes

_SCENE = "semiconv/scene"
"""Key under which `forward` passes its `Scene` to `_forward_mask`, in a copy of the dictionary of
features. No backbone feature has this name."""

EMBEDDING_LEVELS = ("summed", "assigned")

_CLASS_SCORES = "class_scores"  # field for the scores before they were multiplied by mask scores

_RATIO = "log_background_ratio."
_RENAMED = (  # parameters of version 0.1: old and new prefix
    ("embedding_head.", "mask_branch.embedding_head."),
    (f"seed_kernel.{_RATIO}", f"mask_branch.seed_kernel.competition.{_RATIO}"),
    ("seed_kernel.", "mask_branch.seed_kernel."),
)


class SemiConvMixin:
    """Adds the embedding, its losses and the rescoring of masks to ROI heads.

    It works with `StandardROIHeads` and classes that inherit its `forward` signature and mask
    branch. List it before them in the bases:

        @ROI_HEADS_REGISTRY.register()
        class MySemiConvROIHeads(SemiConvMixin, MyROIHeads):
            pass

    The mask head can be any that has `layers` and the `forward` of `BaseMaskRCNNHead`.

    Losses: `loss_mask`, on the rescored logits; `loss_kernel`; and `loss_embedding`, (5).
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        below = cls.__mro__[cls.__mro__.index(SemiConvMixin) + 1 :]
        owner = next((base for base in below if "_forward_mask" in vars(base)), None)
        if owner is None:
            raise TypeError(
                f"{cls.__name__} cannot be semi-convolutional: list SemiConvMixin before ROI heads "
                "that have the mask branch of StandardROIHeads. Res5ROIHeads (C4) do not have it."
            )
        if owner is not StandardROIHeads:
            raise TypeError(
                f"{cls.__name__} cannot be semi-convolutional: {owner.__name__} has a "
                "_forward_mask of its own, which SemiConvMixin would replace. Put what it does "
                "into the `layers` of the mask head."
            )

    @configurable
    def __init__(
        self,
        *,
        mask_branch: SemiConvMaskBranch | None = None,
        mask_score: bool = False,
        exclusive_masks: bool = False,
        **kwargs,
    ):
        """
        Args:
            mask_branch: what section 3.5 adds. None: the stock ROI heads.
            mask_score: whether scores are multiplied by the mask's expected IoU, at test.
            exclusive_masks: whether a pixel that several detections claim goes to one, at test.
            kwargs: the arguments of the ROI heads that this class extends.
        """
        super().__init__(**kwargs)
        if mask_branch is not None:
            if not self.mask_on:
                raise ValueError(
                    "mask_branch needs ROI heads with a mask branch: mask_in_features, "
                    "mask_pooler and mask_head."
                )
            _check_mask_branch(self.mask_head, self.mask_pooler)
        self.mask_branch = mask_branch
        self.mask_score = mask_score
        self.exclusive_masks = exclusive_masks

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        if not cfg.MODEL.ROI_BOX_HEAD.NAME:
            raise ValueError(
                f"{cls.__name__} needs a box head: MODEL.ROI_BOX_HEAD.NAME is empty, as in C4 "
                "configs, whose Res5ROIHeads share a backbone stage instead. Set it to "
                "'FastRCNNConvFCHead', or start from an FPN config."
            )
        ret = super().from_config(cfg, input_shape)
        if cfg.MODEL.MASK_ON:
            node = complete(cfg).MODEL.SEMICONV
            ret["mask_score"] = node.MASK_SCORE
            ret["exclusive_masks"] = node.EXCLUSIVE_MASKS
            ret["mask_branch"] = cls._init_mask_branch(cfg, node, input_shape, ret)
        return ret

    @classmethod
    def _init_mask_branch(
        cls, cfg: CfgNode, node: CfgNode, input_shape: dict[str, ShapeSpec], stock: dict
    ) -> SemiConvMaskBranch | None:
        """
        Args:
            node: MODEL.SEMICONV.
            stock: arguments of the ROI heads that this class extends.
        """
        use_kernel = node.RESCORE or node.KERNEL_LOSS_WEIGHT > 0
        if not use_kernel and not node.EMBEDDING_LOSS_WEIGHT > 0:
            return None
        mask_head, mask_pooler = stock["mask_head"], stock["mask_pooler"]
        _check_mask_branch(mask_head, mask_pooler)
        shapes = [input_shape[f] for f in stock["mask_in_features"]]
        channels = shapes[0].channels
        seed_kernel = None
        if use_kernel:
            seed_kernel = SeedKernel(
                kernel=node.KERNEL,
                sigma_init=node.SIGMA_INIT,
                gain=node.GAIN,
                competition=Competition(lr_factor=node.LR_FACTOR) if node.COMPETITION else None,
                rescore=node.RESCORE,
                lr_factor=node.LR_FACTOR,
            )
        summed = (
            check_choice("EMBEDDING_LEVELS", node.EMBEDDING_LEVELS, EMBEDDING_LEVELS) == "summed"
        )
        strides = [s.stride for s in shapes]
        return SemiConvMaskBranch(
            embedding_head=EmbeddingHead(
                in_channels=channels,
                hidden_dim=node.HIDDEN_DIM,
                embedding_dim=node.EMBEDDING_DIM,
                gradient_scale=node.GRADIENT_SCALE,
                lr_factor=node.LR_FACTOR,
                sum_strides=strides if summed else None,
            ),
            region_embedding=RegionEmbedding(
                pooler=ROIPooler(
                    output_size=_mask_side(mask_head, channels, mask_pooler.output_size),
                    scales=tuple(1.0 / s for s in (strides[:1] if summed else strides)),
                    sampling_ratio=cfg.MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO,
                    pooler_type=cfg.MODEL.ROI_MASK_HEAD.POOLER_TYPE,
                ),
                mixing=node.MIXING,
            ),
            seed_kernel=seed_kernel,
            embedding_loss_weight=node.EMBEDDING_LOSS_WEIGHT,
            kernel_loss_weight=node.KERNEL_LOSS_WEIGHT,
        )

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """As in the ROI heads that this extends; in training also the losses of the embedding."""
        branch = self.mask_branch if self.mask_on else None
        if not self.training:
            found, losses = super().forward(images, features, proposals, targets)
            return [self._finish(x) for x in found], losses
        if branch is None:
            return super().forward(images, features, proposals, targets)
        scene = branch.scene(self._mask_features(features), targets)
        if branch.competes:
            targets = number_instances(targets)
        features = {**features, _SCENE: scene}
        proposals, losses = super().forward(images, features, proposals, targets)
        return proposals, losses | branch.embedding_loss(scene)

    def _forward_mask(self, features: dict[str, Tensor], instances: list[Instances]):
        """As in `StandardROIHeads`, with the logits rescored between mask head and loss."""
        branch = self.mask_branch if self.mask_on else None
        if self.training:
            if branch is None or branch.seed_kernel is None:
                return super()._forward_mask(features, instances)
            return self._mask_losses(features, instances)
        if branch is None or not branch.rescores:
            instances = super()._forward_mask(features, instances)
        else:
            masks = self.rescore_masks(features, instances)
            mask_rcnn_inference(masks.rescored[:, None], instances)
        if self.mask_on and self.mask_score:
            for x in instances:
                scores = _class_scores(x)
                if scores is not None:
                    x.set(_CLASS_SCORES, scores)
                    x.scores = scores * expected_iou(x.pred_masks[:, 0])
        return instances

    def _mask_losses(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor]:
        instances, _ = select_foreground_proposals(instances, self.num_classes)
        masks = self.rescore_masks(features, instances)
        # All losses use the same crops.
        boxes = self._boxes(instances)
        crops = crop_masks(instances, boxes, masks.logits.shape[-1])
        for x, crop in zip(instances, crops, strict=True):
            # Only this branch sees these proposals: selecting the foreground has copied them.
            x.gt_masks = CroppedMasks(crop)
        head, own = self.mask_head, cat(crops)
        loss = mask_rcnn_loss(masks.rescored[:, None], instances, head.vis_period)
        losses = {"loss_mask": loss * head.loss_weight}
        losses |= self.mask_branch.kernel_loss(self.scene(features), masks, own, boxes)
        self._log(masks, own, features, instances)
        return losses

    def rescore_masks(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> RescoredMasks:
        """From the backbone's features to rescored mask logits.

        Args:
            features: feature maps of the backbone.
            instances: regions of each image. At test with `pred_boxes`, `pred_classes` and, for
                competition, `scores`; in training the foreground of the sampled proposals.
        """
        branch, scene, boxes = self.mask_branch, self.scene(features), self._boxes(instances)
        logits = self._class_logits(features, instances)
        return branch.rescore(scene, logits, boxes, self.competitors(scene, instances))

    def competitors(self, scene: Scene, instances: list[Instances]) -> Competitors | None:
        """The competitors of the regions' seeds: the true instances in training, the other
        detections at test. None without competition. `instances` as in `rescore_masks`."""
        if not self.mask_branch.competes:
            return None
        regions = index_boxes(self._boxes(instances))
        if not self.training:
            scores = [_class_scores(x) for x in instances]
            return DetectionCompetitors(
                regions, None if any(x is None for x in scores) else cat(scores)
            )
        # Proposals of an image without instances have no number. None of them is foreground.
        numbers = [x.get(NUMBER) for x in instances if x.has(NUMBER)]
        numbers = cat(numbers) if numbers else regions.new_zeros(0)
        return TrueCompetitors(regions, numbers, scene.seeds)

    def scene(self, features: dict[str, Tensor]) -> Scene:
        """The `Scene` that `forward` has computed for the batch. At test it is computed here if
        there is none."""
        if _SCENE in features:
            return features[_SCENE]
        if self.training:
            raise KeyError(
                f"{type(self).__name__}._forward_mask did not get the features that "
                "SemiConvMixin.forward has passed on. In training, ROI heads under SemiConvMixin "
                "must pass on the whole dictionary of features."
            )
        return self.mask_branch.scene(self._mask_features(features))

    def _mask_features(self, features: dict[str, Tensor]) -> list[Tensor]:
        return [features[f] for f in self.mask_in_features]

    def _boxes(self, instances: Sequence[Instances]) -> list[Boxes]:
        return [x.proposal_boxes if self.training else x.pred_boxes for x in instances]

    def _class_logits(self, features: dict[str, Tensor], instances: list[Instances]) -> Tensor:
        """The mask head's logits for the class of each region, (R, M, M)."""
        classes = cat([x.gt_classes if self.training else x.pred_classes for x in instances])
        pooled = self.mask_pooler(self._mask_features(features), self._boxes(instances))
        return _logits_of_class(self.mask_head.layers(pooled), classes)

    def _finish(self, found: Instances) -> Instances:
        """Sorts detections by falling score, as Detectron2 does, and makes masks exclusive if that
        is on."""
        if found.has(_CLASS_SCORES):
            found = found[found.scores.argsort(descending=True)]
        if self.exclusive_masks and found.has("pred_masks"):
            if torch.jit.is_tracing():
                raise ValueError(
                    "Exclusive masks cannot be traced: set MODEL.SEMICONV.EXCLUSIVE_MASKS False."
                )
            probabilities = found.pred_masks[:, 0]
            claims = probabilities * found.scores[:, None, None]
            found.pred_masks = ExclusiveMasks(probabilities, claims)
        return found

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for old, new in _RENAMED:
            for key in [k for k in state_dict if k.startswith(prefix + old)]:
                state_dict[prefix + new + key[len(prefix + old) :]] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _log(
        self,
        masks: RescoredMasks,
        own: Tensor,
        features: dict[str, Tensor],
        instances: list[Instances],
    ) -> None:
        storage = get_event_storage()
        self.mask_branch.seed_kernel.log(storage)
        vis_period = self.mask_head.vis_period
        if vis_period > 0 and storage.iter % vis_period == 0 and len(own):
            tiles = draw_regions(
                masks.logits.detach().sigmoid(),
                masks.seed_weights.detach(),
                masks.log_kernel.detach().exp(),
                masks.rescored.detach().sigmoid(),
                own,
            )
            embedding = self._draw_embedding(features, instances[0].image_size)
            storage.put_image(
                "semiconv: mask; seed; kernel; rescored mask; ground truth; embedding of an image",
                place_beside(tiles, embedding),
            )

    @torch.no_grad()
    def _draw_embedding(self, features: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Ψ of the first image's finest level as colours, as TensorBoard takes it.

        Args:
            size: height and width of the image, without padding.
        """
        region = self.mask_branch.region_embedding
        psi = region.embed_map(self.scene(features).maps[0][0])
        height, width = (max(1, round(side / region.stride)) for side in size)
        return draw_map(psi[:, :height, :width])


@ROI_HEADS_REGISTRY.register()
class SemiConvROIHeads(SemiConvMixin, StandardROIHeads):
    """Mask R-CNN's ROI heads, semi-convolutional."""


@ROI_HEADS_REGISTRY.register()
class SemiConvCascadeROIHeads(SemiConvMixin, CascadeROIHeads):
    """Cascade Mask R-CNN's ROI heads, semi-convolutional."""


def _class_scores(found: Instances) -> Tensor | None:
    """Scores before they were multiplied by mask scores; None if there are no scores."""
    known = [name for name in (_CLASS_SCORES, "scores") if found.has(name)]
    return found.get(known[0]) if known else None


def _check_mask_branch(mask_head: nn.Module, mask_pooler: nn.Module | None) -> None:
    if (
        mask_pooler is None
        or not callable(getattr(mask_head, "layers", None))
        or type(mask_head).forward is not BaseMaskRCNNHead.forward
    ):
        raise TypeError(
            f"The masks of {type(mask_head).__name__} cannot be rescored: SemiConv needs a mask "
            "head with `layers` and the `forward` of BaseMaskRCNNHead, on pooled features. Set "
            "MODEL.ROI_MASK_HEAD.NAME to 'MaskRCNNConvUpsampleHead', or use the stock ROI heads."
        )


def _mask_side(mask_head: nn.Module, in_channels: int, pooled_size: tuple[int, int]) -> int:
    """Side of a mask head's logits, found with tensors on the meta device, which hold no data."""
    head = copy.deepcopy(mask_head).to("meta").eval()
    return head.layers(torch.empty(1, in_channels, *pooled_size, device="meta")).shape[-1]


def _logits_of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """The channel of each region's class: (R, C, M, M), or (R, 1, M, M), to (R, M, M)."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    index = classes[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, index)[:, 0]
