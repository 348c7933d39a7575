"""Measure the results of any model, or compare the results of two models.

    semiconv evaluate bbbc010_test output/inference/coco_instances_results.json
    semiconv evaluate annotations/test.json masks_of_another_tool/ --output output/other
    semiconv evaluate bbbc010_test --compare A.json B.json
    semiconv evaluate bbbc010_test --compare A.json B.json --pictures differences/

The first argument is the ground truth: a registered dataset, or a JSON in COCO's format. Results
are a COCO results JSON or a folder. A folder has a label image for each image, or one mask for each
instance; the files are named after the images.
The table is printed. --output also writes it, and all numbers as JSON. --pictures draws the images
that change most from A to B, half of them gains and half losses.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..errors import DatasetError
from ..evaluation import (
    MEASURES,
    Detections,
    Threshold,
    check_measures,
    choose_threshold,
    compare,
    cut_to_foreground,
    evaluate,
    find_truth,
    format_differences,
    format_evaluation,
    lacks,
    rank_by_size,
    read_results,
)
from ..writing import write_json, write_text
from .commands import finish, parser_of, say


def main(argv: Sequence[str] | None = None) -> int:
    arguments, models = parse_arguments(argv)
    return finish(lambda: measure(arguments, models))


def parse_arguments(argv):
    parser = parser_of("evaluate", __doc__)
    parser.add_argument("truth", help="registered dataset or JSON in COCO's format")
    parser.add_argument("results", nargs="?", type=Path, help="JSON or folder")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="results of two models instead"
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        help=f"any of {', '.join(MEASURES)} (default: all that can be computed)",
    )
    parser.add_argument(
        "--max-detections",
        type=int,
        metavar="N",
        help="count only the best N of each image and class; COCO counts 100 (default: all)",
    )
    parser.add_argument(
        "--label-suffix",
        default="",
        help='ending of the names of label images, after the name of the image, as "_cp_masks"',
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        help="only detections with at least this score count in S (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold-from",
        nargs="+",
        metavar="TRUTH RESULTS",
        help="choose the score threshold on the training images: give their ground truth, then the "
        "results on them (with --compare, of both models)",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=1000,
        help="bootstrap resamples for the intervals (default: %(default)s)",
    )
    parser.add_argument(
        "--within-foreground",
        action="store_true",
        help="for images that are binary foregrounds: cut all masks to their bright pixels",
    )
    parser.add_argument(
        "--rank-by-size",
        action="store_true",
        help="leave out detections that S does not count, and rank the others by size: for "
        "comparing with masks that have no scores",
    )
    parser.add_argument("--output", type=Path, help="folder to write the table and JSON to")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the differences")
    parser.add_argument(
        "--close-up",
        action="store_true",
        help="draw only the part of an image that changes",
    )
    parser.add_argument("--most", type=int, default=12, help="most pictures to draw (default: 12)")
    parser.add_argument(
        "--format", choices=("png", "jpg", "svg", "pdf"), default="png", help="of the pictures"
    )
    parser.add_argument(
        "--image-root",
        type=Path,
        help="folder of the images (default: that of the dataset, or images beside the JSON)",
    )
    arguments = parser.parse_args(argv)
    if (arguments.results is None) == (arguments.compare is None):
        parser.error("give either RESULTS or --compare A B")
    if arguments.close_up and not arguments.pictures:
        parser.error("--close-up needs --pictures")
    if arguments.pictures and not arguments.compare:
        parser.error("--pictures needs --compare A B: it draws the differences of A and B")
    if arguments.pictures and arguments.compare[0].resolve() == arguments.compare[1].resolve():
        parser.error("--pictures: A and B are the same, so there are no differences to draw")
    for option, least in (("most", 1), ("max_detections", 1), ("resamples", 0)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            parser.error(f"--{option.replace('_', '-')} must be {least} or more")
    if not 0 <= arguments.score_threshold <= 1:
        parser.error("--score-threshold must be from 0 to 1")
    if arguments.pictures and find_spec("detectron2") is None:
        parser.error("--pictures needs Detectron2, which is not installed")
    for option in ("output", "pictures"):
        folder = getattr(arguments, option)
        if folder and any(p.exists() and not p.is_dir() for p in (folder, *folder.parents)):
            parser.error(f"--{option} {folder}: this is a file, or inside a file; name a folder")
    models = arguments.compare or [arguments.results]
    if arguments.threshold_from and len(arguments.threshold_from) != 1 + len(models):
        parser.error("--threshold-from takes a ground truth and one results file for each model")
    if arguments.threshold_from and arguments.threshold_from[0] == arguments.truth:
        parser.error(
            "--threshold-from: a score that is chosen on the tested images makes results look too "
            "good; name the training images"
        )
    return arguments, models


def choose_measures(wanted):
    if wanted is None:
        wanted = [name for name in MEASURES if lacks(name) is None]
        for name in set(MEASURES) - set(wanted):
            say(f"left out: {name}; to measure it: pip install {lacks(name)}", file=sys.stderr)
    check_measures(wanted)
    return wanted


def find_threshold(arguments, number, path, read):
    if path.is_dir():
        return Threshold(0.0, "masks without scores")
    if not arguments.threshold_from:
        return Threshold(arguments.score_threshold, "given")
    name, *results = arguments.threshold_from
    truth = find_truth(name)
    return choose_threshold(Detections(truth, read(Path(results[number]), name, truth)), name)


def measure(arguments, models):
    measures = choose_measures(arguments.measures)
    truth = find_truth(arguments.truth)
    root = find_images(arguments, arguments.truth) if arguments.pictures else None

    def read(path, name, truth):
        results = read_results(path, truth, arguments.label_suffix)
        if arguments.within_foreground:
            results = cut_to_foreground(results, truth, find_images(arguments, name))
        return results

    evaluations, detections = [], []
    for number, path in enumerate(models):
        results = read(path, arguments.truth, truth)
        threshold = find_threshold(arguments, number, path, read)
        if arguments.rank_by_size and not path.is_dir():
            results = rank_by_size(results, threshold.score)
            threshold = Threshold(0.0, f"ranked by size, of scores from {threshold.score:.3f} on")
        found = Detections(truth, results, threshold, arguments.max_detections)
        detections.append(found)
        evaluations.append(evaluate(found, measures, arguments.truth, str(path)))
    content = [e.to_json() for e in evaluations]
    if len(models) == 1:
        name, table, content = "evaluation", format_evaluation(evaluations[0]), content[0]
    else:
        differences = compare(*evaluations, resamples=arguments.resamples)
        name = "comparison"
        table = format_differences(*map(str, models), differences)
        content = {"a": content[0], "b": content[1]}
        content["differences"] = [d.to_json() for d in differences]
    say(table)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        write_json(content, arguments.output / f"{name}.json")
        write_text(f"{table}\n", arguments.output / f"{name}.txt")
    if arguments.pictures:
        draw(arguments, detections, root)


def find_images(arguments, truth):
    """The folder of the images of a ground truth, which pictures and foregrounds need."""
    root = arguments.image_root
    if root is None and find_spec("detectron2") is not None:
        from detectron2.data import MetadataCatalog

        root = MetadataCatalog.get(truth).get("image_root")
    if root is None and Path(truth).is_file():
        root = Path(truth).parent / "images"  # where `semiconv convert` puts them
    if root is None or not Path(root).is_dir():
        raise DatasetError(
            f"there is no folder of images for {truth}{f', {root}' * bool(root)}: give "
            "--image-root FOLDER"
        )
    return root


def draw(arguments, detections, root):
    """Draws the differences. A model's name is the first part of its path that differs."""
    from ..report.differences import save_differences
    from ..report.finished_runs import short_names

    names = [name.partition("/")[0] for name in short_names(arguments.compare)]
    by_model = dict(zip(names, detections, strict=True))
    ending = f".{arguments.format}"
    files, problems = save_differences(
        by_model, root, arguments.pictures, arguments.most, ending, arguments.close_up
    )
    say(f"Pictures: {len(files)} in {arguments.pictures}")
    if problems:
        raise DatasetError(f"{len(problems)} images cannot be drawn, the first: {problems[0]}")
