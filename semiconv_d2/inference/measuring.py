"""Measures a piece of code: its peak of memory, its PyTorch operations and its time on a GPU."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

_MEBIBYTE = 2**20


class PeakMemory:
    """The peak of memory beyond what is in use when this object is created.

    On a CUDA device: what PyTorch allocates there. On the CPU: what the process uses, if it runs on
    Linux with glibc.
    """

    def __init__(self, device: str = "cpu"):
        self._device = device if device.startswith("cuda") else None
        self._before = self._restart()

    def mebibytes(self) -> float | None:
        """The peak since then, MiB; None if it is not known."""
        if self._before is None:
            return None
        if self._device:
            return torch.cuda.max_memory_allocated(self._device) / _MEBIBYTE - self._before
        return _of_process("VmHWM") - self._before

    def _restart(self) -> float | None:
        """Releases free memory and resets the peak; returns the memory in use, MiB."""
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
    """A field of /proc/self/status in MiB: "VmRSS" is the current value, "VmHWM" the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kibibytes) / 1024


class Operations(TorchDispatchMode):
    """Counts PyTorch's operations, without views. On a GPU each of them launches a kernel."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += not _is_view(operation)
        return operation(*args, **(kwargs or {}))


def count_operations(run: Callable[[], object]) -> int:
    """The number of operations of one call, forward and backward."""
    with Operations() as operations:
        run()
    return operations.count


def busy_seconds(run: Callable[[], object]) -> float:
    """How long the GPU is busy with one call: the sum of the times of its kernels."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    kernels = [e for e in profiler.events() if e.device_type == DeviceType.CUDA]
    return sum(e.self_device_time_total for e in kernels) / 1e6


def _is_view(operation) -> bool:
    if operation is torch.ops.aten._unsafe_view.default:  # a view of a copy that `reshape` has made
        return True
    schema = getattr(operation, "_schema", None)  # a few operations are not from ATen
    aliases = [x.alias_info for x in schema.returns if x.alias_info] if schema else []
    return any(not alias.is_write for alias in aliases)
