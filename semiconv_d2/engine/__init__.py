"""Trainer and set-up that the command-line tools share."""

from .optimizer import build_optimizer, learning_rate_factor
from .predictor import Predictor
from .setup import (
    ConfigError,
    load_checked_config,
    load_config,
    register_own_data,
    show_messages,
)
from .trainer import Trainer

__all__ = [
    "ConfigError",
    "Predictor",
    "Trainer",
    "build_optimizer",
    "learning_rate_factor",
    "load_checked_config",
    "load_config",
    "register_own_data",
    "show_messages",
]
