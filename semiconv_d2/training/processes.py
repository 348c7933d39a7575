"""Several processes that train one model together, as `torchrun` starts them.

Detectron2's own `launch` starts its processes itself, and needs a GPU for each. `torchrun` starts
them from outside, on GPUs or CPUs, on one machine or many, and starts them again when one is lost.
It tells each of them its place in environment variables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ConfigError, TrainingError, UserError
from ..writing import write_json

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_LOST = ("Connection closed by peer", "Connection reset by peer", "Connection refused")
"""What gloo says when another process is gone."""


class Lost(BaseException):
    """Another process is gone. Not an `Exception`, because Detectron2 prints their tracebacks."""


class Worker(NamedTuple):
    """The place of a process among those that `torchrun` has started."""

    rank: int
    """Its number among all."""
    world_size: int
    """How many there are, on all machines together."""
    local_rank: int
    """Its number among those of its machine."""
    local_world_size: int
    """How many its machine has."""
    restarts: int = 0
    """How often the processes have been started again, because one was lost."""

    @classmethod
    def of_environment(cls) -> Worker | None:
        """The worker of this process; None if `torchrun` has not started the process."""
        if not {*_VARIABLES, "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
            return None
        rank, world_size, local_rank, local_world_size = (int(os.environ[k]) for k in _VARIABLES)
        restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
        return cls(rank, world_size, local_rank, local_world_size, restarts)

    def check(self, device: str) -> None:
        """Checks that the processes fit the machine.

        Args:
            device: MODEL.DEVICE.

        Raises:
            ConfigError: there are fewer GPUs than processes, or not all machines have the same
                number of processes.
        """
        gpus = torch.cuda.device_count()
        if device.startswith("cuda") and self.local_world_size > gpus:
            raise ConfigError(
                f"torchrun has started {self.local_world_size} processes on this machine, which "
                f"has {gpus} GPUs: start one for each GPU with --nproc-per-node {gpus}, or train "
                "on the CPU with MODEL.DEVICE cpu."
            )
        if self.world_size % self.local_world_size:
            raise ConfigError(
                f"torchrun has started {self.world_size} processes, {self.local_world_size} of "
                "them on this machine: start the same number on each, with --nproc-per-node."
            )

    @contextmanager
    def joined(self, device: str) -> Iterator[None]:
        """Joins the processes to one group, within the context: NCCL connects GPUs, gloo CPUs.

        Raises:
            TrainingError: another process is gone.
        """
        on_gpu = device.startswith("cuda")
        if on_gpu:
            torch.cuda.set_device(self.local_rank)
        store, rank, world_size = next(distributed.rendezvous("env://", timeout=DEFAULT_TIMEOUT))
        # torchrun may hand the same store to processes that it starts again: they must not read
        # the addresses of the earlier processes.
        own = distributed.PrefixStore(f"{self.restarts}/{world_size}", store)
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=own,
            rank=rank,
            world_size=world_size,
            timeout=DEFAULT_TIMEOUT,
        )
        try:
            comm.create_local_process_group(self.local_world_size)
            yield
        except RuntimeError as error:
            if is_lost_connection(error):
                raise lost_another() from None
            raise
        finally:
            distributed.destroy_process_group()

    def tell(self, error: UserError) -> None:
        """Passes an error to torchrun, which prints a table of all errors when it ends."""
        if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
            said = f"error: {error}"
            more = {"py_callstack": said, "timestamp": str(int(time.time()))}
            write_json({"message": {"message": said, "extraInfo": more}}, Path(file))


def is_lost_connection(error: RuntimeError) -> bool:
    """Whether an error says that another process is gone."""
    return comm.get_world_size() > 1 and any(words in str(error) for words in _LOST)


def lost_another() -> TrainingError:
    """The error of a process that has lost another one."""
    return TrainingError(
        f"process {comm.get_rank()} has lost another process, whose own message says why. "
        "--resume continues from the last checkpoint."
    )


def share_statistics(model: nn.Module) -> None:
    """Gives all processes the mean of their running statistics of batch normalization.

    Each process collects them from its own images; only gradients are shared in a step. Without
    this function, the processes would evaluate different models, and a checkpoint would hold the
    model of the first process. The statistics are moving averages: so the mean at the end does not
    depend on how often it was taken before.
    """
    processes = comm.get_world_size()
    if processes == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    distributed.all_reduce(statistic)
                    statistic /= processes
