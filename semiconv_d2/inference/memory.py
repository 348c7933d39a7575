"""The peak of memory of a piece of code."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import torch

_MEBIBYTE = 2**20


class PeakMemory:
    """How much memory is taken beyond what is in use now: on a CUDA device what PyTorch allocates
    there, on the CPU what the process holds, where Linux and glibc tell."""

    def __init__(self, device: str = "cpu"):
        self._device = device if device.startswith("cuda") else None
        self._before = self._restart()

    def mebibytes(self) -> float | None:
        """The peak since; None where it is not known."""
        if self._before is None:
            return None
        if self._device:
            return torch.cuda.max_memory_allocated(self._device) / _MEBIBYTE - self._before
        return _of_process("VmHWM") - self._before

    def _restart(self) -> float | None:
        """Gives free memory back and forgets the peak so far; returns the memory in use, MiB."""
        if self._device:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device) / _MEBIBYTE
        if platform.libc_ver()[0] != "glibc":
            return None
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        return _of_process("VmRSS")


def _of_process(field: str) -> float:
    """MiB of a field of /proc/self/status: "VmRSS" for now, "VmHWM" for the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kibibytes) / 1024
