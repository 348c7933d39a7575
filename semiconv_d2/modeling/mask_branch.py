"""What the plugin adds to the mask branch of a Mask R-CNN, in the order of section 3.5.

    s                        mask logits of a region for its class, from the stock mask head
    Ψ = û + Φ                embedding of the region                            equation (6)
    p = softmax(s)           how likely a pixel is the seed
    seed = Σ_u p(u) Ψ_u      its expected embedding
    log K = −‖Ψ − seed‖ / σ  the kernel                                         equation (9)
    ŝ = s + log K            the rescored logits

Losses: the mask loss of Mask R-CNN, on ŝ; the cross-entropy between K and the mask; and the segment
embedding loss, equation (5). With a `Competition`, P replaces K: the share of a pixel that the seed
wins.

Shapes: B images, R regions, N instances, D embedding channels, M side of a region's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.layers import cat
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from ..ops import (
    kernel_cross_entropy,
    log_odds,
    seed_embedding,
    seed_log_kernel,
    seed_weights,
    segment_embedding_loss,
)
from ..ops.checks import at_least_float32, check_choice
from .competition import Competition, Competitors, InstanceSeeds
from .embedding_head import EmbeddingHead
from .ground_truth import crop_masks, crop_shared, leave_out_shared, shared_pixels
from .learned_kernel import LearnedKernel
from .learning_rate import LearnedScalar
from .region_embedding import RegionEmbedding
from .regions import index_boxes

GAINS = ("fixed", "learned")


class RescoredMasks(NamedTuple):
    """Mask logits before and after rescoring, and what changed them; all tensors (R, M, M)."""

    logits: Tensor
    """s, the mask logits of the stock head."""
    seed_weights: Tensor
    """p, how much each pixel contributes to the seed; sums to 1."""
    evidence: Tensor
    """What is added to s: log K_σ between each pixel and the seed. With competition: the logit of
    P, the share of the pixel that the seed wins."""
    rescored: Tensor
    """ŝ, the mask logits after rescoring; s if rescoring is off."""
    competed: bool
    """Whether there was competition."""

    @property
    def log_kernel(self) -> Tensor:
        """log K; log P with competition."""
        return nn.functional.logsigmoid(self.evidence) if self.competed else self.evidence

    @property
    def odds(self) -> Tensor:
        """The logit of K; the logit of P with competition."""
        return self.evidence if self.competed else log_odds(self.evidence)


class SeedKernel(LearnedKernel):
    """Compares all pixels of a region with the region's seed, and rescores its mask logits."""

    def __init__(
        self,
        *,
        kernel: str = "laplacian",
        sigma_init: float = 10.0,
        gain: str = "learned",
        competition: Competition | None = None,
        rescore: bool = True,
        lr_factor: float = 10.0,
    ):
        """
        Args:
            kernel: "laplacian", equation (9), or "gaussian", equation (7).
            sigma_init: σ at the start, in cells.
            gain: g in ŝ = s + g · log K. "fixed": 1, as in the paper. "learned": starts at 0.
            competition: None: no competition, as in the paper.
            rescore: False: logits do not change, and the kernel serves its own loss only.
            lr_factor: as in `EmbeddingHead`, for σ and g.
        """
        super().__init__(kernel=kernel, sigma_init=sigma_init, lr_factor=lr_factor)
        learned = check_choice("GAIN", gain, GAINS) == "learned"
        self.gain = LearnedScalar(lr_factor) if learned and rescore else None
        self.competition = competition
        self.rescore = rescore

    def scalars(self) -> dict[str, Tensor]:
        gain = {} if self.gain is None else {"gain": self.gain()}
        return super().scalars() | gain

    def forward(
        self, logits: Tensor, embedding: Tensor, competitors: Competitors | None = None
    ) -> RescoredMasks:
        """
        Args:
            logits: s of the region's class, (R, M, M).
            embedding: Ψ, (R, D, M, M).
            competitors: of the regions' seeds; None: no competitors.
        """
        if logits.shape[1:] != embedding.shape[2:]:
            raise ValueError(
                f"The mask logits of a region have the size {tuple(logits.shape[1:])}, and its "
                f"embedding {tuple(embedding.shape[2:])}: set the output_size of RegionEmbedding's "
                "pooler to the size of the mask head's logits."
            )
        weights = seed_weights(logits)
        evidence = self.compare(embedding, seed_embedding(weights, embedding), competitors)
        rescored = self._add(logits, evidence) if self.rescore else logits
        return RescoredMasks(logits, weights, evidence, rescored, self.competition is not None)

    def compare(
        self, embedding: Tensor, seed: Tensor, competitors: Competitors | None = None
    ) -> Tensor:
        """The evidence at each pixel, (R, M, M); see `RescoredMasks`.

        Args:
            embedding, competitors: as in `forward`.
            seed: of each region, (R, D).
        """
        if self.competition is None:
            return seed_log_kernel(embedding, seed, self.sigma, self.kernel)
        return self.competition(embedding, seed, competitors, self.sigma, self.kernel)

    def _add(self, logits: Tensor, evidence: Tensor) -> Tensor:
        if self.gain is None:
            return logits + evidence
        return torch.addcmul(at_least_float32(logits), self.gain(), evidence)


class Scene(NamedTuple):
    """What is computed once for a batch and used by several later steps."""

    maps: list[Tensor]
    """Φ, the embedding maps that regions are pooled from, finest first."""
    shared: Tensor | None = None
    """In training, the pixels that several instances share, (B, 1, H, W); see `shared_pixels`."""
    embedding: Tensor | None = None
    """In training, Ψ around the true instances, (N, D, M, M)."""
    own: Tensor | None = None
    """Pixels of these instances that no other one has, (N, M, M) boolean."""
    seeds: InstanceSeeds | None = None
    """Seeds of these instances, for competition."""


class SemiConvMaskBranch(nn.Module):
    """The steps from features and mask logits to rescored logits, and the plugin's own losses."""

    def __init__(
        self,
        *,
        embedding_head: EmbeddingHead,
        region_embedding: RegionEmbedding,
        seed_kernel: SeedKernel | None,
        embedding_loss_weight: float = 0.003,
        kernel_loss_weight: float = 1.0,
    ):
        """
        Args:
            embedding_head: the subnet.
            region_embedding: pools the subnet's output and mixes it with coordinates.
            seed_kernel: None if masks are not rescored and there is no kernel loss.
            embedding_loss_weight, kernel_loss_weight: a loss of weight 0 is left out.
        """
        super().__init__()
        for name, weight in (
            ("EMBEDDING_LOSS_WEIGHT", embedding_loss_weight),
            ("KERNEL_LOSS_WEIGHT", kernel_loss_weight),
        ):
            if not weight >= 0:
                raise ValueError(f"{name} is {weight}; it must be positive, or 0 for no such loss.")
        if seed_kernel is None and not embedding_loss_weight > 0:
            raise ValueError(
                "Nothing uses the embedding: without a seed_kernel, embedding_loss_weight must be "
                "above 0."
            )
        if seed_kernel is not None and not (seed_kernel.rescore or kernel_loss_weight > 0):
            raise ValueError(
                "seed_kernel has nothing to do: with rescore=False it needs a kernel_loss_weight "
                "above 0."
            )
        self.embedding_head = embedding_head
        self.region_embedding = region_embedding
        self.seed_kernel = seed_kernel
        self.embedding_loss_weight = embedding_loss_weight
        self.kernel_loss_weight = kernel_loss_weight
        if self.competes and not region_embedding.shares_a_map:
            raise ValueError(
                "COMPETITION compares the seeds of several regions, so all regions need the same "
                "embedding map: set MODEL.SEMICONV.EMBEDDING_LEVELS to 'summed', or COMPETITION to "
                "False."
            )

    @property
    def rescores(self) -> bool:
        """Whether mask logits are rescored. If not, the plugin only adds auxiliary losses."""
        return self.seed_kernel is not None and self.seed_kernel.rescore

    @property
    def competes(self) -> bool:
        """Whether seeds compete for pixels."""
        return self.seed_kernel is not None and self.seed_kernel.competition is not None

    def scene(
        self, features: Sequence[Tensor], targets: Sequence[Instances] | None = None
    ) -> Scene:
        """Computes what is needed once for a batch.

        Args:
            features: feature maps of the levels that the mask head uses, finest first.
            targets: the true instances of each image; None at test.
        """
        scene = Scene(self.embedding_head(features))
        needs_instances = self.embedding_loss_weight > 0 or self.competes
        if targets is None or not (needs_instances or self.kernel_loss_weight > 0):
            return scene
        shared = shared_pixels(targets)
        scene = scene._replace(shared=shared)
        if needs_instances:
            boxes = [x.gt_boxes for x in targets]
            embedding = self.region_embedding(scene.maps, boxes)
            side = embedding.shape[-1]
            own = cat(crop_masks(targets, boxes, side))
            own = leave_out_shared(own, crop_shared(shared, boxes, side))
            scene = scene._replace(embedding=embedding, own=own)
        if self.competes:
            seeds = InstanceSeeds.of(embedding, own, index_boxes(boxes))
            scene = scene._replace(seeds=seeds)
        return scene

    def rescore(
        self,
        scene: Scene,
        logits: Tensor,
        boxes: Sequence[Boxes],
        competitors: Competitors | None = None,
    ) -> RescoredMasks:
        """
        Args:
            logits: s of the regions' classes, (R, M, M).
            boxes: the regions of each image, in its pixels.
            competitors: of the regions' seeds; None: no competitors.
        """
        assert self.seed_kernel is not None
        embedding = self.region_embedding(scene.maps, boxes)
        return self.seed_kernel(logits, embedding, competitors)

    def kernel_loss(
        self, scene: Scene, masks: RescoredMasks, own: Tensor, boxes: Sequence[Boxes]
    ) -> dict[str, Tensor]:
        """Cross-entropy between K and the mask. It leaves out pixels that the instance shares with
        another one, because they belong to both.

        Args:
            own: pixels of the instance that each region is assigned to, (R, M, M) boolean.
        """
        if not self.kernel_loss_weight > 0:
            return {}
        assert scene.shared is not None
        shared = crop_shared(scene.shared, boxes, own.shape[-1])
        pixels = ~own | leave_out_shared(own, shared)
        loss = kernel_cross_entropy(masks.odds, own, pixels)
        return {"loss_kernel": loss * self.kernel_loss_weight}

    def embedding_loss(self, scene: Scene) -> dict[str, Tensor]:
        """The segment embedding loss of the true instances, equation (5)."""
        if not self.embedding_loss_weight > 0:
            return {}
        assert scene.embedding is not None
        assert scene.own is not None
        loss = segment_embedding_loss(scene.embedding, scene.own)
        return {"loss_embedding": loss * self.embedding_loss_weight}
