"""Files that people name: what is read from them, with errors that say what to look at; and whether
results can be written where they are to go, asked before there are any."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DatasetError

_LISTED = 8  # entries of a folder named in a message


def require_folders(root: Path, folders: Iterable[str], what: str) -> None:
    """Check that a download has its folders.

    Raises:
        DatasetError: naming what was expected, what is missing and what is there instead.
    """
    folders = list(folders)
    missing = [folder for folder in folders if not (root / folder).is_dir()]
    if missing:
        raise DatasetError(
            f"{root} is not {what}: expected the folders {', '.join(folders)}; missing: "
            f"{', '.join(missing)}; found: {describe_folder(root)}"
        )


def describe_folder(folder: Path) -> str:
    """What lies in a folder, in a few words for a message."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "nothing, there is no such folder"
    names = [_describe_entry(entry) for entry in sorted(folder.iterdir())]
    if not names:
        return "an empty folder"
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _describe_entry(path: Path) -> str:
    if not path.exists():
        return f"{path.name} (a link to {path.readlink()}, which is not there)"
    return f"{path.name}/" if path.is_dir() else path.name


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped.

    Raises:
        DatasetError: the file is missing or no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def read_json(path: Path) -> object:
    """What a JSON file has, with or without a byte order mark.

    Raises:
        DatasetError: the file is missing, no text, empty or no JSON.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    if not text.strip():
        raise DatasetError(f"{path} is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{path} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except (RecursionError, ValueError) as error:  # a number of thousands of digits
        raise DatasetError(f"{path} cannot be read as JSON: {error}") from error


def read_image(path: Path, modes: Iterable[str]) -> np.ndarray:
    """Pixels of an image file, as its mode stores them: (H, W) or (H, W, C) uint8.

    Args:
        path: the file.
        modes: Pillow's names of the modes that make sense, such as "L" or "P".

    Raises:
        DatasetError: the file is missing, damaged, no image, or of another mode.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"cannot read the image {path}: {error}") from error
    if mode not in modes:
        raise DatasetError(f"{path} is an image of mode {mode}, expected {' or '.join(modes)}")
    return pixels


def read_image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file in pixels, from its header.

    Raises:
        DatasetError: the file is missing or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"cannot read the image {path}: {error}") from error


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W) uint8 as a grey image."""
    from PIL import Image

    Image.fromarray(pixels).save(path)


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
