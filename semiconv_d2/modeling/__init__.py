"""Detectron2 parts, wiring only. Importing this registers the ROI heads."""

from .embedding_head import EmbeddingHead
from .rescoring import RegionEmbedding, SeedKernel
from .roi_heads import SemiConvCascadeROIHeads, SemiConvMixin, SemiConvROIHeads

__all__ = [
    "EmbeddingHead",
    "RegionEmbedding",
    "SeedKernel",
    "SemiConvCascadeROIHeads",
    "SemiConvMixin",
    "SemiConvROIHeads",
]
