"""The embedding Ψ of regions: Φ, pooled from embedding maps and mixed with coordinates.

Shapes: B images, R regions, D embedding channels, M side of a region's grid.
"""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from torch import Tensor, nn

from ..ops import MIXINGS, map_coordinates, mix, region_coordinates
from ..ops.checks import at_least_float32, check_choice
from .regions import index_boxes


class RegionEmbedding(nn.Module):
    """Pools Φ over regions, and adds the coordinates of the same points, equations (3) and (6).

    Coordinates are in cells of the level that a region is pooled from.
    """

    def __init__(self, *, pooler: ROIPooler, mixing: str = "additive"):
        """
        Args:
            pooler: aligned ROIAlign over the embedding maps; over the finest level only if they
                are summed.
            mixing: see `ops.mix`.
        """
        super().__init__()
        if not all(isinstance(p, ROIAlign) and p.aligned for p in pooler.level_poolers):
            raise ValueError(
                "The embedding must be pooled by ROIAlignV2. The older ROIAlign widens narrow "
                "boxes and ROIPool rounds boxes, so the coordinates would not be those of the "
                "sampled features. Set MODEL.ROI_MASK_HEAD.POOLER_TYPE to 'ROIAlignV2'."
            )
        self.pooler = pooler
        self.mixing = check_choice("MIXING", mixing, MIXINGS)

    @property
    def stride(self) -> float:
        """Image pixels per cell of the finest level."""
        return 2.0**self.pooler.min_level

    @property
    def shares_a_map(self) -> bool:
        """Whether all regions of an image are pooled from one map, so that the Ψ of different
        regions can be compared."""
        return len(self.pooler.level_poolers) == 1

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Boxes]) -> Tensor:
        """
        Args:
            maps: Φ, one (B, D, H_l, W_l) for each level of the pooler, finest first.
            boxes: regions of each image, in its pixels.

        Returns:
            Ψ at the sample points, (R, D, M, M), float32; its geometric channels in cells, in the
            frame of the image.
        """
        # In float32: ROIAlign rounds boxes to the precision of its input, and coordinates come from
        # boxes that are not rounded.
        maps, regions = [at_least_float32(x) for x in maps], index_boxes(boxes)
        if self.shares_a_map:  # as the pooler does, without looking up levels
            pooled = self.pooler.level_poolers[0](maps[0], regions)
        else:
            pooled = self.pooler(maps, boxes)
        coordinates = region_coordinates(
            regions[:, 1:], pooled.shape[-1], self._pixels_per_cell(boxes)
        )
        return mix(pooled, coordinates, self.mixing)

    def embed_map(self, phi: Tensor) -> Tensor:
        """Ψ over a whole map at the finest level, (..., D, H, W), for pictures."""
        height, width = phi.shape[-2:]
        coordinates = map_coordinates(height, width, device=phi.device)
        return mix(at_least_float32(phi), coordinates, self.mixing)

    def _pixels_per_cell(self, boxes: Sequence[Boxes]) -> Tensor | float:
        if self.shares_a_map:
            return self.stride
        pooler = self.pooler
        levels = assign_boxes_to_levels(
            list(boxes),
            pooler.min_level,
            pooler.max_level,
            pooler.canonical_box_size,
            pooler.canonical_level,
        )
        return 2.0 ** (levels + pooler.min_level)
