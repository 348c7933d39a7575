"""From a config to a trained model: checked configs, the trainer, and what a run leaves."""

from .setup import load_checked_config, load_config, register_own_data, show_messages
from .trainer import Trainer

__all__ = [
    "Trainer",
    "load_checked_config",
    "load_config",
    "register_own_data",
    "show_messages",
]
