"""Several processes on one machine, each with a model of its own and a part of the inputs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from typing import Any

from tqdm import tqdm

from ...errors import DatasetError

_WAIT = 0.2  # seconds between two looks at the processes


def run_processes(
    work: Callable[[Any, Callable[[], None]], int], tasks: Sequence[Any], total: int, before: int
) -> None:
    """Runs `work(task, advance)` in a process of its own for each task, and shows how far they are.

    Cores are shared out among them, and so are the GPUs of the machine.

    Args:
        work: a function of a module; calls `advance` whenever an input is done, and returns the
            exit status.
        tasks: can be pickled.
        total: number of inputs, and `before` how many of them are done already.

    Raises:
        DatasetError: a process has ended early, because of an error or because it was killed.
    """
    context = get_context("spawn")
    done = context.Value("l", 0)
    threads = max(1, (os.cpu_count() or 1) // len(tasks))
    processes = [
        context.Process(target=_run, args=(work, task, number, threads, done))
        for number, task in enumerate(tasks)
    ]
    try:
        for process in processes:
            process.start()
        with tqdm(total=total, initial=before, desc="inputs", unit="input", file=sys.stderr) as bar:
            alive = True
            while alive:
                time.sleep(_WAIT)
                alive = any(process.is_alive() for process in processes)
                if new := before + done.value - bar.n:
                    bar.update(new)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            if process.pid:
                process.join()
    ended = [number for number, process in enumerate(processes, start=1) if process.exitcode]
    if ended:
        raise DatasetError(
            f"process {ended[0]} of {len(tasks)} has ended early; what is done is kept: add "
            "--resume to go on"
        )


def _run(work: Callable, task: Any, number: int, threads: int, done: Any) -> None:
    os.environ["TQDM_DISABLE"] = "1"  # one progress bar is enough
    import torch

    torch.set_num_threads(threads)
    choose_gpu(number)

    def advance() -> None:
        with done.get_lock():
            done.value += 1
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            sys.exit(1)  # it was killed: a command with --resume may do the rest already

    sys.exit(work(task, advance))


def choose_gpu(number: int) -> None:
    """Makes "cuda" mean one of the GPUs of this machine, in turn; nothing without GPUs.

    Args:
        number: of the process on this machine, from 0 on.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
