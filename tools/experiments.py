"""Trains the variants of a plan beside each other, and prints how they compare.

    python tools/experiments.py configs/experiments/bbbc010_ablation.yaml
    python tools/experiments.py configs/experiments/bbbc010_ablation.yaml --json results.json

Each variant starts from the same checkpoint, for each seed. What is complete is not trained again,
so that the command may be interrupted and repeated. --opts KEY VALUE … hold for all runs.
"""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.coco_json import write_json
from semiconv_d2.engine import ConfigError
from semiconv_d2.engine.experiments import collect, format_experiments, read_plan, run_plan
from semiconv_d2.engine.runs import ReportError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path, help="YAML")
    parser.add_argument("--output", type=Path, help="folder (default: output/experiments/PLAN)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="at a time")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error("--processes is 1 or more")
    plan = read_plan(arguments.plan)
    output = arguments.output or Path("output", "experiments", plan.name)
    failures = run_plan(plan, output, arguments.processes, arguments.opts)
    content = collect(plan, output)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(content, arguments.json)
    print(format_experiments(content))
    if failures:
        listed = "\n".join(f"  {f}" for f in failures)
        sys.exit(f"error: these runs failed; each has an output.txt:\n{listed}")


if __name__ == "__main__":
    try:
        main()
    except (ConfigError, ReportError) as error:
        sys.exit(f"error: {error}")
