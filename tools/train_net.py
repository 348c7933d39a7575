"""Trains and evaluates; the arguments are those of Detectron2's own `train_net.py`.

    python tools/train_net.py --config-file configs/voc_semiconv.yaml
    python tools/train_net.py --config-file configs/voc_semiconv.yaml --eval-only \\
        MODEL.WEIGHTS output/voc_semiconv/model_final.pth
    python tools/train_net.py --config-file configs/own_semiconv.yaml \\
        OWN_DATA.TRAIN_JSON train.json OWN_DATA.TRAIN_IMAGES images OWN_DATA.TEST_JSON val.json

The configs are in configs/; what the plugin's keys do stands in semiconv_d2/config.py.
"""

import sys

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import default_argument_parser, default_setup, hooks, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from semiconv_d2.data.files import DatasetError
from semiconv_d2.engine import (
    ConfigError,
    Trainer,
    load_checked_config,
    register_own_data,
    show_messages,
)


def main(cfg, args):
    register_own_data(cfg)  # in every process
    default_setup(cfg, args)
    show_messages(cfg.OUTPUT_DIR)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(
            cfg.MODEL.WEIGHTS, resume=args.resume
        )
        results = Trainer.test(cfg, model)
        if cfg.TEST.AUG.ENABLED:
            results.update(Trainer.test_with_tta(cfg, model))
        if comm.is_main_process():
            verify_results(cfg, results)
        return results

    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    if cfg.TEST.AUG.ENABLED:
        trainer.register_hooks(
            [hooks.EvalHook(0, lambda: trainer.test_with_tta(cfg, trainer.model))]
        )
    return trainer.train()


if __name__ == "__main__":
    arguments = default_argument_parser(__doc__).parse_args()
    if arguments.num_gpus > 1 and arguments.num_gpus > torch.cuda.device_count():
        sys.exit(f"--num-gpus {arguments.num_gpus}: {torch.cuda.device_count()} are there.")
    show_messages()
    try:
        # Checked before there are several processes, whose errors nobody wants to read.
        config = load_checked_config(arguments)
        launch(
            main,
            arguments.num_gpus,
            num_machines=arguments.num_machines,
            machine_rank=arguments.machine_rank,
            dist_url=arguments.dist_url,
            args=(config, arguments),
        )
    except (ConfigError, DatasetError) as error:
        sys.exit(f"error: {error}")
