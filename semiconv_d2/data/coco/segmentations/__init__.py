"""Masks as COCO's format writes them, read so that nothing unchecked reaches pycocotools.

Its C code checks nothing. A polygon with NaN or with an outline of a billion pixels, or a
run-length encoding of an absurd size, ends the process. An encoding whose runs are too short gives
pixels from memory that was never written.

Coordinates are (x, y) in pixels from the top left corner of the image. Sizes are (height, width).
"""

from .drawing import count_pixels, decode_mask, draw_polygons, draw_with_holes
from .error import SegmentationError
from .outlines import (
    FLAT,
    RELATIVE,
    are_exchanged,
    are_flat,
    are_relative,
    area_of_nested,
    find_holes,
    find_nested,
    measure_outlines,
)
from .polygons import (
    FARTHEST,
    LONGEST,
    bound_outline,
    clip_polygon,
    outline_length,
    plain_polygons,
    polygon_area,
    read_polygon,
)
from .run_lengths import (
    RUNS_DO_NOT_ADD_UP,
    check_encoding,
    decode_counts,
    encode_mask,
    measure_runs,
    merge_boxes,
)
from .unwrapping import unwrap

__all__ = [
    "FARTHEST",
    "FLAT",
    "LONGEST",
    "RELATIVE",
    "RUNS_DO_NOT_ADD_UP",
    "SegmentationError",
    "are_exchanged",
    "are_flat",
    "are_relative",
    "area_of_nested",
    "bound_outline",
    "check_encoding",
    "clip_polygon",
    "count_pixels",
    "decode_counts",
    "decode_mask",
    "draw_polygons",
    "draw_with_holes",
    "encode_mask",
    "find_holes",
    "find_nested",
    "measure_outlines",
    "measure_runs",
    "merge_boxes",
    "outline_length",
    "plain_polygons",
    "polygon_area",
    "read_polygon",
    "unwrap",
]
