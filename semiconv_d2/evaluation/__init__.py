"""Measures of instance segmentation, for this plugin's models and for anybody's results."""

from .evaluation import Difference, Evaluation, compare, evaluate
from .measures import (
    MEASURES,
    Detections,
    MeasureError,
    Row,
    Threshold,
    check_measures,
    choose_threshold,
    lacks,
)
from .reading import cut_to_foreground, find_truth, load_truth, read_results
from .tables import format_differences, format_evaluation

__all__ = [
    "MEASURES",
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
    "read_results",
]
