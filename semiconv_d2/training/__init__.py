"""From a config to a trained model: checked configs, the trainer, and what a run leaves."""

from .checks import EVALUATION, TRAINING, Start
from .configs import fit_config, load_checked_config, load_config, register_own_data
from .messages import show_messages
from .trainer import Trainer

__all__ = [
    "EVALUATION",
    "TRAINING",
    "Start",
    "Trainer",
    "fit_config",
    "load_checked_config",
    "load_config",
    "register_own_data",
    "show_messages",
]
