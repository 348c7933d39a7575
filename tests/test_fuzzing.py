"""Random mutations of a COCO JSON, of results, of a YOLO folder and of the folder of a run: see
`helpers/fuzzing.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import FUZZ

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", FUZZ)
def test_some_mutations(kind, tmp_path):
    FUZZ[kind](tmp_path, range(50))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUZZ)
def test_many_mutations_in_bounded_memory(kind, tmp_path):
    script = ROOT / "tests" / "helpers" / "fuzzing.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), kind, str(tmp_path), "1000", "50"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr[-3000:]
