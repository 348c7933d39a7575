"""Whether results can be written where they are to go, asked before there are any."""

from __future__ import annotations

import os
from pathlib import Path

from .setup import ConfigError


def check_folder(path: Path, option: str) -> None:
    """Raises `ConfigError` where no folder can be made of a path, or nothing written into it.

    Args:
        option: what named it; the message begins with it.
    """
    there = next(p for p in (path, *path.absolute().parents) if os.path.exists(p))
    if not there.is_dir():
        raise ConfigError(f"{option} {path}: {there} is a file; name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} {path}: nothing can be written into {there}; name another.")


def check_file(path: Path, option: str) -> None:
    """Raises `ConfigError` where a file cannot be written.

    Args:
        option: what named it; the message begins with it.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}: that is a folder; name a file in it.")
    check_folder(path.parent, option)
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError(f"{option} {path}: the file is write-protected; name another.")
