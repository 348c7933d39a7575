"""Trained models at work."""

from .predictor import Predictor

__all__ = ["Predictor"]
