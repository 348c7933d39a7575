"""The mathematics, in plain PyTorch: no Detectron2, no config.

`embedding`: coordinates and mixing. `kernels`: log-kernels and seeds. `losses`: the losses that
train them. `affinities`: kernels between the pixels of a whole image.

Equation numbers are those of Novotny, Albanie, Larlus and Vedaldi, "Semi-convolutional Operators
for Instance Segmentation", ECCV 2018.
"""

from .affinities import kernel_filter, log_affinities, log_affinity_blocks
from .embedding import (
    MIXINGS,
    map_coordinates,
    mix,
    region_coordinates,
    sample_map,
    scale_gradient,
)
from .kernels import (
    EPSILON,
    KERNELS,
    bilateral_embedding,
    log_kernel,
    log_odds,
    log_one_minus_exp,
    seed_embedding,
    seed_log_kernel,
    seed_weights,
    share_odds,
    softened_distance,
)
from .losses import (
    expected_iou,
    kernel_cross_entropy,
    margin_loss,
    pixel_embedding_loss,
    pixel_kernel_loss,
    segment_embedding_loss,
    segment_means,
)

__all__ = [
    "EPSILON",
    "KERNELS",
    "MIXINGS",
    "bilateral_embedding",
    "expected_iou",
    "kernel_cross_entropy",
    "kernel_filter",
    "log_affinities",
    "log_affinity_blocks",
    "log_kernel",
    "log_odds",
    "log_one_minus_exp",
    "map_coordinates",
    "margin_loss",
    "mix",
    "pixel_embedding_loss",
    "pixel_kernel_loss",
    "region_coordinates",
    "sample_map",
    "scale_gradient",
    "seed_embedding",
    "seed_log_kernel",
    "seed_weights",
    "segment_embedding_loss",
    "segment_means",
    "share_odds",
    "softened_distance",
]
