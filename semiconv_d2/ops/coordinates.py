"""Pixel-centre coordinates û of feature maps and of regions, the u of equations (2) to (6).

All are (x, y), in units of `unit` image pixels: 1 gives pixels, the stride of a feature level
gives its cells. Index i of a map with stride s is centred at (i + 0.5)·s image pixels.

Shapes: R regions, M samples along the side of a region, H and W cells of a feature map.
"""

import torch
from torch import Tensor


def map_coordinates(
    height: int,
    width: int,
    *,
    stride: float = 1.0,
    unit: float = 1.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Coordinates of the cells of a feature map, from the image's upper left corner: (2, H, W)."""
    x = (torch.arange(width, device=device, dtype=dtype) + 0.5) * (stride / unit)
    y = (torch.arange(height, device=device, dtype=dtype) + 0.5) * (stride / unit)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def region_coordinates(boxes: Tensor, side: int, unit: Tensor | float = 1.0) -> Tensor:
    """Coordinates of the sample points of regions, in the frame of their image.

    Sample j of M lies at x0 + (j + 0.5)·w/M, where ROIAlign (aligned) takes it, also where a box
    reaches across the border of the image.

    Args:
        boxes: (R, 4), x0, y0, x1, y1 in image pixels.
        side: M.
        unit: image pixels to the coordinate unit; one number, or (R,) one for each region.

    Returns:
        (R, 2, M, M)

    Example:
        >>> region_coordinates(torch.tensor([[8.0, 0.0, 16.0, 4.0]]), side=2, unit=4.0)[0, 0]
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
