"""The peak of memory is that of the code in question alone."""

from __future__ import annotations

import pytest
import torch

from semiconv_d2.inference.measuring import PeakMemory


def test_the_peak_is_what_was_taken_since():
    in_use = torch.ones(64, 2**20, dtype=torch.uint8)
    torch.ones(100, 2**20)  # a peak that is over
    memory = PeakMemory()
    if memory.mebibytes() is None:
        pytest.skip("memory of a process is told with glibc only")
    torch.ones(50, 2**20, dtype=torch.uint8)
    assert 45 < memory.mebibytes() < 60
    assert in_use.all()  # in use all the time, and not counted
