"""The Detectron2 parts. Importing this package registers ROI heads, backbone and
meta-architecture."""

from .coloring import InstanceColoring
from .competition import Competition
from .embedding_head import EmbeddingHead
from .learned_kernel import LearnedKernel
from .mask_branch import SeedKernel, SemiConvMaskBranch
from .region_embedding import RegionEmbedding
from .roi_heads import SemiConvCascadeROIHeads, SemiConvMixin, SemiConvROIHeads
from .timm_backbone import TimmBackbone

__all__ = [
    "Competition",
    "EmbeddingHead",
    "InstanceColoring",
    "LearnedKernel",
    "RegionEmbedding",
    "SeedKernel",
    "SemiConvCascadeROIHeads",
    "SemiConvMaskBranch",
    "SemiConvMixin",
    "SemiConvROIHeads",
    "TimmBackbone",
]
