"""Measures how long things take, by turns in one run.

python tools/benchmark.py evaluation                      5,000 drawn images
python tools/benchmark.py evaluation --truth bbbc010_test --results coco_instances_results.json
python tools/benchmark.py decoders                        from embeddings to instances
python tools/benchmark.py models                          Mask R-CNN, SemiConv, PointRend, Cascade
"""

import argparse
import itertools
import sys
from pathlib import Path

from semiconv_d2 import get_config_file
from semiconv_d2.data.coco_json import write_json
from semiconv_d2.data.files import DatasetError
from semiconv_d2.engine import ConfigError
from semiconv_d2.evaluation import find_truth, read_results
from semiconv_d2.evaluation.benchmark import draw_scene, format_times, time_evaluation

PIXELS = (100_000,)
LARGE = (2048**2, 200)  # pixels and instances


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
    from semiconv_d2.engine import decoder_benchmark as decoders

    sizes = list(itertools.product(arguments.pixels or PIXELS, arguments.instances))
    if arguments.pixels is None:
        sizes.append(LARGE)
    cases = [decoders.Case(*size) for size in sizes]
    content = decoders.benchmark_decoders(cases, repeats=arguments.repeats)
    print(decoders.format_decoders(content))
    return content


def benchmark_models(arguments):
    from semiconv_d2.engine.cost import Setting, benchmark_models, format_costs
    from semiconv_d2.engine.setup import hush_pytorch

    hush_pytorch()
    first = Setting(
        arguments.sizes[0], arguments.masks[0], arguments.resolutions[0], arguments.batches[0]
    )
    settings = [first._replace(size=size) for size in arguments.sizes]
    settings += [first._replace(instances=count) for count in arguments.masks[1:]]
    settings += [first._replace(resolution=side) for side in arguments.resolutions[1:]]
    settings += [first._replace(images=count) for count in arguments.batches[1:]]
    settings += [first._replace(instances=count, crowded=True) for count in arguments.crowded]
    content = benchmark_models(
        arguments.config_file, arguments.opts, settings, repeats=arguments.repeats
    )
    print(format_costs(content))
    return content


def positive_number(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


WHAT = {
    "evaluation": benchmark_evaluation,
    "decoders": benchmark_decoders,
    "models": benchmark_models,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=WHAT)
    parser.add_argument(
        "--images",
        type=int,
        default=5000,
        help="images that `evaluation` draws (default: %(default)s)",
    )
    parser.add_argument("--truth", help="registered dataset or JSON in COCO's format")
    parser.add_argument("--results", type=Path, help="JSON or folder")
    parser.add_argument(
        "--pixels",
        type=positive_number,
        nargs="+",
        help="of the images of `decoders` (default: 100,000, and once 2048² with 200 instances)",
    )
    parser.add_argument(
        "--instances",
        type=positive_number,
        nargs="+",
        default=(16, 50, 100, 200, 400),
        help="in each image of `decoders` (default: 16 50 100 200 400)",
    )
    for name, default, what in (
        ("--sizes", (800, 400), "shorter sides of the models' images"),
        ("--masks", (100, 20), "masks of an image"),
        ("--resolutions", (28, 56), "sides of the mask logits"),
        ("--batches", (1,), "images at a time"),
    ):
        parser.add_argument(
            name,
            type=positive_number,
            nargs="+",
            default=default,
            help=f"{what}: the first one, and each other one by itself (default: %(default)s)",
        )
    parser.add_argument(
        "--crowded",
        type=positive_number,
        nargs="*",
        default=(100, 1000),
        metavar="N",
        help="masks of images whose boxes lie on top of each other (default: %(default)s)",
    )
    parser.add_argument(
        "--config-file",
        default=get_config_file("Base-RCNN-FPN"),
        help="of the models (default: R-50-FPN)",
    )
    parser.add_argument("--repeats", type=positive_number, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON to write")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    arguments = parser.parse_args()
    if bool(arguments.truth) != bool(arguments.results):
        parser.error("--truth and --results belong together")
    if min(arguments.pixels or PIXELS) < max(arguments.instances):
        parser.error("there are more --instances than --pixels")
    content = WHAT[arguments.what](arguments)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(content, arguments.output)


if __name__ == "__main__":
    try:
        main()
    except (ConfigError, DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
