"""The mathematics, in plain PyTorch: no Detectron2, no config.

Equation numbers are those of Novotny, Albanie, Larlus and Vedaldi, "Semi-convolutional Operators
for Instance Segmentation", ECCV 2018.
"""

from .coordinates import map_coordinates, region_coordinates
from .gradient import scale_gradient
from .kernels import (
    EPSILON,
    KERNELS,
    bilateral_embedding,
    log_kernel,
    log_odds,
    log_one_minus_exp,
    seed_log_kernel,
    softened_squared_distance,
)
from .losses import kernel_cross_entropy, segment_embedding_loss
from .mixing import MIXINGS, mix
from .seeds import SEEDS, seed_embedding, seed_weights

__all__ = [
    "EPSILON",
    "KERNELS",
    "MIXINGS",
    "SEEDS",
    "bilateral_embedding",
    "kernel_cross_entropy",
    "log_kernel",
    "log_odds",
    "log_one_minus_exp",
    "map_coordinates",
    "mix",
    "region_coordinates",
    "scale_gradient",
    "seed_embedding",
    "seed_log_kernel",
    "seed_weights",
    "segment_embedding_loss",
    "softened_squared_distance",
]
