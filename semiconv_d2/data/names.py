"""Names of files in other people's data: which files they mean, and which files count."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import DatasetError

_HIDDEN = ("__macosx", "@eadir", "$recycle.bin", "thumbs", "thumbs.db", "desktop.ini")
_MOST_FILES = 200_000  # entries of a folder and those below it that are looked through
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # which Label Studio puts before the name of an upload


def is_hidden(path: Path, below: Path | None = None) -> bool:
    """Whether a file or folder is no data, but something that a system or program has made for
    itself, such as `._a.png` of macOS or the content of `.ipynb_checkpoints`.

    Args:
        below: a folder that contains it; the names of the folders between are looked at too. By
            default only its own name is.
    """
    parts = (path.name,) if below is None else path.relative_to(below).parts
    return any(part.startswith(".") or part.lower() in _HIDDEN for part in parts)


def visible_files(folder: Path) -> Iterator[Path]:
    """All files in a folder and those below it that are not hidden, sorted folder by folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        yield from (Path(parent, name) for name in sorted(files) if not is_hidden(Path(name)))


def is_file(path: Path) -> bool:
    """Whether there is a file of this name; the name may be any text."""
    return exists(path) and path.is_file()


def exists(path: Path) -> bool:
    """Whether there is a file or folder of this name; the name may be any text."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or one with a null character
        return False


def leads_out(name: str) -> bool:
    """Whether a file name leads out of the folder that it starts from."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    return path.is_absolute() or windows.is_absolute() or ".." in windows.parts


def path_inside(folder: Path, name: str | Path) -> Path:
    """Path of a file to be written into a folder.

    Raises:
        DatasetError: the name leads out of it, also by a link.
    """
    path = folder / name
    if leads_out(str(name)) or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"the name {name} leads out of {folder}, where it should be written")
    return path


def base_name(name: str) -> str:
    """The last part of the path that a file name means; the name may have slashes, backslashes, and
    all else that `meant_names` knows."""
    return PurePosixPath(_local_name(name)).name


def stem_of(name: str) -> str:
    """A file name without its extension, which begins with a letter."""
    stem, _, extension = name.rpartition(".")
    return stem if stem and extension[:1].isalpha() else name


def meant_names(name: str, alone: bool) -> Iterator[str]:
    """Names that may be meant by the name of a file that is not there, the most likely one first.

    The name may be an address, percent-encoded and with a query, as Label Studio writes it; a path
    on another computer; or its extension may be in upper instead of lower case.

    Args:
        alone: whether no other file name has the same last part: then that part alone is enough.
    """
    local = _local_name(name)
    meant = [name.replace("\\", "/"), local]
    if alone:
        base = base_name(name)
        meant += [base, _UPLOAD.sub("", base, count=1)]
    spellings = (spelling for each in meant for spelling in _spellings(each))
    yield from (spelling for spelling in dict.fromkeys(spellings) if spelling)


def _local_name(name: str) -> str:
    """The path in an address; the query may have it as `d`."""
    name = name.replace("\\", "/")
    try:
        address = urlsplit(name, allow_fragments="://" in name)
        values = parse_qs(address.query).get("d")
    except ValueError:
        return name
    if address.scheme and not address.netloc and len(address.scheme) > 1:
        return name  # as in "12:30 x.png"
    return (values[0] if values else unquote(address.path)).replace("\\", "/")


def _spellings(name: str) -> Iterator[str]:
    """A file name as it is and with its extension in lower and in upper case, with accents as one
    character and as two."""
    stem, dot, extension = name.rpartition(".")
    endings = (extension, extension.lower(), extension.upper()) if dot else ("",)
    for ending in endings:
        whole = f"{stem}{dot}{ending}" if dot else name
        yield whole
        yield from (unicodedata.normalize(form, whole) for form in ("NFC", "NFD"))


class FolderIndex:
    """The files of a folder and those below it by their names, read when first asked for."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[str, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        self._is_read = False

    def only(self, name: str) -> Path | None:
        """The path, relative to the folder, of the only file of a name in any subfolder, in upper
        or lower case; None if there is no such file, or several."""
        self._read()
        return self._single(self._files, name)

    def only_stem(self, stem: str) -> Path | None:
        """As `only`, for a name without its extension."""
        self._read()
        return self._single(self._stems, stem)

    def _read(self) -> None:
        if self._is_read:
            return
        self._is_read = True
        for path in islice(visible_files(self._folder), _MOST_FILES):
            self._files.setdefault(_key(path.name), []).append(path)
            self._stems.setdefault(_key(path.stem), []).append(path)

    def _single(self, files: dict[str, list[Path]], name: str) -> Path | None:
        found = files.get(_key(name), [])
        return found[0].relative_to(self._folder) if len(found) == 1 else None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
