"""Instance colouring without boxes: `InstanceColoring` and its decoders."""

from .decoders import DECODER_REGISTRY, decode
from .instance_coloring import InstanceColoring
from .predictions import Coloring
from .segments import Pixels, Segment, radius

__all__ = [
    "DECODER_REGISTRY",
    "Coloring",
    "InstanceColoring",
    "Pixels",
    "Segment",
    "decode",
    "radius",
]
