"""Mixing functions Ψ_u = f(Φ_u, u), equation (2)."""

import torch
from torch import Tensor

from .choices import check_choice

MIXINGS = ("additive", "none")


def mix(features: Tensor, coordinates: Tensor, mixing: str = "additive") -> Tensor:
    """The semi-convolutional embedding Ψ of convolutional features Φ.

    "additive" adds the coordinates to the first two channels, the geometric ones, and leaves the
    others as they are: Ψ_u = û + Φ_u with û = [u_x, u_y, 0, …, 0], equations (3) and (6).
    "none" is the purely convolutional ablation, Ψ_u = Φ_u.

    Args:
        features: Φ, (..., D, H, W) with D ≥ 2.
        coordinates: u, (..., 2, H, W) as (x, y), in the unit that the geometric channels are in.

    Returns:
        Ψ, (..., D, H, W)
    """
    check_choice("mixing", mixing, MIXINGS)
    if mixing == "none":
        return features
    if features.shape[-3] < 2:
        raise ValueError(
            f"Additive mixing needs at least 2 embedding channels, not {features.shape[-3]}: "
            "the first two are geometric."
        )
    geometric, appearance = features[..., :2, :, :], features[..., 2:, :, :]
    return torch.cat([geometric + coordinates, appearance], dim=-3)
