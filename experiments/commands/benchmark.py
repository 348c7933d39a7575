"""Measures the time of evaluation, decoders, prediction or models; all alternatives take turns in
one run.

python tools/benchmark.py evaluation                      5,000 synthetic images
python tools/benchmark.py evaluation --truth bbbc010_test --results coco_instances_results.json
python tools/benchmark.py decoders                        from embeddings to instances
python tools/benchmark.py crowd --against CHECKOUT        `semiconv predict --json`, old and new
python tools/benchmark.py fast --truth bbbc010_test       what `semiconv predict --fast` does
python tools/benchmark.py exported                        exported models beside PyTorch
python tools/benchmark.py models                          as `semiconv benchmark`, with its options
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import MetadataCatalog

from experiments.benchmarks.evaluation import draw_scene, format_times, time_evaluation
from experiments.documents.tables import format_table
from semiconv_d2.cli import benchmark as models
from semiconv_d2.cli.benchmark import positive_number
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.evaluation import find_truth, read_results
from semiconv_d2.writing import write_json

PIXELS = (100_000,)
WELLS = 20
LARGE = (2048**2, 200)  # pixels and instances


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["models"]:
        return models.main(arguments[1:])
    parsed = parse_arguments(arguments)
    return finish(lambda: benchmark(parsed))


def parse_arguments(argv):
    parser = parser_of("benchmark", __doc__)
    parser.add_argument("what", choices=(*WHAT, "models"))
    parser.add_argument(
        "--images",
        type=int,
        default=5000,
        help="number of synthetic images for `evaluation`, most images for `fast` (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--against", type=Path, help="folder of another checkout, which `crowd` is compared with"
    )
    parser.add_argument("--truth", help="registered dataset or JSON in COCO's format")
    parser.add_argument("--results", type=Path, help="JSON or folder")
    parser.add_argument(
        "--pixels",
        type=positive_number,
        nargs="+",
        help="pixels of each image of `decoders` (default: 100,000, and once 2048² with 200 "
        "instances)",
    )
    parser.add_argument(
        "--instances",
        type=positive_number,
        nargs="+",
        default=(16, 50, 100, 200, 400),
        help="instances in each image of `decoders` (default: 16 50 100 200 400)",
    )
    parser.add_argument("--repeats", type=positive_number, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON to write")
    arguments = parser.parse_args(argv)
    if (arguments.what == "crowd") != bool(arguments.against):
        parser.error("--against is for `crowd`, which needs it")
    if arguments.what == "fast":
        if not arguments.truth or arguments.results:
            parser.error("`fast` needs --truth, and makes results itself")
    elif bool(arguments.truth) != bool(arguments.results):
        parser.error("--truth and --results are only used together: give both or neither")
    if min(arguments.pixels or PIXELS) < max(arguments.instances):
        parser.error("there are more --instances than --pixels")
    return arguments


def benchmark(arguments):
    content = WHAT[arguments.what](arguments)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(content, arguments.output)


def benchmark_evaluation(arguments):
    if arguments.results:
        truth = find_truth(arguments.truth)
        results = read_results(arguments.results, truth)
    else:
        truth, results = draw_scene(arguments.images)
    times = time_evaluation(truth, results, arguments.repeats)
    print(format_times(times))
    return times


def benchmark_decoders(arguments):
    from experiments.benchmarks import decoders

    sizes = list(itertools.product(arguments.pixels or PIXELS, arguments.instances))
    if arguments.pixels is None:
        sizes.append(LARGE)
    cases = [decoders.Case(*size) for size in sizes]
    content = decoders.benchmark_decoders(cases, repeats=arguments.repeats)
    print(decoders.format_decoders(content))
    return content


def benchmark_crowd(arguments):
    from experiments.benchmarks import crowd

    programs = {
        "before": crowd.Program(arguments.against),
        "now": crowd.Program(Path()),
        "now, with --fast": crowd.Program(Path(), ["--fast"]),
    }
    content = crowd.benchmark_crowd(programs, arguments.repeats)
    print(format_table(content))
    return content


def benchmark_fast(arguments):
    from experiments.benchmarks import switches

    truth = find_truth(arguments.truth)
    folder = MetadataCatalog.get(arguments.truth).get("image_root")
    content = switches.benchmark_switches(
        switches.shipped_predictors(),
        truth,
        Path(folder) if folder else Path(arguments.truth).parent / "images",
        arguments.images,
    )
    print(format_table(content))
    return content


def benchmark_exported(arguments):
    from experiments.benchmarks.exported import compare_exported

    truth = find_truth("bbbc010_test")
    root = Path(MetadataCatalog.get("bbbc010_test").image_root)
    names = sorted(image["file_name"] for image in truth.imgs.values())[:WELLS]
    content = compare_exported([root / name for name in names], arguments.repeats)
    print(format_table(content))
    return content


WHAT = {
    "evaluation": benchmark_evaluation,
    "decoders": benchmark_decoders,
    "crowd": benchmark_crowd,
    "fast": benchmark_fast,
    "exported": benchmark_exported,
}
