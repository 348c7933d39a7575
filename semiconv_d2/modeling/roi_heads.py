"""Mask R-CNN's ROI heads with semi-convolutional rescoring of the masks (section 3.5)."""

from __future__ import annotations

import copy
from collections.abc import Callable

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

from ..ops import expected_iou, kernel_cross_entropy, segment_embedding_loss
from ..ops.choices import check_choice
from ..visualization.embedding import draw_map
from ..visualization.regions import draw_regions, place_beside
from .competition import NUMBER, Contest, Rivals, mean_seeds, number_instances, true_rivals
from .embedding_head import EmbeddingHead
from .exclusive import ExclusiveMasks
from .ground_truth import (
    CroppedMasks,
    coverage_maps,
    crop_coverage,
    crop_masks,
    leave_out_shared,
)
from .regions import index_boxes
from .rescoring import RegionEmbedding, RescoredMasks, SeedKernel

EMBEDDING_LEVELS = ("assigned", "finest")
KERNEL_PIXELS = ("region", "instances")
SHARED_PIXELS = ("ignore", "count")
MASK_TARGETS = ("hard", "soft")

# Names under which `forward` hands what it has computed on to `_forward_mask`, in a copy of the
# dictionary of features. No feature of a backbone is called so.
_EMBEDDING = "semiconv/embedding/"
_COVERAGE = "semiconv/coverage"
_SEEDS = "semiconv/seeds"

_CLASS_SCORES = "class_scores"  # field of detections whose `scores` include those of masks

SCALAR_PERIOD = 20  # iterations; Detectron2's writers write as often. Reading σ waits for the GPU.


class SemiConvMixin:
    """Adds the embedding, its losses and the rescoring of masks to ROI heads.

    For `StandardROIHeads` and whatever inherits its `forward` signature and mask branch; comes
    before them in the bases:

        @ROI_HEADS_REGISTRY.register()
        class MySemiConvROIHeads(SemiConvMixin, MyROIHeads):
            pass

    The mask head is any that has `layers` and the `forward` of `BaseMaskRCNNHead`.

    Losses: `loss_mask`, on the rescored logits; `loss_kernel`; and on request `loss_embedding`,
    equation (5).
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not hasattr(super(), "_forward_mask"):
            raise TypeError(
                f"{cls.__name__} cannot be semi-convolutional: SemiConvMixin comes before ROI "
                "heads with the mask branch of StandardROIHeads; Res5ROIHeads (C4) have none."
            )

    @configurable
    def __init__(
        self,
        *,
        embedding_head: EmbeddingHead | None = None,
        region_embedding: RegionEmbedding | None = None,
        seed_kernel: SeedKernel | None = None,
        embedding_loss_weight: float = 0.0,
        kernel_loss_weight: float = 1.0,
        kernel_pixels: str = "region",
        shared_pixels: str = "ignore",
        mask_targets: str = "hard",
        mask_score: bool = False,
        exclusive_masks: bool = False,
        **kwargs,
    ):
        """
        Args:
            embedding_head: the subnet. None: these are the stock ROI heads.
            region_embedding: pools and mixes what the subnet gives.
            seed_kernel: None where masks are not rescored and there is no kernel loss.
            embedding_loss_weight, kernel_loss_weight: a loss of weight 0 is left out.
            kernel_pixels: "region" or "instances", the pixels that the kernel loss runs over.
            shared_pixels: "ignore" or "count", what the losses do with pixels of two instances.
            mask_targets: "hard" or "soft", what mask logits are trained towards.
            mask_score: whether scores are multiplied by the mask's expected IoU, at test.
            exclusive_masks: whether pixels that several detections claim are left to one, at test.
            kwargs: the arguments of the ROI heads that this extends.
        """
        super().__init__(**kwargs)
        for name, weight in (
            ("EMBEDDING_LOSS_WEIGHT", embedding_loss_weight),
            ("KERNEL_LOSS_WEIGHT", kernel_loss_weight),
        ):
            if not weight >= 0:
                raise ValueError(f"{name} is {weight}; it must be 0, for none, or positive.")
        if embedding_head is not None:
            if not self.mask_on:
                raise ValueError(
                    "embedding_head needs ROI heads with a mask branch: mask_in_features, "
                    "mask_pooler and mask_head."
                )
            _check_mask_branch(self.mask_head, self.mask_pooler)
            if region_embedding is None:
                raise ValueError("embedding_head needs a region_embedding beside it.")
        if seed_kernel is not None and (
            embedding_head is None or not (seed_kernel.rescore or kernel_loss_weight > 0)
        ):
            raise ValueError(
                "seed_kernel needs an embedding_head beside it, and something to do: with "
                "rescore=False, a kernel_loss_weight above 0."
            )
        if seed_kernel is not None and seed_kernel.competes and region_embedding.num_levels > 1:
            raise ValueError(
                "COMPETITION compares seeds of several regions, which needs one embedding map for "
                "all: set MODEL.SEMICONV.EMBEDDING_LEVELS to 'finest', or COMPETITION to False."
            )
        self.embedding_head = embedding_head
        self.region_embedding = region_embedding
        self.seed_kernel = seed_kernel
        self.embedding_loss_weight = embedding_loss_weight
        self.kernel_loss_weight = kernel_loss_weight
        self.kernel_pixels = check_choice("KERNEL_PIXELS", kernel_pixels, KERNEL_PIXELS)
        self.shared_pixels = check_choice("SHARED_PIXELS", shared_pixels, SHARED_PIXELS)
        self.mask_targets = check_choice("MASK_TARGETS", mask_targets, MASK_TARGETS)
        if self.mask_on and self.mask_targets == "soft":
            _check_mask_branch(self.mask_head, self.mask_pooler)
        self.mask_score = mask_score
        self.exclusive_masks = exclusive_masks

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        if "SEMICONV" not in cfg.MODEL:
            raise KeyError(
                "MODEL.SEMICONV is missing: call semiconv_d2.add_semiconv_config(cfg) before "
                "the config file is merged."
            )
        if not cfg.MODEL.ROI_BOX_HEAD.NAME:
            raise ValueError(
                f"{cls.__name__} needs a box head: MODEL.ROI_BOX_HEAD.NAME is empty, as in C4 "
                "configs, whose Res5ROIHeads share a backbone stage instead. Set it to "
                "'FastRCNNConvFCHead', or start from an FPN config."
            )
        ret = super().from_config(cfg, input_shape)
        if cfg.MODEL.MASK_ON:
            node = cfg.MODEL.SEMICONV
            ret["mask_targets"] = node.MASK_TARGETS
            ret["mask_score"] = node.MASK_SCORE
            ret["exclusive_masks"] = node.EXCLUSIVE_MASKS
            ret.update(cls._init_semiconv(cfg, input_shape, ret))
        return ret

    @classmethod
    def _init_semiconv(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec], stock: dict) -> dict:
        """The arguments of this class, given those of the ROI heads that it extends."""
        node = cfg.MODEL.SEMICONV
        use_kernel = node.RESCORE or node.KERNEL_LOSS_WEIGHT > 0
        if not use_kernel and not node.EMBEDDING_LOSS_WEIGHT > 0:
            return {}
        mask_head, mask_pooler = stock["mask_head"], stock["mask_pooler"]
        _check_mask_branch(mask_head, mask_pooler)
        if node.EMBEDDING_RESOLUTION < 0:
            raise ValueError(f"EMBEDDING_RESOLUTION is {node.EMBEDDING_RESOLUTION}; 0 or more.")

        check_choice("EMBEDDING_LEVELS", node.EMBEDDING_LEVELS, EMBEDDING_LEVELS)
        in_features = stock["mask_in_features"]
        if node.EMBEDDING_LEVELS == "finest":
            in_features = in_features[:1]
        shapes = [input_shape[f] for f in in_features]
        resolution = node.EMBEDDING_RESOLUTION or _mask_side(
            mask_head, shapes[0].channels, mask_pooler.output_size
        )
        pooler = ROIPooler(
            output_size=resolution,
            scales=tuple(1.0 / s.stride for s in shapes),
            sampling_ratio=cfg.MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO,
            pooler_type=cfg.MODEL.ROI_MASK_HEAD.POOLER_TYPE,
        )
        return {
            "embedding_head": EmbeddingHead(
                in_channels=shapes[0].channels,
                hidden_dim=node.HIDDEN_DIM,
                hidden_layers=node.HIDDEN_LAYERS,
                embedding_dim=node.EMBEDDING_DIM,
                gradient_scale=node.GRADIENT_SCALE,
                lr_factor=node.LR_FACTOR,
            ),
            "region_embedding": RegionEmbedding(
                pooler=pooler, mixing=node.MIXING, coord_unit=node.COORD_UNIT
            ),
            "seed_kernel": SeedKernel(
                kernel=node.KERNEL,
                sigma_init=node.SIGMA_INIT,
                gain=node.GAIN,
                evidence=node.EVIDENCE,
                competition=node.COMPETITION,
                seed=node.SEED,
                seed_rounds=node.SEED_ROUNDS,
                rescore=node.RESCORE,
                lr_factor=node.LR_FACTOR,
            )
            if use_kernel
            else None,
            "embedding_loss_weight": node.EMBEDDING_LOSS_WEIGHT,
            "kernel_loss_weight": node.KERNEL_LOSS_WEIGHT,
            "kernel_pixels": node.KERNEL_PIXELS,
            "shared_pixels": node.SHARED_PIXELS,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """As the ROI heads that this extends; in training with the losses of the embedding."""
        if not self.training:
            found, losses = super().forward(images, features, proposals, targets)
            return [self._finish(x) for x in found], losses
        if not self.mask_on or self.embedding_head is None:
            return super().forward(images, features, proposals, targets)

        maps = self.embedding_maps(features)
        features = {**features, **{f"{_EMBEDDING}{i}": x for i, x in enumerate(maps)}}
        if self._needs_coverage:
            features[_COVERAGE] = coverage_maps(targets)
        if self.embedding_loss_weight > 0 or self._competes:
            embedding, own = self._embed_instances(maps, features, targets)
        if self._competes:
            boxes = [x.gt_boxes for x in targets]
            features[_SEEDS] = mean_seeds(embedding, own, self._origins(boxes), index_boxes(boxes))
            targets = number_instances(targets)
        proposals, losses = super().forward(images, features, proposals, targets)
        if self.embedding_loss_weight > 0:
            loss = segment_embedding_loss(embedding, own)
            losses["loss_embedding"] = loss * self.embedding_loss_weight
        return proposals, losses

    def _forward_mask(self, features: dict[str, Tensor], instances: list[Instances]):
        """As in `StandardROIHeads`, with the logits rescored between mask head and loss."""
        if not self.mask_on:
            return super()._forward_mask(features, instances)
        if self.training:
            return self._mask_losses(features, instances)
        if self.seed_kernel is None or not self.seed_kernel.rescore:
            instances = super()._forward_mask(features, instances)
        else:
            masks = self.rescore_masks(features, instances)
            mask_rcnn_inference(masks.rescored[:, None], instances)
        if self.mask_score:
            for x in instances:
                scores = _class_scores(x)
                if scores is not None:
                    x.set(_CLASS_SCORES, scores)
                    x.scores = scores * expected_iou(x.pred_masks[:, 0])
        return instances

    def rescore_masks(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> RescoredMasks:
        """Everything between features and mask logits.

        Args:
            features: those of the backbone.
            instances: regions of each image, with `pred_boxes`, `pred_classes` and, for
                competition, `scores`; in training the foreground of the sampled proposals.
        """
        boxes = self._boxes(instances)
        logits = self._class_logits(features, instances)
        embedding = self.region_embedding(self.embedding_maps(features), boxes)
        rivals = self.rivals(features, instances) if self._competes else None
        masks = self.seed_kernel(_resize(logits, embedding.shape[-1]), embedding, rivals)
        return masks if self.seed_kernel.rescore else masks._replace(rescored=logits)

    def _boxes(self, instances: list[Instances]) -> list[Boxes]:
        return [x.proposal_boxes if self.training else x.pred_boxes for x in instances]

    def _class_logits(self, features: dict[str, Tensor], instances: list[Instances]) -> Tensor:
        """What the mask head gives for the class of each region, (R, M, M)."""
        classes = cat([x.gt_classes if self.training else x.pred_classes for x in instances])
        mask_features = [features[f] for f in self.mask_in_features]
        pooled = self.mask_pooler(mask_features, self._boxes(instances))
        return _logits_of_class(self.mask_head.layers(pooled), classes)

    def _mask_losses(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor]:
        if self.seed_kernel is None and self.mask_targets == "hard":
            return super()._forward_mask(features, instances)
        instances, _ = select_foreground_proposals(instances, self.num_classes)
        if self.seed_kernel is None:
            logits = self._class_logits(features, instances)
            crops = self._crop_targets(instances, logits.shape[-1])
            return {"loss_mask": self._mask_loss(logits, instances, crops)}

        masks = self.rescore_masks(features, instances)
        # One crop for all losses, unless kernel and mask differ in resolution.
        mask_side, kernel_side = masks.rescored.shape[-1], masks.odds.shape[-1]
        crops = {side: self._crop_targets(instances, side) for side in {mask_side, kernel_side}}
        own = cat(crops[kernel_side]) >= 0.5
        losses = {"loss_mask": self._mask_loss(masks.rescored, instances, crops[mask_side])}
        if self.kernel_loss_weight > 0:
            pixels = self._kernel_pixels(features, self._boxes(instances), own)
            loss = kernel_cross_entropy(masks.odds, own, pixels)
            losses["loss_kernel"] = loss * self.kernel_loss_weight
        self._log(masks, own, features, instances)
        return losses

    def _crop_targets(self, instances: list[Instances], side: int) -> list[Tensor]:
        soft = self.mask_targets == "soft"
        return crop_masks(instances, self._boxes(instances), side, soft=soft)

    def _mask_loss(self, logits: Tensor, instances: list[Instances], crops: list[Tensor]) -> Tensor:
        """Detectron2's loss of the logits of each region's class, with these targets."""
        for x, crop in zip(instances, crops, strict=True):
            # Proposals of this branch alone: selecting the foreground has copied them.
            x.gt_masks = CroppedMasks(crop)
        head = self.mask_head
        return mask_rcnn_loss(logits[:, None], instances, head.vis_period) * head.loss_weight

    def _kernel_pixels(
        self, features: dict[str, Tensor], boxes: list[Boxes], own: Tensor
    ) -> Tensor:
        """The pixels that the kernel loss runs over, (R, M, M) boolean."""
        pixels = torch.ones_like(own)
        if self._needs_coverage:
            covered, shared = self._crop_coverage(features, boxes, own.shape[-1])
            if self.kernel_pixels == "instances":
                pixels = covered | own
            if self.shared_pixels == "ignore":
                pixels = pixels & (~own | leave_out_shared(own, shared))
        return pixels

    def _embed_instances(
        self, maps: list[Tensor], features: dict[str, Tensor], targets: list[Instances]
    ) -> tuple[Tensor, Tensor]:
        """Ψ around the true instances, (N, D, M, M), and their pixels, (N, M, M) boolean."""
        boxes = [x.gt_boxes for x in targets]
        embedding = self.region_embedding(maps, boxes)
        own = cat(crop_masks(targets, boxes, embedding.shape[-1]))
        if self.shared_pixels == "ignore":
            _, shared = self._crop_coverage(features, boxes, embedding.shape[-1])
            own = leave_out_shared(own, shared)
        return embedding, own

    @property
    def _competes(self) -> bool:
        return self.seed_kernel is not None and self.seed_kernel.competes

    def _origins(self, boxes: list[Boxes]) -> Tensor:
        return self.region_embedding.origins(boxes, self.embedding_head.embedding.out_channels)

    def rivals(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> Rivals | Callable[[Tensor], Rivals]:
        """What the regions' seeds compete with, as `SeedKernel.forward` takes it.

        In training these are the true instances: they are all there, and each once. At test they
        are the other detections, with seeds of their own.

        Args:
            features, instances: as in `rescore_masks`.
        """
        boxes, kernel = self._boxes(instances), self.seed_kernel
        regions, origins = index_boxes(boxes), self._origins(boxes)
        if not self.training:
            scores = [_class_scores(x) for x in instances]
            scores = None if any(x is None for x in scores) else cat(scores)
            return Contest(regions, origins, scores, kernel.sigma, kernel.kernel).rivals
        # Proposals of an image without instances have no number. None of them is foreground.
        numbers = [x.get(NUMBER) for x in instances if x.has(NUMBER)]
        numbers = cat(numbers) if numbers else regions.new_zeros(0)
        return true_rivals(regions, origins, numbers, self._handed_on(features, _SEEDS))

    def _finish(self, found: Instances) -> Instances:
        """Detections by falling score, as Detectron2 has them, and with exclusive masks on request.
        These are made while pasting, which a traced model leaves to whoever uses it."""
        if found.has(_CLASS_SCORES):
            found = found[found.scores.argsort(descending=True)]
        if self.exclusive_masks and found.has("pred_masks") and not torch.jit.is_tracing():
            probabilities = found.pred_masks[:, 0]
            claims = probabilities * found.scores[:, None, None]
            found.pred_masks = ExclusiveMasks(probabilities, claims)
        return found

    def embedding_maps(self, features: dict[str, Tensor]) -> list[Tensor]:
        """Φ of every level in use, (B, D, H_l, W_l) each; computed unless `forward` has done so."""
        num_levels = self.region_embedding.num_levels
        if f"{_EMBEDDING}0" in features:
            return [features[f"{_EMBEDDING}{i}"] for i in range(num_levels)]
        return self.embedding_head([features[f] for f in self.mask_in_features[:num_levels]])

    @property
    def _needs_coverage(self) -> bool:
        kernel_needs = self.kernel_pixels == "instances" and self.kernel_loss_weight > 0
        any_loss = self.embedding_loss_weight > 0 or self.kernel_loss_weight > 0
        embeds = any_loss or self._competes
        return kernel_needs or (self.shared_pixels == "ignore" and embeds)

    def _crop_coverage(
        self, features: dict[str, Tensor], boxes: list[Boxes], side: int
    ) -> tuple[Tensor, Tensor]:
        return crop_coverage(self._handed_on(features, _COVERAGE), boxes, side)

    def _handed_on(self, features: dict, name: str):
        """What `forward` has added to the features."""
        if name not in features:
            raise KeyError(
                f"{type(self).__name__}._forward_mask was called in training with other features "
                "than forward has passed on. ROI heads under SemiConvMixin pass the dictionary "
                "on whole; without that, set MODEL.SEMICONV.COMPETITION to False, SHARED_PIXELS "
                "to 'count' and KERNEL_PIXELS to 'region'."
            )
        return features[name]

    def _log(
        self,
        masks: RescoredMasks,
        own: Tensor,
        features: dict[str, Tensor],
        instances: list[Instances],
    ) -> None:
        storage = get_event_storage()
        kernel, vis_period = self.seed_kernel, self.mask_head.vis_period
        if (storage.iter + 1) % SCALAR_PERIOD == 0:
            storage.put_scalar("semiconv/sigma", kernel.sigma.detach())
            if kernel.gain is not None:
                storage.put_scalar("semiconv/gain", kernel.gain().detach())
        if vis_period > 0 and storage.iter % vis_period == 0 and len(own):
            tiles = draw_regions(
                masks.logits.detach().sigmoid(),
                masks.seed_weights.detach(),
                masks.log_kernel.detach().exp(),
                _resize(masks.rescored.detach(), own.shape[-1]).sigmoid(),
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
            size: height and width of the image, without what batches are padded with.
        """
        psi = self.region_embedding.embed_map(self.embedding_maps(features)[0][0])
        stride = 2**self.region_embedding.pooler.min_level
        height, width = (max(1, round(side / stride)) for side in size)
        return draw_map(psi[:, :height, :width])


@ROI_HEADS_REGISTRY.register()
class SemiConvROIHeads(SemiConvMixin, StandardROIHeads):
    """Mask R-CNN's ROI heads, semi-convolutional."""


@ROI_HEADS_REGISTRY.register()
class SemiConvCascadeROIHeads(SemiConvMixin, CascadeROIHeads):
    """Cascade Mask R-CNN's ROI heads, semi-convolutional."""


def _class_scores(found: Instances) -> Tensor | None:
    """Scores as they were before masks had a say in them; None where there are none."""
    known = [name for name in (_CLASS_SCORES, "scores") if found.has(name)]
    return found.get(known[0]) if known else None


def _check_mask_branch(mask_head: nn.Module, mask_pooler: nn.Module | None) -> None:
    if (
        mask_pooler is None
        or not callable(getattr(mask_head, "layers", None))
        or type(mask_head).forward is not BaseMaskRCNNHead.forward
    ):
        raise TypeError(
            f"{type(mask_head).__name__} cannot be rescored: SemiConv needs a mask head with "
            "`layers` and the `forward` of BaseMaskRCNNHead, on pooled features. Set "
            "MODEL.ROI_MASK_HEAD.NAME to 'MaskRCNNConvUpsampleHead', or use the stock ROI heads."
        )


def _mask_side(mask_head: nn.Module, in_channels: int, pooled_size: tuple[int, int]) -> int:
    """Side of the logits that a mask head gives, found on tensors without data."""
    head = copy.deepcopy(mask_head).to("meta").eval()
    return head.layers(torch.empty(1, in_channels, *pooled_size, device="meta")).shape[-1]


def _logits_of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """The channel of each region's class: (R, C, M, M), or (R, 1, M, M), to (R, M, M)."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    index = classes[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, index)[:, 0]


def _resize(logits: Tensor, side: int) -> Tensor:
    if logits.shape[-1] == side:
        return logits
    return nn.functional.interpolate(
        logits[:, None], size=(side, side), mode="bilinear", align_corners=False
    )[:, 0]
