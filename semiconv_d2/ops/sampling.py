"""Values of feature maps between their cells."""

from torch import Tensor
from torch.nn import functional as F


def sample_map(feature_map: Tensor, points: Tensor, stride: float = 1.0) -> Tensor:
    """Bilinear values of a feature map at points of the image.

    The cell of index i is centred at (i + 0.5)·stride; beyond the outermost centres the map goes
    on as it is there.

    Args:
        feature_map: (C, H, W).
        points: (..., 2), x and y in image pixels.
        stride: of the map, in image pixels.

    Returns:
        (C, ...), with a graph where the map has one.
    """
    if not points.numel():  # which grid_sample refuses
        return feature_map.flatten(1)[:, :0].reshape(len(feature_map), *points.shape[:-1])
    height, width = feature_map.shape[-2:]
    grid = 2 * points / (points.new_tensor([width, height]) * stride) - 1
    sampled = F.grid_sample(
        feature_map[None],
        grid.reshape(1, 1, -1, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled.view(-1, *points.shape[:-1])
