"""Errors of whoever typed the command: each message says what is wrong, where, and how to mend it.

Commands print them in one line and end with status 1; anything else that is raised is a bug.
"""


class UserError(ValueError):
    """What a person gave cannot be used; the message is for that person."""


class DatasetError(UserError):
    """A dataset, or what is asked of it, is not what it has to be; the message is one line."""


class ConfigError(UserError):
    """A config that cannot run, with a message for whoever wrote it."""


class TrainingError(UserError):
    """A training that cannot go on; the message is one line."""


class MeasureError(UserError):
    """A measure that is unknown or cannot be computed here; the message is one line."""


class ReportError(UserError):
    """A run that no report can be made of; the message is one line."""
