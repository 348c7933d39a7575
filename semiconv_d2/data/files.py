"""Reads files that users name, with errors that say what to look at; and checks, before there are
any results, that they can be written."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigError, DatasetError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LISTED = 8  # entries of a folder named in a message
_PROBLEMS = 10  # problems named in one message
_OTHER_CODINGS = {
    b"\x1f\x8b": "it is compressed by gzip: unpack it",
    b"PK\x03\x04": "it is a ZIP archive: unpack it",
    b"\xff\xfe": "it is in UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is in UTF-16: save it as UTF-8",
}
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories of invisible characters


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
    rest = len(names) - _LISTED
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(names[:_LISTED]) + more if names else "an empty folder"


def _describe_entry(path: Path) -> str:
    if not path.exists():
        return f"{path.name} (a link to {path.readlink()}, which is not there)"
    return f"{path.name}/" if path.is_dir() else path.name


def one_line(text: object) -> str:
    """A text on one line and `printable`: for messages of other libraries, and names of files."""
    return printable(" ".join(str(text).split()))


def printable(text: str) -> str:
    """A text in which characters that control a terminal or the direction of writing are escaped,
    such as "\\x1b"; line breaks stay."""
    return "".join(
        each
        if each in "\n\t" or unicodedata.category(each) not in _STEERING
        else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def read_text(path: Path) -> str:
    """The content of a text file, which may have a byte order mark.

    Raises:
        DatasetError: the file is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"cannot read {path}: {_tell_coding(error)}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


def _tell_coding(error: UnicodeDecodeError) -> str:
    """What a file is that is not UTF-8, by its first bytes."""
    for start, what in _OTHER_CODINGS.items():
        if error.object.startswith(start):
            return what
    return f"it is not text in UTF-8 ({error.reason} at byte {error.start})"


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped; raises as `read_text` does."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def read_json(path: Path) -> object:
    """The content of a JSON file, which may have a byte order mark.

    Raises:
        DatasetError: the file is missing, not text, empty or not JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise DatasetError(f"{path} is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{path} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except (RecursionError, ValueError) as error:  # such as a number of thousands of digits
        raise DatasetError(f"{path} cannot be read as JSON: {error}") from error


def try_each(
    action: Callable[[Item], Result], items: Iterable[Item]
) -> tuple[list[tuple[Item, Result]], list[str]]:
    """Do something for every item, and collect errors.

    Returns: the items without an error with their results, and the messages of the errors.
    """
    results, problems = [], []
    for item in items:
        try:
            results.append((item, action(item)))
        except DatasetError as error:
            problems.append(str(error))
    return results, problems


def refuse_all(problems: Sequence[str]) -> None:
    """Raises `DatasetError` if there are problems, with the first ten on one line."""
    if len(problems) == 1:
        raise DatasetError(problems[0])
    if problems:
        told = "; ".join(problems[:_PROBLEMS])
        rest = len(problems) - _PROBLEMS
        more = f"; and {rest:,} more" if rest > 0 else ""
        raise DatasetError(f"{len(problems):,} problems: {told}{more}")


def check_folder(path: Path, option: str) -> None:
    """Raises `ConfigError` if a path cannot be a folder, or nothing can be written into it.

    Args:
        option: what named it; the message begins with it.
    """
    there = next(p for p in (path, *path.absolute().parents) if os.path.exists(p))
    if not there.is_dir():
        raise ConfigError(f"{option} {path}: {there} is a file; name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} {path}: cannot write into {there}; name another folder.")


def check_kept(written: Iterable[tuple[str, Path]], read: Iterable[Path]) -> None:
    """Raises `ConfigError` if a command would replace a file that it reads.

    Args:
        written: the option that named it, and its path, for each file.
        read: paths of the files that are read.
    """
    there = [(option, path) for option, path in written if path.exists()]
    kept = {path.resolve() for path in read} if there else set()
    for option, path in there:
        if path.resolve() in kept:
            raise ConfigError(
                f"{option} would replace {path}, which this command reads: name another place."
            )


def check_file(path: Path, option: str) -> None:
    """Raises `ConfigError` if a file cannot be written; see `check_folder`."""
    if path.is_dir():
        raise ConfigError(f"{option} {path}: that is a folder; name a file in it.")
    check_folder(path.parent, option)
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError(f"{option} {path}: the file is write-protected; name another file.")
