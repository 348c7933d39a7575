"""Finds and reads the input of a demo: images, videos, cameras and streams."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.names import is_hidden
from ..data.pixels import Reading
from ..errors import ConfigError, DatasetError
from .images import read_rgb

IMAGES = (
    *(".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
    *(".tga", ".tif", ".tiff", ".webp"),
)
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


class Source(NamedTuple):
    """One input: an image, a video, a camera or a stream."""

    name: str
    """Path, address, or number of a camera."""
    moving: bool
    """Whether it has frames, which OpenCV reads."""

    @property
    def endless(self) -> bool:
        """Whether it is a camera or a stream, which ends when the user stops it."""
        return self.moving and not Path(self.name).exists()


class UnreadableError(Exception):
    """A source cannot be read, or not to its end."""


def find_sources(inputs: Sequence[str]) -> list[Source]:
    """Finds the sources for a list of names: files, folders, glob patterns, videos, numbers of
    cameras and addresses of streams. A source that is named several times is returned once.

    Raises:
        DatasetError: a name matches nothing.
    """
    sources: list[Source] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            shown = (p for p in path.iterdir() if not is_hidden(p))
            files = sorted(p for p in shown if p.suffix.lower() in IMAGES + VIDEOS)
            if not files:
                raise DatasetError(
                    f"The folder {path} has no image and no video. Subfolders are not searched: "
                    f"name them, or a pattern such as '{path}/**/*.png'."
                )
            sources += map(_source, files)
        elif "://" in name or (name.isdecimal() and not path.exists()):
            sources.append(Source(name, True))
        elif path.exists():
            sources.append(_source(path))
        else:
            files = [p for p in map(Path, sorted(glob.glob(name, recursive=True))) if p.is_file()]
            if not files:
                raise DatasetError(
                    f"There is no {name}: no file or folder has this name, and no file matches "
                    "this pattern."
                )
            sources += map(_source, files)
    once: dict[str, Source] = {}
    for source in sources:
        once.setdefault(_identity(source), source)
    return list(once.values())


def stems_of(sources: Sequence[Source], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the names of the files of each source begin with, by its name: its own name without the
    ending, and a number where an earlier source has the same.

    Args:
        given: those that sources already have.
    """
    stems = dict(given or {})
    taken = set(stems.values())
    for source in sources:
        if source.name not in stems:
            name = f"camera_{source.name}" if source.name.isdecimal() else Path(source.name).stem
            numbered = (name if n == 1 else f"{name}_{n}" for n in itertools.count(1))
            stems[source.name] = next(s for s in numbered if s not in taken)
            taken.add(stems[source.name])
    return stems


def read_source(source: Source, reading: Reading) -> np.ndarray:
    try:
        return read_rgb(source.name, reading)
    except (DatasetError, OSError) as error:
        raise UnreadableError(str(error)) from error


def open_video(source: Source) -> tuple[Iterator[np.ndarray], int | None, float]:
    """Opens a video: its frames in RGB, their number (None: not known), and frames per second."""
    import cv2

    video = cv2.VideoCapture(int(source.name) if source.name.isdecimal() else source.name)
    ok, first = video.read()
    if not ok:
        video.release()
        raise UnreadableError("OpenCV cannot open it or finds no frame in it")
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = video.get(cv2.CAP_PROP_FPS)

    def frames() -> Iterator[np.ndarray]:
        frame, more = first, True
        try:
            while more:
                yield np.ascontiguousarray(frame[..., ::-1])
                more, frame = video.read()
        finally:
            video.release()

    return frames(), total if total > 0 else None, rate if 0 < rate < 1000 else 25.0


class VideoWriters:
    """Writes one video for each kind of picture; the first frame opens it.

    Use it in a `with` statement. At the end of the statement the videos get their final names, and
    can be played. They have all frames up to then.
    """

    def __init__(self, output: Path | None, stem: str, rate: float):
        self._output, self._stem, self._rate = output, stem, rate
        self._writers: dict[Path, Any] = {}

    def __enter__(self) -> VideoWriters:
        return self

    def __exit__(self, *_: object) -> None:
        for path, writer in self._writers.items():
            writer.release()
            if _unfinished(path).exists():
                _unfinished(path).replace(path)

    def write(self, show: str, picture: np.ndarray) -> None:
        import cv2

        height, width = (2 * (n // 2) for n in picture.shape[:2])  # codecs need even sizes
        path = self._output / f"{self._stem}_{show}.mp4"
        if path not in self._writers:
            self._output.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writers[path] = cv2.VideoWriter(
                str(_unfinished(path)), code, self._rate, (width, height)
            )
            if not self._writers[path].isOpened():
                raise ConfigError(f"OpenCV cannot write {path}.")
        self._writers[path].write(np.ascontiguousarray(picture[:height, :width, ::-1]))


def _unfinished(video: Path) -> Path:
    return video.with_name(
        f".{video.stem}.tmp{video.suffix}"
    )  # OpenCV chooses the format by the suffix


def _source(path: Path) -> Source:
    return Source(str(path), path.suffix.lower() in VIDEOS)


def _identity(source: Source) -> str:
    """A key that is equal for two names of the same file."""
    path = Path(source.name)
    return str(path.resolve()) if path.exists() else source.name
