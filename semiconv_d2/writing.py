"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def write_whole(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write into that takes its name at the very end.

    If the writer is interrupted or the disk is full, the old file of that name stays as it was.

    Args:
        mode: "w" for text in UTF-8, "wb" for bytes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all, see `write_whole`."""
    with write_whole(path) as file:
        file.write(text)


def write_json(content: dict | list, path: Path) -> None:
    """Write a JSON file whole or not at all, see `write_whole`."""
    with write_whole(path) as file:
        json.dump(content, file)
