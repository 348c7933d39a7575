"""From embedding maps to rescored mask logits: pool and mix, then seed and kernel.

Shapes: B images, R regions, D embedding channels, M side of a region's grid.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from torch import Tensor, nn

from ..ops import (
    MIXINGS,
    SEEDS,
    log_odds,
    map_coordinates,
    mask_weights,
    mix,
    region_coordinates,
    seed_embedding,
    seed_log_kernel,
    seed_weights,
    summed_kernel,
)
from ..ops.choices import check_choice
from ..ops.precision import at_least_float32
from .competition import Rivals
from .learned_kernel import LearnedKernel
from .learning_rate import LearnedScalar
from .regions import index_boxes

COORD_UNITS = ("stride", "pixel")
GAINS = ("fixed", "learned")
EVIDENCES = ("log", "logit")
LOG_BACKGROUND = -1.0  # log b₀, at the start: as close as a pixel at a distance of σ


class RegionEmbedding(nn.Module):
    """Ψ of regions: Φ pooled from the embedding maps, mixed with coordinates of the same points."""

    def __init__(self, *, pooler: ROIPooler, mixing: str = "additive", coord_unit: str = "stride"):
        """
        Args:
            pooler: aligned ROIAlign over the embedding maps. One over a single level pools every
                region from the finest.
            mixing: see `ops.mix`.
            coord_unit: "stride", cells of the level that a region is pooled from, or "pixel".
        """
        super().__init__()
        if not all(isinstance(p, ROIAlign) and p.aligned for p in pooler.level_poolers):
            raise ValueError(
                "The embedding must be pooled by ROIAlignV2: the older ROIAlign widens narrow "
                "boxes and ROIPool rounds them, so that coordinates would not lie where the "
                "features were taken. Set MODEL.ROI_MASK_HEAD.POOLER_TYPE to 'ROIAlignV2'."
            )
        self.pooler = pooler
        self.mixing = check_choice("MIXING", mixing, MIXINGS)
        self.coord_unit = check_choice("COORD_UNIT", coord_unit, COORD_UNITS)

    @property
    def num_levels(self) -> int:
        """How many of the feature levels are used, from the finest."""
        return len(self.pooler.level_poolers)

    def forward(self, maps: list[Tensor], boxes: list[Boxes]) -> Tensor:
        """
        Args:
            maps: Φ, one (B, D, H_l, W_l) for each level, finest first.
            boxes: regions of each image, in its pixels.

        Returns:
            Ψ at the sample points, (R, D, M, M), float32. Each region has its own origin: only
            differences within a region mean anything.
        """
        # ROIAlign rounds boxes to the precision of its input; the coordinates' are not rounded.
        maps, regions = [at_least_float32(x) for x in maps], index_boxes(boxes)
        if self.num_levels > 1:
            pooled = self.pooler(maps, boxes)
        else:  # the same, without asking for the level of each box
            pooled = self.pooler.level_poolers[0](maps[0], regions)
        unit = self._pixels_per_unit(boxes)
        coordinates = region_coordinates(regions[:, 1:], pooled.shape[-1], unit)
        return mix(pooled, coordinates, self.mixing)

    def embed_map(self, phi: Tensor) -> Tensor:
        """Ψ over the finest level as a whole, (..., D, H, W), for looking at: regions see Φ of
        the level that they are pooled from."""
        stride = 2.0**self.pooler.min_level
        unit = stride if self.coord_unit == "stride" else 1.0
        height, width = phi.shape[-2:]
        coordinates = map_coordinates(height, width, stride=stride, unit=unit, device=phi.device)
        return mix(at_least_float32(phi), coordinates, self.mixing)

    def origins(self, boxes: list[Boxes], dim: int) -> Tensor:
        """Of the frame of each region in that of its image, (R, D): with it added, Ψ of regions
        that are pooled from the same level can be compared."""
        corners, unit = Boxes.cat(boxes).tensor, self._pixels_per_unit(boxes)
        if self.mixing == "none":
            return corners.new_zeros(corners.shape[0], dim)
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        scaled = centres / (unit[:, None] if isinstance(unit, Tensor) else unit)
        return nn.functional.pad(scaled, (0, dim - 2))

    def _pixels_per_unit(self, boxes: list[Boxes]) -> Tensor | float:
        pooler = self.pooler
        if self.coord_unit == "pixel":
            return 1.0
        if self.num_levels == 1:
            return 2.0**pooler.min_level
        levels = assign_boxes_to_levels(
            boxes,
            pooler.min_level,
            pooler.max_level,
            pooler.canonical_box_size,
            pooler.canonical_level,
        )
        return 2.0 ** (levels + pooler.min_level)


class RescoredMasks(NamedTuple):
    """What the kernel makes of regions; all (R, M, M)."""

    logits: Tensor
    """s, the mask logits of the stock head, at the resolution of the embedding."""
    seed_weights: Tensor
    """p, how much each pixel contributes to the seed; sums to 1."""
    odds: Tensor
    """The logit of P: of K_σ between each pixel and the seed, or with competition of the share that
    the seed has in the pixel."""
    rescored: Tensor
    """ŝ, the mask logits after rescoring; where that is off, s as the stock head gives it."""

    @property
    def log_kernel(self) -> Tensor:
        """log P."""
        return nn.functional.logsigmoid(self.odds)


class SeedKernel(LearnedKernel):
    """Compares all pixels of a region with the region's seed, and rescores its mask logits.

    ŝ = s + g · evidence, where evidence is log P or its logit, and P is K_σ, or with competition
    the share that the seed has in the pixel: K / (K + b + Σ_j w_j K_j), a softmax over the seed,
    the J seeds of other instances and a background. Learns σ, and g and log b on request.
    """

    def __init__(
        self,
        *,
        kernel: str = "laplacian",
        sigma_init: float = 10.0,
        gain: str = "learned",
        evidence: str = "logit",
        competition: bool = True,
        seed: str = "soft",
        seed_rounds: int = 2,
        rescore: bool = True,
        lr_factor: float = 10.0,
    ):
        """
        Args:
            kernel: "laplacian", equation (9), or "gaussian", equation (7).
            sigma_init: σ at the start, in coordinate units.
            gain: "learned", from 0, or "fixed", g = 1.
            evidence: "log" or "logit".
            competition: whether a seed has to share pixels out with those of other instances.
            seed: "soft" or "hard", of the first round at test; training always takes the soft one.
            seed_rounds: 1, or more to find seeds anew as the means over the masks that the last
                ones have made. Without rescoring they make none, and 1 it is.
            rescore: False leaves logits as they are: the kernel is there for its own loss.
            lr_factor: as of `EmbeddingHead`, for the parameters of the kernel.
        """
        super().__init__(kernel=kernel, sigma_init=sigma_init, lr_factor=lr_factor)
        self.evidence = check_choice("EVIDENCE", evidence, EVIDENCES)
        self.seed = check_choice("SEED", seed, SEEDS)
        if seed_rounds < 1:
            raise ValueError(f"SEED_ROUNDS is {seed_rounds}; it must be at least 1.")
        self.seed_rounds = seed_rounds
        self.rescore = rescore
        learned = check_choice("GAIN", gain, GAINS) == "learned"
        self.gain = LearnedScalar(lr_factor) if learned and rescore else None
        # log b − log b₀, as σ from σ₀: weight decay pulls it back to where it started.
        self.log_background_ratio = LearnedScalar(lr_factor) if competition else None

    @property
    def competes(self) -> bool:
        """Whether there is competition."""
        return self.log_background_ratio is not None

    def forward(
        self,
        logits: Tensor,
        embedding: Tensor,
        rivals: Rivals | Callable[[Tensor], Rivals] | None = None,
    ) -> RescoredMasks:
        """
        Args:
            logits: s of the region's class, (R, M, M).
            embedding: Ψ, (R, D, M, M).
            rivals: for competition; what the seeds compete with, or where that depends on them,
                what gives it for seeds, (R, D) each in the frame of its region. None: the
                background is the only rival.
        """
        weights = seed_weights(logits, "soft" if self.training else self.seed)
        compare = self._comparison(embedding, rivals)
        odds = compare(seed_embedding(weights, embedding))
        if not self.rescore:
            return RescoredMasks(logits, weights, odds, logits)
        gain = None if self.gain is None else self.gain()
        for _ in range(self.seed_rounds - 1):
            weights = mask_weights(self._rescore(logits, odds, gain))
            odds = compare(seed_embedding(weights, embedding))
        return RescoredMasks(logits, weights, odds, self._rescore(logits, odds, gain))

    def _rescore(self, logits: Tensor, odds: Tensor, gain: Tensor | None) -> Tensor:
        evidence = nn.functional.logsigmoid(odds) if self.evidence == "log" else odds
        if gain is None:
            return logits + evidence
        return torch.addcmul(at_least_float32(logits), gain, evidence)

    def compare(
        self,
        embedding: Tensor,
        seed: Tensor,
        rivals: Rivals | Callable[[Tensor], Rivals] | None = None,
    ) -> Tensor:
        """The logit of P of each pixel, (R, M, M).

        Args:
            embedding, rivals: as in `forward`.
            seed: of each region, (R, D).
        """
        return self._comparison(embedding, rivals)(seed)

    def _comparison(
        self, embedding: Tensor, rivals: Rivals | Callable[[Tensor], Rivals] | None
    ) -> Callable[[Tensor], Tensor]:
        """`compare`, from seeds on. What does not depend on them is computed once for all rounds: σ
        and b, since on a GPU an operation on a scalar takes as long as one on a map, and in
        training all that the seeds compete with."""
        sigma, kernel = self.sigma, self.kernel
        if not self.competes:
            return lambda seed: log_odds(seed_log_kernel(embedding, seed, sigma, kernel))
        background = (LOG_BACKGROUND + self.log_background_ratio()).exp()

        def log_others(rivals: Rivals | None) -> Tensor:
            if rivals is None:
                return background.log()
            k = summed_kernel(embedding, rivals.seeds, rivals.weights, sigma, kernel)
            return (background + k).log()

        fixed = None if callable(rivals) else log_others(rivals)

        def compare(seed: Tensor) -> Tensor:
            others = log_others(rivals(seed)) if fixed is None else fixed
            return seed_log_kernel(embedding, seed, sigma, kernel) - others

        return compare
