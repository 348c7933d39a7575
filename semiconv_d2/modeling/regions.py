"""Boxes of several images in one tensor."""

from collections.abc import Sequence

import torch
from detectron2.structures import Boxes
from torch import Tensor
from torch.nn import functional as F


def index_boxes(boxes: Sequence[Boxes]) -> Tensor:
    """Boxes in the format of ROIAlign: index of the image, x0, y0, x1, y1; (R, 5).

    Detectron2's `convert_boxes_to_pooler_format` gives the same but has to wait for the GPU.
    """
    return torch.cat([F.pad(b.tensor, (1, 0), value=float(i)) for i, b in enumerate(boxes)])
