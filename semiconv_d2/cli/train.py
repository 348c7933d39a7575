"""Train a model, or evaluate one. The arguments are those of Detectron2's own `train_net.py`.

    semiconv train --config-file configs/voc_semiconv.yaml
    semiconv train --config-file configs/voc_semiconv.yaml --eval-only \\
        MODEL.WEIGHTS output/voc_semiconv/model_final.pth
    semiconv train --config-file configs/own_semiconv.yaml \\
        OWN_DATA.TRAIN_JSON train.json OWN_DATA.TRAIN_IMAGES images OWN_DATA.TEST_JSON val.json
    torchrun --nproc-per-node 4 --no-python semiconv train \\
        --config-file configs/voc_semiconv.yaml

A config is a YAML file, or the name of one in configs/. KEY VALUE pairs at the end override it.
--resume continues the run in OUTPUT_DIR. Put it before these pairs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from detectron2.engine import default_argument_parser, hooks, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from ..errors import ConfigError, UserError
from ..training import (
    Start,
    Trainer,
    fit_config,
    load_checked_config,
    load_config,
    register_own_data,
    show_messages,
)
from ..training.configs import find_config_file
from ..training.loading import load_trained
from ..training.messages import set_up
from ..training.processes import Worker
from ..training.run_folder import checkpoint_of, config_kept, locked
from .commands import finish, parser_of

SECONDS_TO_SPEAK = 5


def run(cfg, args):
    """Trains or evaluates; each process calls it."""
    register_own_data(cfg)  # in every process
    if args.eval_only:
        with config_kept(cfg) if comm.is_main_process() else nullcontext():
            set_up(cfg, args)
        show_messages(cfg.OUTPUT_DIR)
        model = Trainer.build_model(cfg)
        load_trained(model, checkpoint_of(cfg, args.resume))
        results = Trainer.test(cfg, model)
        if cfg.TEST.AUG.ENABLED:
            results.update(Trainer.test_with_tta(cfg, model))
        if comm.is_main_process():
            verify_results(cfg, results)
        return results

    set_up(cfg, args)
    show_messages(cfg.OUTPUT_DIR)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    if cfg.TEST.AUG.ENABLED:
        trainer.register_hooks(
            [hooks.EvalHook(0, lambda: trainer.test_with_tta(cfg, trainer.model))]
        )
    return trainer.train()


def main(argv: Sequence[str] | None = None) -> int:
    parser = default_argument_parser(__doc__)
    parser.prog = parser_of("train", None).prog
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="also load pickles, which can run any code; only if you trust MODEL.WEIGHTS",
    )
    arguments = parser.parse_args(argv)
    worker = Worker.of_environment()
    show_messages(first=worker is None or worker.rank == 0)
    return finish(
        lambda: start(arguments, worker),
        interrupted="interrupted; --resume continues from the last checkpoint",
    )


def start(arguments, worker):
    if not arguments.config_file:
        raise ConfigError("Name a config, for example: --config-file own_semiconv.")
    if worker is None:
        launch_processes(arguments)
        return
    try:
        join_processes(arguments, worker)
    except UserError as error:
        worker.tell(error)
        raise


def launch_processes(arguments):
    """Starts the training processes, as Detectron2's tool does."""
    if arguments.num_gpus > 1 and arguments.num_gpus > torch.cuda.device_count():
        raise ConfigError(
            f"--num-gpus {arguments.num_gpus}: the number of GPUs here is "
            f"{torch.cuda.device_count()}. Without the option, one GPU is used, or the CPU."
        )
    first = arguments.machine_rank == 0
    processes = arguments.num_gpus * arguments.num_machines
    # Checked before there are several processes: their errors are hard to read.
    config = load_checked_config(
        arguments.config_file, arguments.opts, start_of(arguments, processes, first)
    )
    with writing_run(config, arguments, first):
        launch(
            run,
            arguments.num_gpus,
            num_machines=arguments.num_machines,
            machine_rank=arguments.machine_rank,
            dist_url=arguments.dist_url,
            args=(config, arguments),
        )


def join_processes(arguments, worker):
    """Runs in each of the processes that torchrun has started."""
    config = load_for(worker, arguments)
    arguments.resume |= worker.restarts > 0
    first = worker.rank == 0
    with worker.joined(config.MODEL.DEVICE):
        # One process of each machine looks at the data; all take the config of the first one.
        if worker.local_rank == 0:
            config = fit_config(config, start_of(arguments, worker.world_size, first))
        config = comm.all_gather(config)[0]
        with writing_run(config, arguments, first):
            run(config, arguments)


def load_for(worker, arguments):
    """Loads a config that fits the machine; only each machine's first process reports an error."""
    try:
        if arguments.num_gpus > 1 or arguments.num_machines > 1:
            raise ConfigError(
                "torchrun starts the processes: leave out --num-gpus and --num-machines, and give "
                "torchrun --nproc-per-node and --nnodes."
            )
        config = load_config(arguments.config_file, arguments.opts)
        worker.check(config.MODEL.DEVICE)
    except UserError:
        if worker.local_rank == 0:
            raise
        time.sleep(SECONDS_TO_SPEAK)  # torchrun ends all processes when one has ended
        sys.exit(1)
    return config


def start_of(arguments, processes, first):
    return Start(
        resume=arguments.resume,
        eval_only=arguments.eval_only,
        processes=processes,
        writes_run=first,  # if there are several machines, the first one writes
        run_code=arguments.run_code,
    )


@contextmanager
def writing_run(config, arguments, first):
    arguments.config_file = find_config_file(arguments.config_file)  # Detectron2 saves it
    with locked(Path(config.OUTPUT_DIR)) if first else nullcontext():
        yield
