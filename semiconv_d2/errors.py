"""Errors that users can mend: each message says what is wrong, where, and how to mend it.

Commands print them on one line and end with status 1. Any other exception is a bug.
"""


class UserError(ValueError):
    """Something that the user gave cannot be used; the message is for the user."""


class DatasetError(UserError):
    """A dataset is wrong, or cannot give what is asked of it; the message is one line."""


class ConfigError(UserError):
    """A config that cannot run; the message is for its author."""


class TrainingError(UserError):
    """A training that cannot continue; the message is one line."""


class MeasureError(UserError):
    """A measure that is unknown or cannot be computed here; the message is one line."""


class ExportError(UserError):
    """An exported model computes something else than PyTorch; the message is one line."""


class ReportError(UserError):
    """A run of which no report can be made; the message is one line."""
