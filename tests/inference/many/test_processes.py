"""Several processes on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORK = """
import sys, time
from semiconv_d2.inference.many.processes import run_processes

def work(path, advance):
    for number in range(600):
        with open(path, "a") as file:
            print(number, file=file)
        advance()
        time.sleep(0.1)
    return 0

if __name__ == "__main__":
    run_processes(work, sys.argv[1:], 1200, 0)
"""


@pytest.mark.slow
def test_processes_end_when_their_parent_is_killed(tmp_path):
    """Otherwise they would write at the same time as the command that goes on."""
    (tmp_path / "work.py").write_text(WORK)
    files = [tmp_path / "one", tmp_path / "other"]
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "work.py"), *map(str, files)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    end = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert time.monotonic() < end
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    time.sleep(1)
    before = [file.read_text() for file in files]
    time.sleep(1)
    assert [file.read_text() for file in files] == before
