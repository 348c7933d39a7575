"""How much a piece of code asks of PyTorch, and a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Counts PyTorch's operations, without views: on a GPU, kernels that it launches."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += not _is_view(operation)
        return operation(*args, **(kwargs or {}))


def count_operations(run: Callable[[], object]) -> int:
    """Of one call, forward and backward."""
    with Operations() as operations:
        run()
    return operations.count


def busy_seconds(run: Callable[[], object]) -> float:
    """How long the GPU works for one call: the sum of its kernels."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    kernels = [e for e in profiler.events() if e.device_type == DeviceType.CUDA]
    return sum(e.self_device_time_total for e in kernels) / 1e6


def _is_view(operation) -> bool:
    if operation is torch.ops.aten._unsafe_view.default:  # of a copy that `reshape` has made
        return True
    schema = getattr(operation, "_schema", None)  # a few are none of ATen's
    aliases = [x.alias_info for x in schema.returns if x.alias_info] if schema else []
    return any(not alias.is_write for alias in aliases)
