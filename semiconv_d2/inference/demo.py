"""Runs a model on images, videos and cameras, and shows or writes the results: pictures, windows,
and files in the formats of other programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from detectron2.structures import Instances
from tqdm import tqdm

from ..errors import ConfigError, DatasetError
from ..visualization.detections import draw_detections, draw_seeds, following_colours
from ..visualization.embedding import PrincipalAxes, draw_embedding, principal_axes, thin_arrows
from ..visualization.figures import pixels, save
from ..visualization.regions import draw_instance_views, region_scales
from .detections import Detections
from .explanation import Explanation, can_explain
from .many.parts import Outcome
from .outputs.formats import ImageWriter
from .outputs.joined import Ids, Joined, Part
from .predictor import Predictor
from .sources import Source, UnreadableError, VideoWriters, open_video, read_source, stems_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_Image, _Found = TypeVar("_Image"), TypeVar("_Found")

_BESIDE = 60  # arrows side by side along the longer side of an image, at most
_ARROWS = 400  # approximate number in an image; an instance has at least 6 and at most 25
_FADED = 0.7  # share of white in the embedding's colours outside the instances
_MOST_ROWS = 25  # instances in a picture of kernels
_SHARED = 20  # number of images that shared colours are computed from
_COMPLETE = 0.95  # share of a video's frames; in some files their number is an estimate
# Errors of a model for an image that it cannot process. Other images may work.
_OF_AN_IMAGE = (ValueError, RuntimeError, MemoryError)
_ESCAPE, _Q = 27, ord("q")
_NO_FILES = Joined()


class Drawing(NamedTuple):
    """How pictures are drawn."""

    shows: Sequence[str] = ("masks",)
    """The pictures to draw, some of `SHOWS`."""
    ending: str = ".png"
    """Format of the pictures of images: ".png", ".jpg", ".svg", ".pdf", …"""
    scale: float = 1
    """Factor on the size of pictures in pixels."""
    axes: PrincipalAxes | None = None
    """Axes that give embeddings their colours. None: each image has its own, and a video takes them
    from its first frame."""


def check_shows(predictor: Predictor, sources: Sequence[Source], shows: Sequence[str]) -> None:
    """Raises `ConfigError` if the model or a video cannot be shown in one of these pictures."""
    wanted = [s for s in shows if s != "masks"]
    if wanted and not can_explain(predictor.model):
        raise ConfigError(
            f"--show {wanted[0]}: this model has no embedding and no kernel; show masks only."
        )
    if wanted and not predictor.trained_embedding:
        raise ConfigError(
            f"--show {wanted[0]}: the weights have no embedding, so the model's embedding is "
            "untrained. Name the run, or a checkpoint of a semi-convolutional model with --weights."
        )
    if wanted and predictor.tiling is not None:
        raise ConfigError(
            f"--show {wanted[0]} looks at an image in one piece: show masks only, or leave out "
            "--tile."
        )
    if set(shows) == {"kernels"} and any(s.moving for s in sources):
        raise ConfigError(
            "--show kernels draws a row for each instance, which does not fit into a video: add "
            "masks to --show."
        )


def shared_axes(predictor: Predictor, sources: Sequence[Source]) -> PrincipalAxes | None:
    """Axes that give the embeddings of several images their colours; None if no image can be
    read."""
    images = [s for s in sources if not s.moving]
    step = -(-len(images) // _SHARED) or 1
    embeddings = []
    for source in tqdm(images[::step], desc="colours", unit="image", file=sys.stderr):
        try:
            embeddings.append(_coloured(predictor.explain(read_source(source, predictor.reading))))
        except (UnreadableError, *_OF_AN_IMAGE):
            continue  # `Demo.run` reports it later
    return principal_axes(embeddings) if embeddings else None


class Demo:
    """Runs a model on one source after the other, and shows or writes the results.

    Attributes:
        found: number of instances so far.
        failed: names of the sources that could not be read, and why.
    """

    def __init__(
        self,
        predictor: Predictor,
        drawing: Drawing,
        output: Path | None = None,
        annotations: Path | None = None,
        writers: Sequence[ImageWriter] = (),
        joined: Joined = _NO_FILES,
    ):
        """
        Args:
            output: folder for the pictures; None: show them in windows.
            annotations: COCO file with the ids of images and categories for the results. None:
                images are numbered from 1, and categories are numbered as in the model.
            writers: write a file for each image.
            joined: what `run` gives to `note`.

        Raises:
            DatasetError: the annotations are damaged, or have no category for a class of the model.
        """
        self.predictor = predictor
        self.drawing = drawing
        self.output = output
        self.found = 0
        self.failed: list[tuple[str, str]] = []
        self._writers = writers
        self._joined = joined
        self._ids = Ids.read(annotations, predictor.classes)

    def run(
        self,
        sources: Sequence[Source],
        note: Callable[[Outcome, list[Part]], None] = lambda outcome, parts: None,
        stems: Mapping[str, str] | None = None,
        before: int = 0,
    ) -> None:
        """Processes all sources, or stops when the user closes a window with Escape or q.

        Args:
            note: is told what became of a source when all its files are written, and its parts of
                the joined files.
            stems: what the names of the files of each source begin with; see `stems_of`.
            before: number of sources that were done before, for the progress bar.
        """
        stems = stems_of(sources) if stems is None else stems
        total = before + len(sources)
        with tqdm(total=total, initial=before, desc="inputs", unit="input", file=sys.stderr) as bar:
            for source in sources:
                bar.set_postfix_str(Path(source.name).name)
                parts: list[Part] = []
                found, failed, go_on = self.found, "", True
                look = self._video if source.moving else self._image
                try:
                    go_on = look(source, stems[source.name], parts)
                except UnreadableError as error:
                    failed = str(error)
                    self.failed.append((source.name, failed))
                    bar.write(f"skipped: {source.name}: {error}", file=sys.stderr)
                except KeyboardInterrupt:
                    if source.endless:
                        note(Outcome(source.name, stems[source.name], self.found - found), parts)
                    raise
                note(Outcome(source.name, stems[source.name], self.found - found, failed), parts)
                bar.update()
                if not go_on:
                    break

    def _image(self, source: Source, stem: str, parts: list[Part]) -> bool:
        go_on = True
        if self.drawing.shows:
            image = read_source(source, self.predictor.reading)
            found, explanation = self._look(image, self.drawing.shows)
            detections = Detections.of(found)
            go_on = self._draw_all(stem, image, found, explanation)
        else:
            detections = _tried(self.predictor.detect, source.name)
        for writer in self._writers:
            writer.write(detections, stem, self.predictor.classes)
        self._record(detections, parts, source.name)
        return go_on

    def _record(
        self, found: Detections, parts: list[Part], name: str, frame: int | None = None
    ) -> None:
        self.found += len(found)
        if self._joined.wanted:  # a camera can run for days
            parts.append(self._joined.part(found, name, self.predictor.classes, self._ids, frame))

    def _draw_all(
        self, stem: str, image: np.ndarray, found: Instances, explanation: Explanation | None
    ) -> bool:
        """Shows or writes all pictures of an image; False if the user wants to stop."""
        colours = following_colours(_masks(found, image))
        for show in self.drawing.shows:
            figures = self._draw(show, image, found, explanation, colours, self.drawing.axes)
            for page, figure in enumerate(figures, start=1):
                name = show if page == 1 else f"{show}_{page}"
                if self.output is None:
                    if not _show(f"{stem}: {name}", pixels(figure, self.drawing.scale), wait=True):
                        return False
                else:
                    path = self.output / f"{stem}_{name}{self.drawing.ending}"
                    save(figure, path, self.drawing.scale)
        return True

    def _video(self, source: Source, stem: str, parts: list[Part]) -> bool:
        shows = [s for s in self.drawing.shows if s != "kernels"]
        axes, colours, masks = self.drawing.axes, None, None
        frames, total, rate = open_video(source)
        go_on, count = True, 0
        with VideoWriters(self.output, stem, rate) as writers:
            bar = tqdm(frames, total=total, desc=stem, unit="frame", leave=False, file=sys.stderr)
            for number, image in enumerate(bar):
                count += 1
                found, explanation = self._look(image, shows)
                self._record(Detections.of(found), parts, source.name, number)
                before, masks = masks, _masks(found, image)
                colours = following_colours(masks, before, colours)
                if axes is None and explanation is not None:
                    axes = principal_axes([_coloured(explanation)])
                for show in shows:
                    (figure,) = self._draw(show, image, found, explanation, colours, axes)
                    picture = pixels(figure, self.drawing.scale)
                    if self.output is None:
                        go_on = go_on and _show(f"{stem}: {show}", picture, wait=False)
                    else:
                        writers.write(show, picture)
                if not go_on:
                    break
        if go_on and total is not None and count < _COMPLETE * total:
            raise UnreadableError(f"it ends early, after {count} of {total} frames")
        return go_on

    def _look(
        self, image: np.ndarray, shows: Sequence[str]
    ) -> tuple[Instances, Explanation | None]:
        if set(shows) <= {"masks"}:
            return _tried(self.predictor, image), None
        explanation = _tried(self.predictor.explain, image)
        return explanation.instances, explanation

    def _draw(
        self,
        show: str,
        image: np.ndarray,
        found: Instances,
        explanation: Explanation | None,
        colours: np.ndarray,
        axes: PrincipalAxes | None,
    ) -> Iterator[Figure]:
        """Draws one figure, or, for kernels, as many figures as their rows need."""
        labels = self.predictor.labels(found)
        if show == "masks":
            masks = found.pred_masks.numpy() if found.has("pred_masks") else None
            boxes = found.pred_boxes.tensor.numpy()
            yield draw_detections(image, masks, boxes, labels, colours)
        elif show == "seeds":
            yield draw_seeds(image, explanation.views, labels, colours)
        elif show == "kernels":
            views = explanation.views
            scales = region_scales(views) if views else None
            for start in range(0, len(views) or 1, _MOST_ROWS):
                rows = slice(start, start + _MOST_ROWS)
                yield draw_instance_views(image, views[rows], colours[rows], scales)
        else:
            yield _draw_embedding(image, explanation, colours, axes)


def _tried(look: Callable[[_Image], _Found], image: _Image) -> _Found:
    """What a model finds in an image. If it cannot process this one, others may work."""
    try:
        return look(image)
    except (DatasetError, OSError) as error:
        raise UnreadableError(str(error)) from error
    except _OF_AN_IMAGE as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def check_windows() -> None:
    """Raises `ConfigError` if OpenCV cannot open windows."""
    import cv2

    try:
        cv2.namedWindow("semiconv_d2")
        cv2.destroyWindow("semiconv_d2")
    except cv2.error as error:
        raise ConfigError(
            "This OpenCV cannot open windows: name a folder with --output, or install "
            "opencv-python instead of opencv-python-headless."
        ) from error


def _draw_embedding(
    image: np.ndarray, explanation: Explanation, colours: np.ndarray, axes: PrincipalAxes | None
) -> Figure:
    axes = axes or principal_axes([_coloured(explanation)])
    painted = axes.colours(explanation.embedding).numpy()
    masks = explanation.instances.pred_masks.numpy()
    outside = ~masks.any(axis=0)
    painted[outside] = _FADED + (1 - _FADED) * painted[outside]
    owner = np.where(outside, -1, masks.argmax(axis=0) if len(masks) else -1)
    starts, ends = np.zeros((0, 2)), np.zeros((0, 2))
    if explanation.votes is not None:
        spacing = max(4, max(owner.shape) // _BESIDE)
        most = int(np.clip(_ARROWS / max(len(masks), 1), 6, 25))
        starts, ends = thin_arrows(explanation.votes.numpy(), owner, spacing, most)
    columns, rows = np.floor(starts).astype(int).T
    return draw_embedding(image, painted, starts, ends, colours[owner[rows, columns]])


def _coloured(explanation: Explanation):
    """The embedding of the pixels of instances, (D, P); of all pixels if there is no instance."""
    inside = explanation.instances.pred_masks.any(dim=0)
    return explanation.embedding[:, inside] if inside.any() else explanation.embedding


def _masks(found: Instances, image: np.ndarray) -> np.ndarray:
    """The masks of instances, (N, H, W) boolean; empty masks if a model finds boxes only."""
    if found.has("pred_masks"):
        return found.pred_masks.numpy()
    return np.zeros((len(found), *image.shape[:2]), dtype=bool)


def _show(title: str, picture: np.ndarray, wait: bool) -> bool:
    """Shows a picture in a window; False if the user wants to stop."""
    import cv2

    cv2.imshow(title, picture[..., ::-1])
    key = cv2.waitKey(0 if wait else 1) & 0xFF
    if wait:
        cv2.destroyWindow(title)
    return key not in (_ESCAPE, _Q)
