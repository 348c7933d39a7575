"""What a model makes of images, videos and cameras: pictures, windows, label images and COCO
results."""

from __future__ import annotations

import glob
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import Instances
from tqdm import tqdm

from ..data.coco.checking import read_coco
from ..data.coco.coco_json import write_json
from ..errors import ConfigError, DatasetError
from ..visualization.detections import draw_detections, draw_seeds, following_colours
from ..visualization.embedding import PrincipalAxes, draw_embedding, principal_axes, thin_arrows
from ..visualization.figures import pixels, save
from ..visualization.regions import draw_instance_views, region_scales
from .explanation import Explanation, can_explain
from .predictor import Predictor, read_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWS = ("masks", "embedding", "seeds", "kernels")
IMAGES = (
    *(".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
    *(".tga", ".tif", ".tiff", ".webp"),
)
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")

_BESIDE = 60  # arrows that fit beside each other into an image
_ARROWS = 400  # in an image, about; at least 6 and at most 25 of an instance
_FADED = 0.7  # how white the embedding is outside the instances
_MOST_ROWS = 25  # of instances in a picture of kernels
_SHARED = 20  # images that shared colours are taken from
_COMPLETE = 0.95  # share of a video's frames; how many there are is an estimate in some files
_MOST_LABELS = 2**16 - 1  # that 16 bits hold beside the background
# What a model raises at an image that it cannot take; others may do.
_OF_AN_IMAGE = (ValueError, RuntimeError, MemoryError)
_ESCAPE, _Q = 27, ord("q")


class Source(NamedTuple):
    """Something to look at."""

    name: str
    """Path, address, or number of a camera."""
    moving: bool
    """Opened by OpenCV, frame by frame."""


class Drawing(NamedTuple):
    """How pictures are made."""

    shows: Sequence[str] = ("masks",)
    """Of `SHOWS`."""
    ending: str = ".png"
    """Format of the pictures of images: ".png", ".jpg", ".svg", ".pdf", …"""
    scale: float = 1
    """Of pictures in pixels."""
    axes: PrincipalAxes | None = None
    """Colours of embeddings; None for the best ones of each image, and of the first frame."""


def find_sources(inputs: Sequence[str]) -> list[Source]:
    """Files, folders, glob patterns, videos, numbers of cameras and addresses of streams; each
    once, however often it is named.

    Raises:
        DatasetError: there is nothing under one of the names.
    """
    sources = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES + VIDEOS)
            if not files:
                raise DatasetError(
                    f"{path} has no image and no video in it. Folders in it are not looked into: "
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
                    f"There is no {name}: no file and no folder has this name, and no file matches."
                )
            sources += map(_source, files)
    once: dict[str, Source] = {}
    for source in sources:
        once.setdefault(_identity(source), source)
    return list(once.values())


def check_shows(predictor: Predictor, sources: Sequence[Source], shows: Sequence[str]) -> None:
    """Raises `ConfigError` where a model or a video cannot be shown so."""
    wanted = [s for s in shows if s != "masks"]
    if wanted and not can_explain(predictor.model):
        raise ConfigError(
            f"--show {wanted[0]}: this model has no embedding and no kernel: it can show masks."
        )
    if wanted and not predictor.trained_embedding:
        raise ConfigError(
            f"--show {wanted[0]}: the weights have no embedding, which is therefore untrained: "
            "name the run, or a checkpoint of a semi-convolutional model by --weights."
        )
    if set(shows) == {"kernels"} and any(s.moving for s in sources):
        raise ConfigError("--show kernels: a row for each instance fits no video: add masks.")


def check_labels(sources: Sequence[Source]) -> None:
    """Raises `ConfigError` where a source is no image and has no label image."""
    moving = next((s.name for s in sources if s.moving), None)
    if moving:
        raise ConfigError(f"--labels: {moving} is no image; label images are of images alone.")


def shared_axes(predictor: Predictor, sources: Sequence[Source]) -> PrincipalAxes | None:
    """Colours for the embeddings of several images; None where no image can be read."""
    images = [s for s in sources if not s.moving]
    step = -(-len(images) // _SHARED) or 1
    embeddings = []
    for source in tqdm(images[::step], desc="colours", unit="image", file=sys.stderr):
        try:
            embeddings.append(_coloured(predictor.explain(_read(source))))
        except (_UnreadableError, *_OF_AN_IMAGE):
            continue  # it is named when its turn comes
    return principal_axes(embeddings) if embeddings else None


class Demo:
    """Shows what a model makes of one source after the other.

    Attributes:
        results: COCO results of all images so far, with `file_name`, and `frame` in videos.
        found: number of instances so far.
        failed: what could not be read, and why.
    """

    def __init__(
        self,
        predictor: Predictor,
        drawing: Drawing,
        output: Path | None = None,
        annotations: Path | None = None,
        labels: Path | None = None,
        collect: bool = True,
    ):
        """
        Args:
            output: folder for the pictures; None for windows.
            annotations: in COCO's format, for the ids of images and categories in the results;
                without, images are numbered from 1 and categories as the model has them.
            labels: folder for label images, see `label_instances`; None for none.
            collect: keeps the results; without, a camera may run for days.

        Raises:
            DatasetError: the annotations are damaged, or lack a class of the model.
        """
        self.predictor = predictor
        self.drawing = drawing
        self.output = output
        self.labels = labels
        self.results: list[dict] = []
        self.found = 0
        self._collect = collect
        self.failed: list[tuple[str, str]] = []
        self._annotations = annotations
        self._ids, self._categories = _read_ids(annotations, predictor.classes)
        self._stems: set[str] = set()
        self._names: set[str] = set()
        self._images = 0

    def run(self, sources: Sequence[Source]) -> None:
        """Until all are done, or the user closes a window by Escape or q."""
        with tqdm(sources, desc="inputs", unit="input", file=sys.stderr) as bar:
            for source in bar:
                bar.set_postfix_str(Path(source.name).name)
                try:
                    self._check_known(source)
                    go_on = self._video(source) if source.moving else self._image(source)
                except _UnreadableError as error:
                    self.failed.append((source.name, str(error)))
                    bar.write(f"skipped: {source.name}: {error}", file=sys.stderr)
                    continue
                if not go_on:
                    break

    def _check_known(self, source: Source) -> None:
        """One input for each image of the annotations."""
        if self._annotations is None:
            return
        name = Path(source.name).name
        if name not in self._ids:
            raise _UnreadableError(f"{self._annotations} has no image of this name")
        if name in self._names:
            raise _UnreadableError("an input before has the same name, and so the same id")
        self._names.add(name)

    def _image(self, source: Source) -> bool:
        image = _read(source)
        shows = self.drawing.shows
        found, explanation = self._look(image, shows)
        self._record(found, source.name)
        colours = following_colours(_masks(found, image))
        stem = self._stem(source)
        if self.labels is not None:
            _write_labels(found, self.labels / f"{stem}_labels.png")
        for show in shows:
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

    def _video(self, source: Source) -> bool:
        shows = [s for s in self.drawing.shows if s != "kernels"]
        stem, axes, colours, masks = self._stem(source), self.drawing.axes, None, None
        frames, total, rate = _open_video(source)
        writers = _VideoWriters(self.output, stem, rate)
        go_on, count = True, 0
        try:
            bar = tqdm(frames, total=total, desc=stem, unit="frame", leave=False, file=sys.stderr)
            for number, image in enumerate(bar):
                count += 1
                found, explanation = self._look(image, shows)
                self._record(found, source.name, number)
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
        finally:
            writers.close()
        if go_on and total is not None and count < _COMPLETE * total:
            raise _UnreadableError(f"it breaks off after {count} of {total} frames")
        return go_on

    def _look(
        self, image: np.ndarray, shows: Sequence[str]
    ) -> tuple[Instances, Explanation | None]:
        try:
            if set(shows) <= {"masks"}:
                return self.predictor(image), None
            explanation = self.predictor.explain(image)
        except _OF_AN_IMAGE as error:
            raise _UnreadableError(f"{type(error).__name__}: {error}") from error
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
        """One figure, and of kernels as many as their rows need."""
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

    def _record(self, found: Instances, name: str, frame: int | None = None) -> None:
        self._images += 1
        self.found += len(found)
        if not self._collect:
            return
        image_id = self._ids.get(Path(name).name, self._images)
        place = {"file_name": name} | ({} if frame is None else {"frame": frame})
        for result in instances_to_coco_json(found, image_id):
            category = self._categories[result["category_id"]]
            self.results.append(result | {"category_id": category} | place)

    def _stem(self, source: Source) -> str:
        """Of the files to write; its own for each source."""
        name = f"camera_{source.name}" if source.name.isdecimal() else Path(source.name).stem
        numbered = (name if n == 1 else f"{name}_{n}" for n in itertools.count(1))
        stem = next(s for s in numbered if s not in self._stems)
        self._stems.add(stem)
        return stem


class _UnreadableError(Exception):
    """A source that cannot be read, or not to its end."""


class _VideoWriters:
    """One video for each kind of picture, opened by its first frame."""

    def __init__(self, output: Path | None, stem: str, rate: float):
        self._output, self._stem, self._rate = output, stem, rate
        self._writers: dict = {}

    def write(self, show: str, picture: np.ndarray) -> None:
        import cv2

        height, width = (2 * (n // 2) for n in picture.shape[:2])  # codecs want even sizes
        if show not in self._writers:
            self._output.mkdir(parents=True, exist_ok=True)
            path = self._output / f"{self._stem}_{show}.mp4"
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writers[show] = cv2.VideoWriter(str(path), code, self._rate, (width, height))
            if not self._writers[show].isOpened():
                raise ConfigError(f"OpenCV cannot write {path}.")
        self._writers[show].write(np.ascontiguousarray(picture[:height, :width, ::-1]))

    def close(self) -> None:
        for writer in self._writers.values():
            writer.release()


def check_windows() -> None:
    """Raises `ConfigError` where OpenCV can open no window."""
    import cv2

    try:
        cv2.namedWindow("semiconv_d2")
        cv2.destroyWindow("semiconv_d2")
    except cv2.error as error:
        raise ConfigError(
            "This OpenCV opens no windows: name a folder with --output, or install opencv-python "
            "in the place of opencv-python-headless."
        ) from error


def label_instances(found: Instances) -> np.ndarray:
    """Numbers of instances by falling score from 1 on, (H, W) uint16; 0 is the background, and of
    masks that overlap the better one has the pixel.

    Raises:
        ConfigError: there are more than 65,535 instances, or boxes alone.
    """
    if not found.has("pred_masks"):
        raise ConfigError("There are no label images of boxes alone: the model finds no masks.")
    if len(found) > _MOST_LABELS:
        raise ConfigError(
            f"An image has {len(found):,} instances, of which a label image of 16 bits holds "
            f"{_MOST_LABELS:,}: raise the score threshold."
        )
    labels = np.zeros(found.image_size, dtype=np.uint16)
    ranking = found.scores.argsort(descending=True, stable=True).tolist()
    for number, index in reversed(list(enumerate(ranking, start=1))):
        labels[found.pred_masks[index].numpy()] = number
    return labels


def _write_labels(found: Instances, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_instances(found)).save(path)


def _read(source: Source) -> np.ndarray:
    try:
        return read_rgb(source.name)
    except Exception as error:  # Pillow's readers of damaged files raise whatever comes up
        raise _UnreadableError(f"{type(error).__name__}: {error}") from error


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
    """The embedding of the pixels of instances, (D, P); of all where there is no instance."""
    inside = explanation.instances.pred_masks.any(dim=0)
    return explanation.embedding[:, inside] if inside.any() else explanation.embedding


def _masks(found: Instances, image: np.ndarray) -> np.ndarray:
    """(N, H, W) boolean; empty ones of boxes alone."""
    if found.has("pred_masks"):
        return found.pred_masks.numpy()
    return np.zeros((len(found), *image.shape[:2]), dtype=bool)


def _source(path: Path) -> Source:
    return Source(str(path), path.suffix.lower() in VIDEOS)


def _identity(source: Source) -> str:
    """What is the same for two names of one file."""
    path = Path(source.name)
    return str(path.resolve()) if path.exists() else source.name


def _open_video(source: Source) -> tuple[Iterator[np.ndarray], int | None, float]:
    """Frames in RGB, how many there are where that is known, and frames in a second."""
    import cv2

    video = cv2.VideoCapture(int(source.name) if source.name.isdecimal() else source.name)
    ok, first = video.read()
    if not ok:
        video.release()
        raise _UnreadableError("OpenCV cannot open it or finds no frame in it")
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


def _show(title: str, picture: np.ndarray, wait: bool) -> bool:
    """In a window; False where the user wants to stop."""
    import cv2

    cv2.imshow(title, picture[..., ::-1])
    key = cv2.waitKey(0 if wait else 1) & 0xFF
    if wait:
        cv2.destroyWindow(title)
    return key not in (_ESCAPE, _Q)


def _read_ids(annotations: Path | None, classes: Sequence[str]) -> tuple[dict[str, int], list[int]]:
    """Ids of images by the names of their files, and of the model's classes."""
    if annotations is None:
        return {}, list(range(1, len(classes) + 1))
    content = read_coco(annotations)
    categories = {c["name"]: c["id"] for c in content["categories"]}
    missing = [name for name in classes if name not in categories]
    if missing:
        raise DatasetError(f"{annotations} has no category {missing[0]!r}, which the model finds.")
    ids = {Path(image["file_name"]).name: image["id"] for image in content["images"]}
    if len(ids) < len(content["images"]):
        raise DatasetError(f"{annotations}: images in different folders have the same name.")
    return ids, [categories[name] for name in classes]


def write_results(results: Sequence[dict], path: Path) -> None:
    """COCO results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(list(results), path)
