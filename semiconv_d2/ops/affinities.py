"""Kernels (section 3.4) between the pixels of a whole image, within a bound on memory.

In this order: log K between every pixel and some seeds; log K between all pairs of pixels; the
kernel-weighted mean of an image's values.

Each function takes an image as (D, H, W), or a list of pixels as (P, D) with P = H·W, and returns
the same layout. Kernels and ε are those of `kernels`.

Shapes: H and W of an image, P pixels, S seeds, C channels, D embedding channels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .checks import at_least_float32
from .kernels import EPSILON, log_kernel, softened_distance

MAX_BYTES = 64 * 2**20


def log_affinities(
    embedding: Tensor,
    seeds: Tensor,
    sigma: Tensor | float,
    kernel: str = "laplacian",
    *,
    epsilon: float = EPSILON,
) -> Tensor:
    """log K_σ between all pixels and each seed, equation (7) or (9).

    It needs memory for 2·S·D·P numbers.

    Args:
        embedding: Ψ, (D, H, W) or (P, D).
        seeds: (S, D).
        sigma, kernel: as in `log_kernel`.
        epsilon: as in `softened_distance`.

    Returns:
        (S, H, W) or (S, P), float32 at least.

    Example:
        >>> pixels = torch.tensor([[0.0], [5.0], [10.0]])  # three pixels of one channel
        >>> log_affinities(pixels, seeds=pixels[:1], sigma=5.0).exp()
        tensor([[0.9980, 0.3679, 0.1353]])
    """
    channels = _channels_first(embedding)
    if seeds.dim() != 2 or seeds.shape[1] != len(channels):
        raise ValueError(
            f"seeds has shape {tuple(seeds.shape)}; it must be (S, {len(channels)}), as the "
            f"embedding has {len(channels)} channels."
        )
    distance = softened_distance(seeds[:, :, None], channels, dim=1, epsilon=epsilon)
    return log_kernel(distance, sigma, kernel).unflatten(1, _pixels(embedding))


def log_affinity_blocks(
    embedding: Tensor,
    sigma: Tensor | float,
    kernel: str = "laplacian",
    *,
    max_bytes: int = MAX_BYTES,
    epsilon: float = EPSILON,
) -> Iterator[tuple[slice, Tensor]]:
    """log K_σ between all pairs of pixels, equation (7) or (9), in blocks of rows of the P × P
    matrix.

    Args:
        embedding: Ψ, (D, H, W) or (P, D).
        sigma, kernel: as in `log_kernel`.
        max_bytes: bound on the memory of a block: its result, the intermediate values, and the
            previous block. Gradients need more memory: the graph keeps every block.
        epsilon: as in `softened_distance`.

    Yields:
        The rows, as a slice of the P pixels in row-major order, and their log K, (rows, P), float32
        at least.

    Raises:
        ValueError: `max_bytes` is too small for a single row.

    Example:
        >>> pixels = torch.tensor([[0.0], [5.0], [10.0]])  # three pixels of one channel
        >>> for rows, log_k in log_affinity_blocks(pixels, sigma=5.0, max_bytes=100):
        ...     print(rows, log_k.exp())
        slice(0, 2, None) tensor([[0.9980, 0.3679, 0.1353],
                [0.3679, 0.9980, 0.3679]])
        slice(2, 3, None) tensor([[0.1353, 0.3679, 0.9980]])
    """
    psi = at_least_float32(_channels_first(embedding)).T
    pixels, channels = psi.shape
    # D differences and D squares, a distance, and the previous block if the caller still holds it.
    row_bytes = (2 * channels + 2) * pixels * psi.element_size()
    step = max_bytes // row_bytes
    if step < 1:
        raise ValueError(
            f"max_bytes is {max_bytes:,}; one row of the affinities between {pixels:,} pixels "
            f"of {channels} channels needs {row_bytes:,}."
        )
    blocks = (slice(start, min(start + step, pixels)) for start in range(0, pixels, step))
    return (
        (rows, log_affinities(psi, psi[rows], sigma, kernel, epsilon=epsilon)) for rows in blocks
    )


def kernel_filter(
    values: Tensor,
    embedding: Tensor,
    sigma: Tensor | float,
    kernel: str = "laplacian",
    *,
    max_bytes: int = MAX_BYTES,
    epsilon: float = EPSILON,
) -> Tensor:
    """The kernel-weighted mean over all pixels v, at each pixel u: Σ_v K(u, v) x_v / Σ_v K(u, v).

    With a `bilateral_embedding`, σ = 1 and the kernel "gaussian" this is the bilateral filter,
    equation (8).

    Args:
        values: x, (C, H, W) or (P, C), in the layout of the embedding.
        embedding: Ψ, (D, H, W) or (P, D).
        sigma, kernel: as in `log_kernel`.
        max_bytes: as in `log_affinity_blocks`; the result is not counted.
        epsilon: as in `softened_distance`.

    Returns:
        The shape of `values`, in the precision of the affinities.

    Raises:
        ValueError: values and embedding do not have the same pixels, or `max_bytes` is too small.

    Example:
        >>> embedding = torch.tensor([[0.0], [0.0], [99.0]])  # the third pixel is far away
        >>> kernel_filter(torch.tensor([[1.0], [3.0], [8.0]]), embedding, sigma=1.0)
        tensor([[2.],
                [2.],
                [8.]])
    """
    x = _channels_first(values)
    if _pixels(values) != _pixels(embedding):
        raise ValueError(
            f"values has shape {tuple(values.shape)} and embedding {tuple(embedding.shape)}; "
            "they must have the same pixels, in the same layout."
        )
    filtered = []
    blocks = log_affinity_blocks(embedding, sigma, kernel, max_bytes=max_bytes, epsilon=epsilon)
    with torch.autocast(embedding.device.type, enabled=False):  # keeps the product in float32
        for _, log_k in blocks:
            filtered.append(x.to(log_k.dtype) @ log_k.softmax(dim=1).T)
    means = torch.cat(filtered, dim=1)
    return means.T if values.dim() == 2 else means.view(values.shape)


def _pixels(x: Tensor) -> torch.Size:
    """(H, W) or (P,)."""
    return x.shape[1:] if x.dim() == 3 else x.shape[:1]


def _channels_first(x: Tensor) -> Tensor:
    """(D, H, W) or (P, D) as (D, P)."""
    if x.dim() not in (2, 3) or x.numel() == 0:
        raise ValueError(
            f"The shape {tuple(x.shape)} is neither that of an image, (channels, height, width), "
            "nor that of a list of pixels, (pixels, channels)."
        )
    return x.flatten(1) if x.dim() == 3 else x.T
