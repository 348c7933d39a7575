"""Trains the variants of a plan, and prints a comparison.

    python tools/experiments.py experiments/plans/bbbc010_ablation.yaml
    python tools/experiments.py experiments/plans/bbbc010_ablation.yaml --json results.json

All variants and random seeds start from the same checkpoint. All variants are checked before the
first training. You can interrupt the command and repeat it: complete runs are not trained again,
and incomplete runs continue from their last checkpoint. --opts KEY VALUE … are used for all runs.

docs/how_to/experiments.md says how to write a plan, and where the results are.
"""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from experiments.collecting import collect, format_experiments
from experiments.plan import read_plan
from experiments.runner import run_plan
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.data.files import check_file, check_folder
from semiconv_d2.errors import ReportError
from semiconv_d2.writing import write_json


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("experiments", __doc__)
    parser.add_argument("plan", type=Path, help="YAML, see docs/how_to/experiments.md")
    parser.add_argument("--output", type=Path, help="folder (default: output/experiments/PLAN)")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="runs at the same time"
    )
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    arguments = parser.parse_args(argv)
    if arguments.processes < 1:
        parser.error("--processes must be at least 1")
    logging.disable(logging.WARNING)  # each run writes its warnings to its output.txt
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the runs end too
    return finish(
        lambda: run(arguments),
        interrupted="interrupted; the same command continues from the last checkpoints",
    )


def run(arguments):
    plan = read_plan(arguments.plan)
    output = arguments.output or Path("output", "experiments", plan.name)
    check_folder(output, "--output")
    if arguments.json:
        check_file(arguments.json, "--json")
    failures = run_plan(plan, output, arguments.processes, arguments.opts)
    if len(failures) < len(plan.runs):
        show(collect(plan, output), arguments.json)
    if failures:
        listed = "\n".join(f"  {f}" for f in failures)
        raise ReportError(f"these runs failed; see the output.txt of each:\n{listed}")


def show(content: dict, json: Path | None):
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        write_json(content, json)
    print(format_experiments(content))
