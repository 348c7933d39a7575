"""Measures of instance segmentation, for this plugin's models and results of any other model."""

from ..errors import MeasureError
from .equal_terms import cut_to_foreground, rank_by_size
from .evaluation import Difference, Evaluation, compare, evaluate
from .measures import (
    MEASURES,
    NEED_THRESHOLD,
    Detections,
    Row,
    Threshold,
    check_measures,
    choose_threshold,
    lacks,
)
from .reading import find_truth, load_truth, read_results
from .tables import format_differences, format_evaluation

__all__ = [
    "MEASURES",
    "NEED_THRESHOLD",
    "Detections",
    "Difference",
    "Evaluation",
    "MeasureError",
    "Row",
    "Threshold",
    "check_measures",
    "choose_threshold",
    "compare",
    "cut_to_foreground",
    "evaluate",
    "find_truth",
    "format_differences",
    "format_evaluation",
    "lacks",
    "load_truth",
    "rank_by_size",
    "read_results",
]
