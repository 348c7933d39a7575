"""Embedding maps as colours."""

import torch
from torch import Tensor


def principal_colours(features: Tensor) -> Tensor:
    """The three principal components of a map, as red, green and blue.

    Each component is scaled to [0, 1] between its 2nd and 98th percentile; a component that
    does not vary is 0.5. Signs are chosen so that the same map has the same colours everywhere.

    Args:
        features: (D, H, W), D ≥ 1.

    Returns:
        (H, W, 3) in [0, 1].
    """
    dim, height, width = features.shape
    pixels = features.detach().double().flatten(1).T
    pixels = pixels - pixels.mean(dim=0)
    _, _, axes = torch.linalg.svd(pixels.T @ pixels)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    components = pixels @ (axes * largest.sign()).T[:, : min(3, dim)]

    low, high = (torch.quantile(components, q, dim=0) for q in (0.02, 0.98))
    flat = high - low < 1e-9 * max(1.0, features.abs().max().item())
    scaled = ((components - low) / torch.where(flat, 1.0, high - low)).clamp(0, 1)
    colours = torch.full((height * width, 3), 0.5)
    colours[:, : scaled.shape[1]] = torch.where(flat, 0.5, scaled).float()
    return colours.view(height, width, 3)
