"""The example in plain PyTorch, as a newcomer runs it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_only_the_mixed_embedding_tells_equal_bars_apart():
    result = subprocess.run(
        [sys.executable, "tools/plain_pytorch.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    lines = re.findall(r"^(.+?) +(\d\.\d\d)$", result.stdout, flags=re.MULTILINE)
    shares = {name: float(share) for name, share in lines}
    assert list(shares) == ["coordinates alone", "network", "network + coordinates"]
    assert shares["network"] < 0.2  # chance is 0.10
    assert 0.4 < shares["coordinates alone"] < 0.6
    assert shares["network + coordinates"] > 0.98
