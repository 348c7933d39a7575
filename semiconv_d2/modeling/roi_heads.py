"""Mask R-CNN's ROI heads with the semi-convolutional mask branch (section 3.5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import (
    ROI_HEADS_REGISTRY,
    CascadeROIHeads,
    StandardROIHeads,
    select_foreground_proposals,
)
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor

from ..config import complete
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
from .masks.head import check_mask_branch, logits_of_class, mask_side
from .masks.scores import class_scores, has_mask_scores, score_masks
from .masks.wide import WIDE_MASKS, WideMasks, cut_margin, wide_boxes, widen
from .region_embedding import RegionEmbedding
from .regions import index_boxes

_SCENE = "semiconv/scene"
"""Key under which `forward` passes its `Scene` to `_forward_mask`, in a copy of the dictionary of
features. No backbone feature has this name."""

EMBEDDING_LEVELS = ("summed", "assigned")


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
        mask_margin: float = 0.0,
        mask_score: bool = False,
        exclusive_masks: bool = False,
        **kwargs,
    ):
        """
        Args:
            mask_branch: what section 3.5 adds. None: the stock ROI heads.
            mask_margin: masks are predicted in regions that are larger than the boxes by this part
                of their width and height, on each side.
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
            check_mask_branch(self.mask_head, self.mask_pooler)
        if not 0 <= mask_margin <= 1:
            raise ValueError(f"MASK_MARGIN is {mask_margin}; it must be in [0, 1].")
        self.mask_branch = mask_branch
        self.mask_margin = mask_margin
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
            ret["mask_margin"] = node.MASK_MARGIN
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
        check_mask_branch(mask_head, mask_pooler)
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
                    output_size=mask_side(mask_head, channels, mask_pooler.output_size),
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
                return self._forward_stock_mask(features, instances)
            return self._mask_losses(features, instances)
        if branch is None or not branch.rescores:
            instances = self._forward_stock_mask(features, instances)
        else:
            masks = self.rescore_masks(features, instances)
            mask_rcnn_inference(masks.rescored[:, None], instances)
        if self.mask_on and self.mask_score:
            for x in instances:
                score_masks(x)
        if self.mask_on and self.mask_margin:
            for x in instances:  # test-time augmentation expects masks of the boxes
                x.set(WIDE_MASKS, x.pred_masks)
                x.pred_masks = cut_margin(x.pred_masks, self.mask_margin)
        return instances

    def _forward_stock_mask(self, features: dict[str, Tensor], instances: list[Instances]):
        """As in `StandardROIHeads`, with the margin around boxes."""
        if not self.mask_on or not self.mask_margin:
            return super()._forward_mask(features, instances)
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
        with wide_boxes(instances, self.mask_margin):
            return super()._forward_mask(features, instances)

    def _mask_losses(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor]:
        instances, _ = select_foreground_proposals(instances, self.num_classes)
        masks = self.rescore_masks(features, instances)
        # All losses use the same crops.
        boxes = self.mask_regions(instances)
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
        branch, scene, boxes = self.mask_branch, self.scene(features), self.mask_regions(instances)
        logits = self._class_logits(features, instances)
        return branch.rescore(scene, logits, boxes, self.competitors(scene, instances))

    def competitors(self, scene: Scene, instances: list[Instances]) -> Competitors | None:
        """The competitors of the regions' seeds: the true instances in training, the other
        detections at test. None without competition. `instances` as in `rescore_masks`."""
        if not self.mask_branch.competes:
            return None
        regions = index_boxes(self.mask_regions(instances))
        if not self.training:
            scores = [class_scores(x) for x in instances]
            plain = [x.pred_boxes for x in instances]
            boxes = index_boxes(plain) if self.mask_margin else regions
            known = None if any(x is None for x in scores) else cat(scores)
            return DetectionCompetitors(regions, boxes, known)
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

    def mask_regions(self, instances: Sequence[Instances]) -> list[Boxes]:
        """Where the masks of regions are predicted: their boxes with the margin around them."""
        boxes = [x.proposal_boxes if self.training else x.pred_boxes for x in instances]
        return [widen(b, self.mask_margin) for b in boxes] if self.mask_margin else boxes

    def _class_logits(self, features: dict[str, Tensor], instances: list[Instances]) -> Tensor:
        """The mask head's logits for the class of each region, (R, M, M)."""
        classes = cat([x.gt_classes if self.training else x.pred_classes for x in instances])
        pooled = self.mask_pooler(self._mask_features(features), self.mask_regions(instances))
        return logits_of_class(self.mask_head.layers(pooled), classes)

    def _finish(self, found: Instances) -> Instances:
        """Sorts detections by falling score, as Detectron2 does, and chooses how their masks are
        pasted into the image."""
        if has_mask_scores(found):
            found = found[found.scores.argsort(descending=True)]
        if not found.has("pred_masks"):
            return found
        wide = found.has(WIDE_MASKS) and not torch.jit.is_tracing()  # a traced model keeps both
        masks = found.get(WIDE_MASKS if wide else "pred_masks")[:, 0]
        if self.exclusive_masks:
            if torch.jit.is_tracing():
                raise ValueError(
                    "Exclusive masks cannot be traced: set MODEL.SEMICONV.EXCLUSIVE_MASKS False."
                )
            claims = masks * found.scores[:, None, None]
            found.pred_masks = ExclusiveMasks(masks, claims, self.mask_margin)
        elif wide:
            found.pred_masks = WideMasks(masks, self.mask_margin)
        if wide:
            found.remove(WIDE_MASKS)
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
