"""Detectron2 parts, wiring only. Importing this registers ROI heads and meta-architecture."""

from .embedding_head import EmbeddingHead
from .instance_coloring import InstanceColoring
from .learned_kernel import LearnedKernel
from .rescoring import RegionEmbedding, SeedKernel
from .roi_heads import SemiConvCascadeROIHeads, SemiConvMixin, SemiConvROIHeads
from .timm_backbone import TimmBackbone

__all__ = [
    "EmbeddingHead",
    "InstanceColoring",
    "LearnedKernel",
    "RegionEmbedding",
    "SeedKernel",
    "SemiConvCascadeROIHeads",
    "SemiConvMixin",
    "SemiConvROIHeads",
    "TimmBackbone",
]
