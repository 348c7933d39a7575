"""Grids of dots or bars that all look alike, as images for InstanceColoring.

All grids are periodic, with a period that is a multiple of the stride, so that every copy falls on
the cells of the feature map in the same way.
"""

from __future__ import annotations

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances

from semiconv_d2.data.datasets.dots import DotSettings, draw_dots

RADIUS, SPACING = 3, 12
"""Pixels, of `DotSettings`. The spacing is a multiple of the stride, 4, and so are the lengths."""
LENGTHS = {"dots": 0, "bars": 24}
"""The objects, by how far a dot is stretched."""
REACH = 22
"""Pixels: how far to the side a pixel's Φ looks at most. A cell of res2 looks 17 to each side, and
a pixel lies up to 5 from the farther one of the cells that it is interpolated from."""
RINGS = -(-(REACH - SPACING // 2 + RADIUS) // SPACING)
"""Of dots that are no instances: they keep the border out of the sight of those that are."""


def grid_settings(shape: str, rows: int, columns: int, padding: bool) -> DotSettings:
    """A grid of dots or bars that goes on in the same way up to the border of the image.

    Args:
        shape: of `LENGTHS`.
        padding: whether the border is in sight of instances; if not, rings lie between.
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
    """An image as InstanceColoring takes it, in training and at test."""
    image, masks = draw_dots(settings, np.random.default_rng(0))  # of a single grid: nothing random
    instances = Instances(image.shape)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    return {
        "image": torch.from_numpy(image).expand(3, -1, -1),
        "instances": instances,
        "foreground": torch.from_numpy(masks.any(axis=0)),
        "num_instances": len(masks),
    }


def label_map(masks: torch.Tensor) -> np.ndarray:
    """The mask that each pixel is in, (H, W); −1 for none.

    Args:
        masks: (N, H, W) boolean, none over another.
    """
    labels = np.full(masks.shape[1:], -1)
    for number, mask in enumerate(masks.cpu().numpy()):
        labels[mask] = number
    return labels
