"""Kernels between embeddings, as logarithms: equations (7), (8) and (9).

K is never formed on the way to log K, so nothing underflows. All distances carry a small ε under
the root, √(‖·‖² + ε): the norm has no gradient at 0, and log(1 − K) no finite value at K = 1.
It also bounds the gradient of log(1 − K) with respect to an embedding, by 1 / (2√ε) for the
Laplacian: 50 for the default, in coordinate units.
"""

import math

import torch
from torch import Tensor

from .choices import check_choice
from .precision import at_least_float32

KERNELS = ("laplacian", "gaussian")
EPSILON = 1e-4


def softened_squared_distance(
    a: Tensor, b: Tensor, *, dim: int, epsilon: float = EPSILON
) -> Tensor:
    """‖a − b‖² + ε along `dim`, in float32 at least; `a` and `b` broadcast."""
    difference = at_least_float32(a) - at_least_float32(b)
    return difference.square().sum(dim=dim) + epsilon


def log_kernel(
    squared_distance: Tensor, sigma: Tensor | float, kernel: str = "laplacian"
) -> Tensor:
    """log K_σ of squared distances of any shape; at most 0.

    "laplacian": −d / σ, equation (9). "gaussian": −d² / (2σ²), equation (7) with a scale.
    `sigma` is in the unit of the distance.
    """
    check_choice("kernel", kernel, KERNELS)
    if kernel == "gaussian":
        return squared_distance / (-2 * sigma**2)
    return squared_distance.sqrt() / -sigma


def seed_log_kernel(
    embedding: Tensor,
    seed: Tensor,
    sigma: Tensor | float,
    kernel: str = "laplacian",
    *,
    epsilon: float = EPSILON,
) -> Tensor:
    """log K_σ between the pixels of each region and the region's seed.

    Args:
        embedding: Ψ, (R, D, H, W).
        seed: (R, D).

    Returns:
        (R, H, W), float32 at least.
    """
    seed = seed[:, :, None, None]
    squared = softened_squared_distance(embedding, seed, dim=1, epsilon=epsilon)
    return log_kernel(squared, sigma, kernel)


def summed_kernel(
    embedding: Tensor,
    seeds: Tensor,
    weights: Tensor,
    sigma: Tensor | float,
    kernel: str = "laplacian",
) -> Tensor:
    """Σ_j w_j K_σ between the pixels of each region and several seeds.

    Args:
        embedding: Ψ, (R, D, H, W).
        seeds: (R, J, D).
        weights: w, (R, J); where it is 0 nothing is computed.

    Returns:
        (R, H, W), float32 at least.
    """
    # All pairs at once: on a GPU each search for those that count waits for it. The gradient of
    # `index_select` is one operation there, and that of `[]` is ten.
    pairs = weights.flatten().nonzero()[:, 0]
    rows = pairs // weights.shape[1]
    log_k = seed_log_kernel(
        embedding.index_select(0, rows), seeds.flatten(0, 1).index_select(0, pairs), sigma, kernel
    )
    counts = weights.flatten().index_select(0, pairs)[:, None, None]
    # Not `len`, of which tracing would make a constant.
    total = log_k.new_zeros(embedding.shape[0], *log_k.shape[1:])
    return total.index_add(0, rows, counts * log_k.exp())


def bilateral_embedding(
    image: Tensor, coordinates: Tensor, *, sigma_space: float, sigma_range: float
) -> Tensor:
    """The Ψ whose Gaussian kernel is the classic bilateral one: (8) with Φ^g = 0 and Φ^a = RGB.

    Each part is divided by its own scale; compare with σ = 1.

    Args:
        image: (..., C, H, W), any colour space.
        coordinates: (..., 2, H, W).
        sigma_space, sigma_range: scales of the two factors, in units of coordinates and image.

    Returns:
        (..., 2 + C, H, W)
    """
    coordinates = coordinates.expand(*image.shape[:-3], *coordinates.shape[-3:])
    return torch.cat([coordinates / sigma_space, image / sigma_range], dim=-3)


def log_one_minus_exp(log_k: Tensor) -> Tensor:
    """log(1 − exp(log K)) for log K < 0, accurate at both ends.

    Near 0 the difference 1 − K cancels, and expm1 is exact; far below, K is small, and log1p is.
    """
    near = log_k > -math.log(2)
    # Each branch sees a harmless value where it is not chosen: NaN times 0 is NaN, in gradients.
    close = torch.log(-torch.expm1(torch.where(near, log_k, -1.0)))
    far = torch.log1p(-torch.exp(torch.where(near, -1.0, log_k)))
    return torch.where(near, close, far)


def log_odds(log_k: Tensor) -> Tensor:
    """The logit of K, log K − log(1 − K): evidence that is positive where K > 1/2."""
    return log_k - log_one_minus_exp(log_k)
