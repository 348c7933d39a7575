"""Grids of identical dots or bars, as images for InstanceColoring.

All grids are periodic. The period is a multiple of the stride, so every copy has the same position
relative to the cells of the feature map.
"""

from __future__ import annotations

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances

from semiconv_d2.data.datasets.dots import DotSettings, draw_dots

RADIUS, SPACING = 3, 12
"""Of `DotSettings`, in pixels. Spacing and lengths are multiples of the stride, 4."""
LENGTHS = {"dots": 0, "bars": 24}
"""The objects, and how many pixels a dot is stretched to give them."""
REACH = 22
"""Largest distance, in pixels, of the input pixels that Φ at a pixel depends on. A cell of res2
depends on 17 pixels to each side. Φ at a pixel is interpolated from cells up to 5 pixels away."""
RINGS = -(-(REACH - SPACING // 2 + RADIUS) // SPACING)
"""Number of rings of dots around the grid that are not instances. They keep the border out of the
reach of the instances."""


def grid_settings(shape: str, rows: int, columns: int, padding: bool) -> DotSettings:
    """A grid of dots or bars that continues periodically up to the border of the image.

    Args:
        shape: a key of `LENGTHS`.
        rows, columns: of the instances.
        padding: whether the border is in reach of the instances. If not, `RINGS` lie between.
    """
    return DotSettings(
        rows=(rows, rows),
        columns=(columns, columns),
        radius=RADIUS,
        spacing=SPACING,
        margin=SPACING // 2 - RADIUS,
        offset=0,
        length=LENGTHS[shape],
        rings=0 if padding else RINGS,
    )


def draw_input(settings: DotSettings) -> dict:
    """Draws an image in the input format of InstanceColoring, for training and test."""
    image, masks = draw_dots(settings, np.random.default_rng(0))  # nothing is random in one grid
    instances = Instances(image.shape)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    return {
        "image": torch.from_numpy(image).expand(3, -1, -1),
        "instances": instances,
        "foreground": torch.from_numpy(masks.any(axis=0)),
        "num_instances": len(masks),
    }


def label_map(masks: torch.Tensor) -> np.ndarray:
    """The number of the mask that each pixel is in, (H, W); −1: none.

    Args:
        masks: (N, H, W) boolean; they do not overlap.
    """
    labels = np.full(masks.shape[1:], -1)
    for number, mask in enumerate(masks.cpu().numpy()):
        labels[mask] = number
    return labels
