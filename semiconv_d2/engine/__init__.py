"""Trainer and set-up that the command-line tools share."""

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
    "load_checked_config",
    "load_config",
    "register_own_data",
    "show_messages",
]
