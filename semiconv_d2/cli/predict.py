"""Find instances in images, folders, videos and cameras; draw them and write them to files.

    semiconv predict --model output/bbbc010_semiconv --input images/ --output pictures
    semiconv predict --model configs/voc_semiconv.yaml --weights model.pth --input "*.jpg" \\
        --output pictures --show all
    semiconv predict --model output/bbbc010_semiconv --input worms.mp4 --output pictures
    semiconv predict --model output/bbbc010_semiconv --input 0

    semiconv predict --model output/own_semiconv --input "wells/**/*.tif" --labels labels \\
        --table worms.csv --resume
    semiconv predict --model output/own_semiconv --input slide.tif --tile --coco slide.json

Without a place for pictures or results, windows show the pictures. "--input 0" opens the first
camera.
A pattern such as "wells/**/*.tif" finds the files of all subfolders.
If a file cannot be read, the command names it, continues, and ends with exit status 1.
What is done stays done: after a stop, the same command with --resume goes on.
docs/how_to/predict.md describes the files, and how several machines share the work.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.files import check_file, check_folder, check_kept
from ..errors import ConfigError, DatasetError
from ..inference.many.shards import Shard
from ..inference.options import SHOWS
from .arguments.predict import parse_arguments
from .commands import finish, say

if TYPE_CHECKING:
    from ..inference.demo import Demo
    from ..inference.many.parts import Outcome, Parts
    from ..inference.outputs.formats import ImageFormat
    from ..inference.outputs.joined import Joined, Known
    from ..inference.sources import Source

_FOLDERS = {
    "output": "Pictures",
    "labels": "Label images",
    "rois": "ImageJ regions",
    "geojson": "GeoJSON",
}
_FILES = {"coco": "COCO results", "table": "Table"}
_PLACES = _FILES | _FOLDERS  # options that name a place for results, and what is there

_IMAGE_FOLDERS = ("output", "labels")  # what they have can be an input again

_OTHER_WORK = ("input", "resume", "shard", "processes", "device", "run_code")
"""Options that can be others when a command goes on: they do not change the results of an input."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv, __doc__)
    written = any(getattr(arguments, name) for name in _PLACES)
    hint = "; what is done is kept, and --resume goes on" if written else ""
    return finish(lambda: predict(arguments), interrupted=f"stopped{hint}")


def predict(arguments: argparse.Namespace) -> None:
    """Runs the command to its end."""
    from ..inference.demo import check_windows
    from ..inference.outputs.joined import find_known
    from ..inference.sources import find_sources
    from ..training.messages import show_messages

    show_messages()
    sources = find_sources(arguments.input)
    places = {name: getattr(arguments, name) for name in _PLACES if getattr(arguments, name)}
    _check_places(arguments, places, sources)
    known = find_known(sources, arguments.annotations)
    shard = Shard.parse(arguments.shard) if arguments.shard else Shard.of_environment(os.environ)
    outcomes: dict[str, Outcome] = {}
    if places:
        outcomes = _write(arguments, places, known.sources, shard)
    elif arguments.resume or shard.total > 1 or arguments.processes > 1:
        raise ConfigError(
            "--resume, --shard and --processes need results to write: name a place for them, such "
            "as --output, --coco or --table."
        )
    else:
        check_windows()
        demo = _load(arguments, known.sources)
        demo.run(known.sources, lambda outcome, _: outcomes.update({outcome.name: outcome}))
    _tell(arguments, places, sources, known, outcomes, shard)


def _check_places(
    arguments: argparse.Namespace, places: Mapping[str, Path], sources: Sequence[Source]
) -> None:
    """Checks everything that can be checked before the model is loaded."""
    from ..inference.outputs.formats import check_images, check_packages
    from ..inference.outputs.table import check_table

    if places and not arguments.output and arguments.show != ["masks"]:
        raise ConfigError("--show is about pictures: name a folder for them with --output.")
    for name, path in places.items():
        (check_file if name in _FILES else check_folder)(path, f"--{name}")
    for name, other in itertools.combinations(places, 2):
        if {name, other} & set(_FILES) and places[name].resolve() == places[other].resolve():
            raise ConfigError(
                f"--{name} and --{other} are both {places[name]}: name another place for one."
            )
    for name, each in _formats(arguments).items():
        check_images(sources, f"--{name}")
        check_packages(each.needs, f"--{name}")
    if arguments.table:
        check_table(arguments.table)
    searched = {Path(name).resolve() for name in arguments.input if Path(name).is_dir()}
    for name in _IMAGE_FOLDERS:
        if name in places and places[name].resolve() in searched:
            raise ConfigError(
                f"--{name} {places[name]} is a folder of --input, so the next command would take "
                "the results for inputs: name another folder."
            )
    files = [Path(source.name) for source in sources]
    named = (arguments.annotations, arguments.weights, arguments.model)
    check_kept(_written(arguments, sources), [*files, *(Path(name) for name in named if name)])


def _written(
    arguments: argparse.Namespace, sources: Sequence[Source]
) -> Iterator[tuple[str, Path]]:
    """The files that the command writes, each after its option."""
    from ..inference.sources import stems_of

    yield from ((f"--{name}", path) for name in _FILES if (path := getattr(arguments, name)))
    folders = [
        (name, getattr(arguments, name), each.ending) for name, each in _formats(arguments).items()
    ]
    stems = stems_of(sources)
    for source in sources:
        stem = stems[source.name]
        yield from ((f"--{name}", folder / (stem + end)) for name, folder, end in folders)
        if arguments.output:
            ending = "mp4" if source.moving else arguments.format
            pictures = (arguments.output / f"{stem}_{show}.{ending}" for show in SHOWS)
            yield from (("--output", path) for path in pictures)


def _formats(arguments: argparse.Namespace) -> dict[str, ImageFormat]:
    """The wanted formats of a file for each image, by the option with their folder."""
    from ..inference.outputs.formats import IMAGE_FORMATS

    keys = {"labels": "labels", "rois": "rois", "geojson": "geojson"}
    if arguments.labels_format == "tif":
        keys["labels"] = "labels-tif"
    if arguments.labels_overlap == "layers":
        keys["labels"] = "layers"
    return {name: IMAGE_FORMATS[key] for name, key in keys.items() if getattr(arguments, name)}


def _joined(arguments: argparse.Namespace) -> Joined:
    from ..inference.outputs.joined import Joined
    from ..inference.outputs.table import PixelSize

    size = PixelSize(arguments.pixel_size, arguments.unit) if arguments.pixel_size else None
    return Joined(arguments.coco, arguments.table, size)


def _write(
    arguments: argparse.Namespace,
    places: Mapping[str, Path],
    sources: Sequence[Source],
    shard: Shard,
) -> dict[str, Outcome]:
    """Does the part of this command, and joins the results when all parts are done."""
    from ..inference.many.parts import Parts
    from ..inference.many.processes import choose_gpu

    names = [source.name for source in sources]
    settings = {
        "--" + name.replace("_", "-"): value
        for name, value in vars(arguments).items()
        if name not in _OTHER_WORK
    }
    parts = Parts.beside(next(iter(places.values())), settings)
    parts.begin(names, shard, arguments.resume)
    earlier = [path for path in places.values() if path.is_file() or _has_files(path)]
    if earlier and not parts.done():
        say(f"{earlier[0]} has earlier results: files of the same names are replaced.")
    if "LOCAL_RANK" in os.environ:  # torchrun
        choose_gpu(int(os.environ["LOCAL_RANK"]))
    joined = _joined(arguments)
    try:
        if arguments.processes > 1:
            _start_processes(arguments, sources, shard, parts)
        else:
            _work(arguments, sources, shard, parts)
    finally:
        outcomes = parts.outcomes()
        complete = all(name in outcomes for name in names)
        read = any(not each.failed for each in outcomes.values())  # else earlier results stay
        if joined.wanted and read and (complete or shard.total == 1):
            joined.write(lambda: parts.results(names))
    if shard.total == 1 and complete and not any(o.failed for o in outcomes.values()):
        parts.remove()
    return outcomes


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _work(
    arguments: argparse.Namespace,
    sources: Sequence[Source],
    shard: Shard,
    parts: Parts,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Processes what is left of a shard.

    Args:
        sources: those of all shards.
        advance: is called whenever an input is done.
    """
    from ..inference.sources import stems_of

    outcomes, own = parts.outcomes(), shard.of(sources)
    left = [s for s in own if s.name not in outcomes or outcomes[s.name].failed]
    if not left:
        return
    demo = _load(arguments, sources)
    with parts.writer(shard) as writer:

        def note(outcome: Outcome, results: list) -> None:
            writer.write(outcome, results)
            advance()

        stems = stems_of(sources, {name: each.stem for name, each in outcomes.items()})
        demo.run(left, note, stems, before=len(own) - len(left))


def _start_processes(
    arguments: argparse.Namespace, sources: Sequence[Source], shard: Shard, parts: Parts
) -> None:
    from ..inference.many.processes import run_processes

    own, done = shard.of(sources), parts.done()
    shards = shard.split(max(1, min(arguments.processes, len(own))))
    tasks = [(arguments, sources, each, parts) for each in shards]
    run_processes(_process, tasks, len(own), sum(source.name in done for source in own))


def _process(
    task: tuple[argparse.Namespace, Sequence[Source], Shard, Parts], advance: Callable[[], None]
) -> int:
    from ..training.messages import show_messages

    show_messages()
    return finish(lambda: _work(*task, advance))


def _load(arguments: argparse.Namespace, sources: Sequence[Source]) -> Demo:
    """Loads the model, and checks what cannot be checked without it."""
    from ..inference.demo import Demo, Drawing, check_shows, shared_axes
    from ..inference.explanation import can_explain
    from ..inference.outputs.formats import ImageWriter
    from ..inference.predictor import Predictor

    predictor = Predictor.load(
        arguments.model,
        weights=arguments.weights,
        score_threshold=arguments.score_threshold,
        device=arguments.device,
        classes=arguments.classes,
        overrides=arguments.opts,
        run_code=arguments.run_code,
        fast=arguments.fast,
        tile=arguments.tile,
        overlap=arguments.overlap,
        scale_factor=arguments.scale_factor,
    )
    if arguments.channel:
        predictor.reading = predictor.reading._replace(channels=tuple(arguments.channel))
    if arguments.plane:
        predictor.reading = predictor.reading._replace(pages=tuple(arguments.plane))
    every = SHOWS if can_explain(predictor.model) else ("masks",)
    wanted = {*arguments.show, *(every if "all" in arguments.show else ())}
    draws = arguments.output or not any(getattr(arguments, name) for name in _PLACES)
    shows = [s for s in SHOWS if draws and s in wanted]
    check_shows(predictor, sources, shows)
    drawing = Drawing(shows, f".{arguments.format}", arguments.scale)
    if arguments.same_colours and "embedding" in shows:
        drawing = drawing._replace(axes=shared_axes(predictor, sources))
    writers = [
        ImageWriter(getattr(arguments, name), each) for name, each in _formats(arguments).items()
    ]
    return Demo(
        predictor, drawing, arguments.output, arguments.annotations, writers, _joined(arguments)
    )


def _tell(
    arguments: argparse.Namespace,
    places: Mapping[str, Path],
    sources: Sequence[Source],
    known: Known,
    outcomes: Mapping[str, Outcome],
    shard: Shard,
) -> None:
    """Says what was found, where it is, and which inputs could not be read."""
    complete = all(source.name in outcomes for source in known.sources)
    own = known.sources if complete else shard.of(known.sources)
    ended = [outcomes[source.name] for source in own if source.name in outcomes]
    failed = [(each.name, each.failed) for each in ended if each.failed]
    if known.left_out:
        say(f"{len(known.left_out)} inputs are not in {arguments.annotations}: left out.")
    count = len(sources) if complete or shard.total == 1 else len(own)
    found = sum(each.instances for each in ended)
    say(f"{len(ended) - len(failed)} of {count} inputs, {found} instances.")
    for name, path in places.items():
        if path.exists():
            say(f"{_PLACES[name]}: {path}")
    if shard.total > 1 and not complete:
        say(f"This was shard {shard}. The last shard that ends joins the results of all.")
    failed += [
        (name, "an earlier input has the same name, and so the same id") for name in known.doubles
    ]
    if failed:
        names = "\n".join(f"  {name}: {reason}" for name, reason in failed)
        raise DatasetError(f"these inputs could not be read:\n{names}")
