"""Trains and evaluates; the arguments are those of Detectron2's own `train_net.py`.

    semiconv train --config-file configs/voc_semiconv.yaml
    semiconv train --config-file configs/voc_semiconv.yaml --eval-only \\
        MODEL.WEIGHTS output/voc_semiconv/model_final.pth
    semiconv train --config-file configs/own_semiconv.yaml \\
        OWN_DATA.TRAIN_JSON train.json OWN_DATA.TRAIN_IMAGES images OWN_DATA.TEST_JSON val.json

The configs are in configs/; what the plugin's keys do stands in semiconv_d2/config.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from detectron2.engine import default_argument_parser, default_setup, hooks, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from ..errors import ConfigError
from ..training import (
    Start,
    Trainer,
    load_checked_config,
    register_own_data,
    show_messages,
)
from ..training.configs import find_config_file
from ..training.loading import load_trained
from ..training.run_folder import checkpoint_of, config_kept, locked
from .commands import finish, parser_of


def run(cfg, args):
    """In each process."""
    register_own_data(cfg)  # in every process
    if args.eval_only:
        with config_kept(cfg):
            default_setup(cfg, args)
        show_messages(cfg.OUTPUT_DIR)
        model = Trainer.build_model(cfg)
        load_trained(model, checkpoint_of(cfg, args.resume))
        results = Trainer.test(cfg, model)
        if cfg.TEST.AUG.ENABLED:
            results.update(Trainer.test_with_tta(cfg, model))
        if comm.is_main_process():
            verify_results(cfg, results)
        return results

    default_setup(cfg, args)
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
        help="load pickles too, which can run any code, if you trust MODEL.WEIGHTS",
    )
    arguments = parser.parse_args(argv)
    show_messages()
    return finish(
        lambda: start(arguments),
        interrupted="interrupted; the last checkpoint goes on with --resume",
    )


def start(arguments):
    if arguments.num_gpus > 1 and arguments.num_gpus > torch.cuda.device_count():
        raise ConfigError(
            f"--num-gpus {arguments.num_gpus}: there are {torch.cuda.device_count()}. "
            "Without the option one is used, or the CPU."
        )
    # Checked before there are several processes, whose errors nobody wants to read.
    config = load_checked_config(
        arguments.config_file,
        arguments.opts,
        Start(
            resume=arguments.resume,
            eval_only=arguments.eval_only,
            processes=arguments.num_gpus * arguments.num_machines,
            writes_run=True,
            run_code=arguments.run_code,
        ),
    )
    arguments.config_file = find_config_file(arguments.config_file)  # Detectron2 writes it down
    # Of several machines the first one writes.
    first = arguments.machine_rank == 0
    with locked(Path(config.OUTPUT_DIR)) if first else nullcontext():
        launch(
            run,
            arguments.num_gpus,
            num_machines=arguments.num_machines,
            machine_rank=arguments.machine_rank,
            dist_url=arguments.dist_url,
            args=(config, arguments),
        )
