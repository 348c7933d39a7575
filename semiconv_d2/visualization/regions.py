"""Pictures of what happens inside single regions."""

import torch
from torch import Tensor

MAX_REGIONS = 8
SCALE = 4  # picture pixels to a sample of a region
GAP = 4  # picture pixels between tiles


def draw_regions(*columns: Tensor) -> Tensor:
    """One row of grey tiles for each region, each column scaled on its own to fill [0, 1].

    The seed's weights sum to 1 over the region, so without scaling they would all look black.

    Args:
        columns: (R, M, M) each, non-negative or boolean; of R regions at most `MAX_REGIONS` are
            drawn.

    Returns:
        (3, H, W) uint8, as TensorBoard takes it.
    """
    rows = [
        torch.cat([_tile(c[i]) for c in columns], dim=1)
        for i in range(min(len(columns[0]), MAX_REGIONS))
    ]
    picture = torch.cat(rows)[:-GAP, :-GAP]
    return (picture * 255).round().to(torch.uint8).expand(3, -1, -1)


def _tile(values: Tensor) -> Tensor:
    """(M, M) to a picture with a white gap at its right and lower side."""
    values = values.float()
    values = values / values.max().clamp(min=torch.finfo(values.dtype).tiny)
    large = values.repeat_interleave(SCALE, dim=0).repeat_interleave(SCALE, dim=1)
    return torch.nn.functional.pad(large, (0, GAP, 0, GAP), value=1.0).cpu()
