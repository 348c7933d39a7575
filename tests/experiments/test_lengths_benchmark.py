"""The error of lengths in docs/how_to/predict.md."""

import json
from pathlib import Path

from experiments.benchmarks.lengths import main

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results" / "lengths.json"


def test_the_errors_of_lengths_are_those_of_the_document(tmp_path):
    assert main(["--output", str(tmp_path / "lengths.json")]) == 0
    assert json.loads((tmp_path / "lengths.json").read_text()) == json.loads(RESULTS.read_text())
