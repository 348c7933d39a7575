"""What is done, input by input, in a folder beside the results: a line for each input.

A line is written when all files of its input are. So a command that was stopped goes on where it
was, and results of any size are joined from the lines at the end. Each process writes into a file
of its own. Nothing is written twice, and joining needs the memory of one line.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import ConfigError
from .shards import Shard

_SUFFIX = ".parts"
_TAB = b"\t"  # between what is read often and the results; JSON escapes those in texts


class Outcome(NamedTuple):
    """What became of an input."""

    name: str
    """The input, as it was named."""
    stem: str
    """What the names of its files begin with."""
    instances: int = 0
    failed: str = ""
    """Why it could not be read; "" if it could."""


class _Place(NamedTuple):
    file: Path
    offset: int
    outcome: Outcome


class Parts:
    """The folder of the parts of one command's results.

        parts = Parts.beside(Path("results.json"), {"--score-threshold": 0.5})
        parts.begin(["well.png"], Shard(), resume=False)
        with parts.writer(Shard()) as writer:
            writer.write(Outcome("well.png", "well", instances=3), results)
        parts.results(["well.png"])

    Attributes:
        folder: `results.json.parts` beside `results.json`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]):
        """
        Args:
            settings: options that change the results, by name. They have to be the same when a
                command goes on.
        """
        self.folder = folder
        self._settings = json.loads(json.dumps(dict(settings), default=str))

    @classmethod
    def beside(cls, path: Path, settings: Mapping[str, object]) -> Parts:
        """The parts of results at this path, a file or a folder."""
        path = path if path.name else path.resolve()  # such as "."
        return cls(path.with_name(path.name + _SUFFIX), settings)

    def begin(self, names: Collection[str], shard: Shard, resume: bool) -> None:
        """Checks that a command may begin or go on.

        Without `resume`, what an earlier command has done is forgotten if it has ended, which
        means that it has done these inputs and no others.

        Args:
            names: of all inputs.

        Raises:
            ConfigError: an earlier command has not ended and is not to be resumed, or it had other
                options.
        """
        outcomes = self.outcomes()
        alone = shard.total == 1
        ended = set(outcomes) == set(names)
        nothing = not (self.done() if alone else outcomes)
        if nothing or (alone and ended and not resume):
            if alone:
                self.remove()
            return
        if not resume and (alone or self._file(shard).exists()):
            raise ConfigError(
                f"{self.folder} has {len(outcomes)} inputs of an earlier command: add --resume to "
                "go on with it, or delete this folder to start again."
            )
        for file in self._files():
            before = next((json.loads(line) for _, line in _lines(file)), self._settings)
            for name, value in self._settings.items():
                if before.get(name) != value:
                    raise ConfigError(
                        f"{self.folder} was begun with {name} {_told(before.get(name))}, and now "
                        f"it is {_told(value)}: use the same, or delete this folder to start again."
                    )

    def outcomes(self) -> dict[str, Outcome]:
        """What became of the inputs so far, by their names."""
        return {name: place.outcome for name, place in self._places().items()}

    def done(self) -> set[str]:
        """Names of the inputs whose results are there."""
        return {name for name, outcome in self.outcomes().items() if not outcome.failed}

    def writer(self, shard: Shard) -> Writer:
        """Adds lines to the file of one process, and creates it where it is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Writer(self._file(shard), self._settings)

    def results(self, names: Iterable[str]) -> Iterator[Any]:
        """The results of the inputs so far, in the order of these names. Those of a video that
        could not be read to its end are what was read."""
        places = self._places()
        for name in names:
            if name in places:
                with places[name].file.open("rb") as file:
                    file.seek(places[name].offset)
                    yield json.loads(file.readline().partition(_TAB)[2])

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, shard: Shard) -> Path:
        return self.folder / f"{shard.number}_of_{shard.total}.jsonl"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*_of_*.jsonl"))

    def _places(self) -> dict[str, _Place]:
        """Where the lines of the inputs are. A failure does not replace results."""
        places: dict[str, _Place] = {}
        for file in self._files():
            for offset, line in islice(_lines(file), 1, None):  # the first has the settings
                outcome = Outcome(*json.loads(line.partition(_TAB)[0]))
                if not (outcome.failed and outcome.name in places):
                    places[outcome.name] = _Place(file, offset, outcome)
        return places


class Writer:
    """Adds lines to a file. What a killed process has left of its last line goes."""

    def __init__(self, path: Path, settings: Mapping[str, object]):
        end = max((offset + len(line) for offset, line in _lines(path)), default=0)
        self._file = path.open("ab")
        self._file.truncate(end)
        if end == 0:
            self._add(json.dumps(settings).encode())

    def write(self, outcome: Outcome, results: object = None) -> None:
        """Notes what became of an input, and its results, which JSON can hold. The line is on the
        disk when this returns."""
        self._add(json.dumps(outcome).encode() + _TAB + json.dumps(results).encode())

    def _add(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each whole line of a file begins, and the line; nothing if there is no file."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield offset, line
            offset += len(line)


def _told(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "not given"
    if value is True:
        return "given"
    return "not given" if value in (None, False) else str(value)
