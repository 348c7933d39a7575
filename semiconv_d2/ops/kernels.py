"""Log-kernels between embeddings, equations (7), (8) and (9), and the seeds of regions
(section 3.5).

In this order: distance and kernel; the bilateral special case; the soft seed of a region; the
kernel between the pixels of a region and its seed; the logit of a kernel; and, not in the paper,
the share of a pixel that a seed wins against other seeds.

log K is computed without K, so nothing underflows. All distances have a small ε under the root,
√(‖·‖² + ε), because the norm has no gradient at 0, and log(1 − K) is not finite at K = 1. ε also
bounds the gradient of log(1 − K) with respect to an embedding: by 1 / (2√ε) for the Laplacian,
which is 50 for the default, in coordinate units.

Shapes: R regions, H and W of a region, D embedding channels, J competing seeds of a region.
"""

import math

import torch
from torch import Tensor

from .checks import at_least_float32, check_choice

KERNELS = ("laplacian", "gaussian")
EPSILON = 1e-4  # in squared coordinate units
_BYTES_ON_CPU = 2**21  # for the differences that are computed at once
_BYTES_ON_GPU = 2**27


def softened_distance(a: Tensor, b: Tensor, *, dim: int, epsilon: float = EPSILON) -> Tensor:
    """√(‖a − b‖² + ε) along `dim`, in float32 at least; `a` and `b` broadcast.

    It squares and sums the differences. Expanding the square into a matrix product would be
    faster, but in float32 it loses small distances.

    Example:
        >>> softened_distance(torch.zeros(2), torch.tensor([3.0, 4.0]), dim=0)
        tensor(5.0000)
    """
    difference = at_least_float32(a) - at_least_float32(b)
    return (difference.square().sum(dim=dim) + epsilon).sqrt()


def log_kernel(distance: Tensor, sigma: Tensor | float, kernel: str = "laplacian") -> Tensor:
    """log K_σ of distances of any shape; at most 0.

    "laplacian": −d / σ, equation (9). "gaussian": −d² / (2σ²), equation (7) with a scale.

    Args:
        distance: d, in coordinate units.
        sigma: σ, in coordinate units.
        kernel: one of `KERNELS`.

    Example:
        >>> log_kernel(torch.tensor([0.0, 10.0]), sigma=5.0).exp()
        tensor([1.0000, 0.1353])
    """
    check_choice("kernel", kernel, KERNELS)
    if kernel == "gaussian":
        return distance.square() / (-2 * sigma**2)
    return distance / -sigma


def bilateral_embedding(
    image: Tensor, coordinates: Tensor, *, sigma_space: float, sigma_range: float
) -> Tensor:
    """The embedding Ψ whose Gaussian kernel is the classic bilateral kernel: equation (8) with
    Φ^g = 0 and Φ^a = RGB.

    Each part is divided by its own scale, so the kernel's σ is 1.

    Args:
        image: (..., C, H, W), in any colour space.
        coordinates: (..., 2, H, W).
        sigma_space: scale of the spatial factor, in coordinate units.
        sigma_range: scale of the colour factor, in the unit of the image.

    Returns:
        (..., 2 + C, H, W)

    Example:
        >>> grey = torch.tensor([[[0.0, 1.0]]])  # one channel of 1 × 2 pixels
        >>> coordinates = torch.tensor([[[0.5, 1.5]], [[0.5, 0.5]]])
        >>> bilateral_embedding(grey, coordinates, sigma_space=2.0, sigma_range=0.5)[:, 0]
        tensor([[0.2500, 0.7500],
                [0.2500, 0.2500],
                [0.0000, 2.0000]])
    """
    coordinates = coordinates.expand(*image.shape[:-3], *coordinates.shape[-3:])
    return torch.cat([coordinates / sigma_space, image / sigma_range], dim=-3)


def seed_weights(logits: Tensor) -> Tensor:
    """How likely each pixel of a region is its seed: p, the softmax of the mask logits over the
    region (section 3.5).

    This is the differentiable form of choosing the pixel with the largest logit.

    Args:
        logits: mask logits, (R, H, W).

    Returns:
        p, (R, H, W), float32 at least; sums to 1 in each region.

    Example:
        >>> seed_weights(torch.tensor([[[0.0, 0.0], [-1000.0, 0.0]]]))
        tensor([[[0.3333, 0.3333],
                 [0.0000, 0.3333]]])
    """
    return at_least_float32(logits).flatten(1).softmax(dim=1).view_as(logits)


def seed_embedding(weights: Tensor, embedding: Tensor) -> Tensor:
    """The expected embedding of the seed, Σ_u p(u) Ψ_u (section 3.5).

    Args:
        weights: p of `seed_weights`, (R, H, W).
        embedding: Ψ, (R, D, H, W).

    Returns:
        (R, D), float32 at least.

    Example:
        >>> logits = torch.tensor([[[50.0, 0.0]]])  # one region of 1 × 2 pixels, sure of the left
        >>> embedding = torch.tensor([[[[3.0, 9.0]], [[4.0, 9.0]]]])
        >>> seed_embedding(seed_weights(logits), embedding)
        tensor([[3., 4.]])
    """
    # A sum of products: autocast would compute a matrix product in half precision.
    return (weights[:, None] * at_least_float32(embedding)).sum(dim=(2, 3))


def seed_log_kernel(
    embedding: Tensor,
    seed: Tensor,
    sigma: Tensor | float,
    kernel: str = "laplacian",
    *,
    epsilon: float = EPSILON,
) -> Tensor:
    """log K_σ between the pixels of each region and the region's seed, equation (7) or (9).

    Args:
        embedding: Ψ, (R, D, H, W).
        seed: (R, D).
        sigma, kernel: as in `log_kernel`.
        epsilon: as in `softened_distance`.

    Returns:
        (R, H, W), float32 at least.

    Example:
        >>> embedding = torch.tensor([[[[0.0, 3.0]], [[0.0, 4.0]]]])  # at the seed, and 5 away
        >>> seed_log_kernel(embedding, torch.zeros(1, 2), sigma=5.0)
        tensor([[[-0.0020, -1.0000]]])
    """
    distance = softened_distance(embedding, seed[..., None, None], dim=1, epsilon=epsilon)
    return log_kernel(distance, sigma, kernel)


def log_one_minus_exp(log_k: Tensor) -> Tensor:
    """log(1 − K) = log(1 − exp(log K)) for log K < 0 of any shape, accurate at both ends.

    Example:
        >>> log_one_minus_exp(torch.tensor([-1e-4, -50.0]))
        tensor([-9.2104e+00, -1.9287e-22])
    """
    # For log K near 0, 1 − K loses digits. There 1 − eˣ = −2 e^(x/2) sinh(x/2) is as exact as
    # expm1, which ONNX does not have. For small K: log1p.
    near = log_k > -math.log(2)
    # Where a branch is not chosen, it gets a harmless value: its gradient is multiplied by 0, and
    # NaN times 0 is NaN.
    half = torch.where(near, log_k, -1.0) / 2
    close = torch.log(-2 * torch.sinh(half)) + half
    far = torch.log1p(-torch.exp(torch.where(near, -1.0, log_k)))
    return torch.where(near, close, far)


def log_odds(log_k: Tensor) -> Tensor:
    """The logit of K, log K − log(1 − K), for log K < 0 of any shape: positive where K > 1/2.

    Example:
        >>> log_odds(torch.tensor([0.25, 0.75]).log())
        tensor([-1.0986,  1.0986])
    """
    return log_k - log_one_minus_exp(log_k)


def share_odds(
    embedding: Tensor,
    seeds: Tensor,
    weights: Tensor,
    background: Tensor | float,
    sigma: Tensor | float,
    kernel: str = "laplacian",
) -> Tensor:
    """The logit of P, the share of each pixel that the region's own seed wins. Not in the paper.

    The own seed competes with other seeds and with a background b:
    P = K / (K + b + Σ_j w_j K_j). K is the kernel to the own seed, K_j to another seed.

    Args:
        embedding: Ψ, (R, D, H, W).
        seeds: (R, 1 + J, D), the region's own seed first.
        weights: w of the other seeds, (R, J).
        background: b > 0, a scalar.
        sigma, kernel: as in `log_kernel`.

    Returns:
        log K − log(b + Σ_j w_j K_j), (R, H, W), float32 at least.

    Example:
        >>> embedding = torch.zeros(1, 2, 1, 1)  # one pixel, at its own seed; another is 5 away
        >>> seeds, weights = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.tensor([[1.0]])
        >>> share_odds(embedding, seeds, weights, 0.5, sigma=5.0).sigmoid()  # 1 / (1 + 0.5 + 1/e)
        tensor([[[0.5349]]])
    """
    if torch.jit.is_tracing() or (rows := _regions_at_once(embedding, seeds)) >= len(embedding):
        return _share_odds(embedding, seeds, weights, background, sigma, kernel)
    blocks = zip(*(x.split(rows) for x in (embedding, seeds, weights)), strict=True)
    return torch.cat([_share_odds(e, s, w, background, sigma, kernel) for e, s, w in blocks])


def _share_odds(embedding, seeds, weights, background, sigma, kernel) -> Tensor:
    distance = softened_distance(embedding[:, None], seeds[..., None, None], dim=2)
    log_k = log_kernel(distance, sigma, kernel)
    others = (weights[..., None, None] * log_k[:, 1:].exp()).sum(dim=1)
    return log_k[:, 0] - (background + others).log()


def _regions_at_once(embedding: Tensor, seeds: Tensor) -> int:
    """How many regions to compute at once, so that their differences to all seeds stay within a
    bound on memory. On the CPU they fit into the caches, which is several times as fast."""
    limit = _BYTES_ON_CPU if embedding.device.type == "cpu" else _BYTES_ON_GPU
    return max(1, limit // (4 * seeds.shape[1] * math.prod(embedding.shape[1:])))
