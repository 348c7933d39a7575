"""The semi-convolutional embedding Ψ, equations (2), (3) and (6).

In this order: coordinates u of feature maps and of regions; mixing of coordinates with
convolutional features Φ; sampling of a map between its cells; scaling of the gradient that the
embedding sends to the backbone (section 3.5).

Coordinates are (x, y), in units of `unit` image pixels: 1 gives pixels, the stride of a feature
level gives its cells. The cell of index i of a map with stride s is centred at (i + 0.5)·s image
pixels.

Shapes: R regions, M samples along the side of a region, C channels, D embedding channels, H and W
cells of a feature map.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_choice

MIXINGS = ("additive", "none")


def map_coordinates(
    height: int,
    width: int,
    *,
    stride: float = 1.0,
    unit: float = 1.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Coordinates u of the centres of the cells of a feature map, for `mix`.

    Args:
        height, width: H and W, in cells.
        stride: image pixels per cell.
        unit: image pixels per coordinate unit.

    Returns:
        (2, H, W), measured from the upper left corner of the image.

    Example:
        >>> x, y = map_coordinates(2, 3, stride=4.0)  # in image pixels
        >>> x
        tensor([[ 2.,  6., 10.],
                [ 2.,  6., 10.]])
    """
    x = (torch.arange(width, device=device, dtype=dtype) + 0.5) * (stride / unit)
    y = (torch.arange(height, device=device, dtype=dtype) + 0.5) * (stride / unit)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def region_coordinates(boxes: Tensor, side: int, unit: Tensor | float = 1.0) -> Tensor:
    """Coordinates u of the sample points of regions, for `mix`.

    Sample j of M lies at x0 + (j + 0.5)·w/M. Aligned ROIAlign samples at the same points, also
    where a box reaches across the border of the image.

    Args:
        boxes: (R, 4), x0, y0, x1, y1 in image pixels.
        side: M.
        unit: image pixels per coordinate unit; one number, or (R,), one for each region.

    Returns:
        (R, 2, M, M), measured from the upper left corner of the image.

    Example:
        >>> box = torch.tensor([[8.0, 0.0, 16.0, 4.0]])  # 8 pixels wide; a cell has 4
        >>> region_coordinates(box, side=2, unit=4.0)[0, 0]
        tensor([[2.5000, 3.5000],
                [2.5000, 3.5000]])
    """
    if isinstance(unit, Tensor):
        unit = unit[:, None]
    first, last = (boxes / unit)[..., None].split(2, dim=1)
    half = 0.5 / side
    shares = torch.linspace(half, 1 - half, side, device=boxes.device, dtype=boxes.dtype)
    x, y = torch.lerp(first, last, shares).unbind(dim=1)
    # The number of regions is left open: tracing would make a constant of it.
    x, y = x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)
    return torch.stack([x, y], dim=1)


def mix(features: Tensor, coordinates: Tensor, mixing: str = "additive") -> Tensor:
    """The embedding Ψ_u = f(Φ_u, u) of convolutional features Φ, equation (2).

    "additive" adds the coordinates to the first two channels, the geometric ones, and leaves the
    others as they are: Ψ_u = û + Φ_u with û = [u_x, u_y, 0, …, 0], equations (3) and (6).
    "none" is the purely convolutional ablation, Ψ_u = Φ_u.

    Args:
        features: Φ, (..., D, H, W) with D ≥ 2.
        coordinates: u, (..., 2, H, W) as (x, y), in the unit of the geometric channels.
        mixing: one of `MIXINGS`.

    Returns:
        Ψ, (..., D, H, W)

    Raises:
        ValueError: the mixing is unknown, or D < 2.

    Example:
        >>> features = torch.full((3, 1, 2), 0.25)  # three channels of a map of 1 × 2 cells
        >>> mix(features, map_coordinates(1, 2))[:, 0]
        tensor([[0.7500, 1.7500],
                [0.7500, 0.7500],
                [0.2500, 0.2500]])
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


def sample_map(feature_map: Tensor, points: Tensor, stride: float = 1.0) -> Tensor:
    """Values of a feature map at points of the image, by bilinear interpolation.

    Beyond the outermost centres of cells, the values of the outermost cells are repeated.

    Args:
        feature_map: (C, H, W).
        points: (..., 2), x and y in image pixels.
        stride: image pixels per cell of the map.

    Returns:
        (C, ...), with a graph where the map has one.

    Example:
        >>> feature_map = torch.tensor([[[0.0, 10.0]]])  # cells centred at x = 2 and x = 6
        >>> sample_map(feature_map, torch.tensor([[3.0, 2.0], [9.0, 2.0]]), stride=4.0)
        tensor([[ 2.5000, 10.0000]])
    """
    if not points.numel():  # grid_sample refuses an empty grid
        return feature_map.flatten(1)[:, :0].reshape(len(feature_map), *points.shape[:-1])
    # Sizes are not put into a tensor: tracing would make constants of them.
    sides = reversed(feature_map.shape[-2:])
    axes = zip(points.unbind(dim=-1), sides, strict=True)
    grid = torch.stack([2 * u / (side * stride) - 1 for u, side in axes], dim=-1)
    sampled = F.grid_sample(
        feature_map[None],
        grid.reshape(1, 1, -1, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled.view(-1, *points.shape[:-1])


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Returns `x` bit for bit, and multiplies the gradient that flows back through it by `scale`.

    A scale of 0 stops the gradient. Section 3.5 uses 1/10 between backbone and embedding.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> y = scale_gradient(x, 0.1)
        >>> y.backward()
        >>> y.item(), x.grad
        (3.0, tensor(0.1000))
    """
    if scale == 0.0:
        return x.detach()
    if scale == 1.0 or not (torch.is_grad_enabled() and x.requires_grad):
        return x
    return _ScaleGradient.apply(x, scale)
