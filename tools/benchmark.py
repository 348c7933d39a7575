"""Measures how long things take, by turns in one run.

python tools/benchmark.py evaluation                      5,000 drawn images
python tools/benchmark.py evaluation --truth bbbc010_test --results coco_instances_results.json
"""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.coco_json import write_json
from semiconv_d2.data.files import DatasetError
from semiconv_d2.evaluation import find_truth, read_results
from semiconv_d2.evaluation.benchmark import draw_scene, format_times, time_evaluation


def benchmark_evaluation(arguments):
    if arguments.results:
        truth = find_truth(arguments.truth)
        results = read_results(arguments.results, truth)
    else:
        truth, results = draw_scene(arguments.images)
    times = time_evaluation(truth, results, arguments.repeats)
    print(format_times(times))
    return times


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("evaluation",))
    parser.add_argument("--images", type=int, default=5000, help="drawn (default: %(default)s)")
    parser.add_argument("--truth", help="registered dataset or JSON in COCO's format")
    parser.add_argument("--results", type=Path, help="JSON or folder")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    if bool(arguments.truth) != bool(arguments.results):
        parser.error("--truth and --results belong together")
    times = benchmark_evaluation(arguments)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(times, arguments.output)


if __name__ == "__main__":
    try:
        main()
    except (DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
