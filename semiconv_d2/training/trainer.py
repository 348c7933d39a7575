"""Detectron2's trainer with the plugin's data, checkpoints and evaluation."""

from __future__ import annotations

import re
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.engine import (
    AMPTrainer,
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    TrainerBase,
    create_ddp_model,
)
from detectron2.engine.hooks import EvalHook, PeriodicCheckpointer
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.utils import comm
from torch import nn

from ..errors import TrainingError
from ..evaluation import NEED_THRESHOLD, Threshold
from ..evaluation.evaluator import InstanceEvaluator, ThresholdChooser
from ..modeling.fast import train_in_bfloat16
from .checkpoints import FINAL, Diverged, RunCheckpointer, is_whole, set_aside, tell_newest
from .images.mapper import ImageMapper
from .images.order import Progress, build_train_loader, seed_all
from .loading import build_checked, reading_weights
from .processes import Lost, is_lost_connection, lost_another, share_statistics
from .run_json import TimedEvaluator, gather_timings, record_run
from .wandb_run import wandb_run


class Trainer(DefaultTrainer):
    """Trains and evaluates any instance segmentation model of a config, stock ones included, in one
    process or in several, on GPUs or CPUs."""

    def __init__(self, cfg: CfgNode):
        # Not DefaultTrainer.__init__: if there are several processes, it needs a GPU for each.
        TrainerBase.__init__(self)
        self.cfg = cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        self.start_iter, self.max_iter = 0, cfg.SOLVER.MAX_ITER
        self._diverged = False
        model = self.build_model(cfg)
        on_cpu = torch.device(cfg.MODEL.DEVICE).type == "cpu"
        if cfg.SOLVER.AMP.ENABLED and on_cpu:
            train_in_bfloat16(model)
        optimizer = self.build_optimizer(cfg, model)
        loader = self.build_train_loader(cfg)
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=None)
        model.register_forward_hook(self._check_losses)
        steps = AMPTrainer if cfg.SOLVER.AMP.ENABLED and not on_cpu else SimpleTrainer
        self._trainer = steps(model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = RunCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.register_hooks(self.build_hooks())
        record_run(cfg, model)

    @property
    def progress(self) -> Progress:
        """How far the training is; its batches depend on this object."""
        return self.data_loader.dataset.progress

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Detectron2's `build_model`; a `ConfigError` says what is wrong in MODEL."""
        return build_checked(lambda: super(Trainer, cls).build_model(cfg), "MODEL")

    def build_hooks(self) -> list[HookBase]:
        """Detectron2's hooks. In addition, all processes share statistics, and a last checkpoint is
        written in any case."""
        periods = self.cfg.SOLVER.CHECKPOINT_PERIOD, self.cfg.TEST.EVAL_PERIOD
        hooks: list[HookBase] = [_SharedStatistics(periods)]
        for hook in super().build_hooks():
            hooks.append(hook)
            if isinstance(hook, PeriodicCheckpointer):  # in the main process alone
                hooks.append(_FinalCheckpoint(self.checkpointer))
        return hooks

    def resume_or_load(self, resume: bool = True) -> None:
        """Detectron2's `resume_or_load`, except that the optimizer of a resumed training takes its
        settings from the config, not from the checkpoint.

        Raises:
            ConfigError: a checkpoint cannot be read.
        """
        settings = [{k: v for k, v in g.items() if k != "params"} for g in self._groups]
        with reading_weights(self.cfg.MODEL.WEIGHTS):
            super().resume_or_load(resume=resume)
        if self.start_iter:
            self.progress.start = self.start_iter
            self._set_optimizer(settings)

    @property
    def _groups(self) -> list[dict]:
        return self.optimizer.param_groups

    def _set_optimizer(self, settings: Sequence[dict]) -> None:
        for group, own in zip(self._groups, settings, strict=True):
            group.update(own)
        self.scheduler.base_lrs = [group["initial_lr"] for group in self._groups]
        for group, rate in zip(self._groups, self.scheduler.get_lr(), strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict:
        made = min(self.iter, self.max_iter - 1)  # at the end `iter` is one more
        return super().state_dict() | {"iteration": made, "random_seed": self.progress.seed}

    def load_state_dict(self, state_dict: dict) -> None:
        if isinstance(self._trainer, AMPTrainer):  # a run that began without one, or on a CPU
            scaler = self._trainer.grad_scaler.state_dict()
            state_dict["_trainer"].setdefault("grad_scaler", scaler)
        super().load_state_dict(state_dict)
        if self.cfg.SEED < 0:
            self.progress.seed = state_dict.get("random_seed", self.progress.seed)

    def before_step(self) -> None:
        super().before_step()
        # Each step has random numbers of its own. So an evaluation or an interruption between two
        # steps makes no difference.
        seed_all(self.progress.seed, self.progress.rank, self.iter)

    def run_step(self) -> None:
        try:
            super().run_step()
        except FloatingPointError:  # of Detectron2's RPN
            self._diverge("predicted boxes or scores")
        except RuntimeError as error:
            if is_lost_connection(error):
                raise Lost from None
            raise

    def after_step(self) -> None:
        try:
            super().after_step()
        except Diverged:  # of the checkpointer
            self._diverged = True
            raise

    def _diverge(self, what: str) -> None:
        self._diverged = True
        raise Diverged(f"{what} became infinite or NaN", proven=self.iter - 2) from None

    def after_train(self) -> None:
        # A model that has diverged is not saved and not evaluated.
        left_out = (EvalHook, _FinalCheckpoint) if self._diverged else ()
        self.storage.iter = self.iter
        for hook in self._hooks:
            if not isinstance(hook, left_out):
                hook.after_train()

    def _check_losses(self, model: nn.Module, inputs: tuple, losses: dict) -> None:
        if model.training and not torch.isfinite(sum(losses.values())):
            broken = [name for name, loss in losses.items() if not torch.isfinite(loss)]
            self._diverge(", ".join(broken))

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        """A loader like Detectron2's that also follows the plugin's keys under INPUT."""
        seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
        progress = Progress(seed, comm.get_rank())
        return build_train_loader(cfg, ImageMapper(cfg, is_train=True), progress)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        """Detectron2's loader that also follows the plugin's keys under INPUT."""
        mapper = ImageMapper(cfg, is_train=False)
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    def train(self):
        """Detectron2's `train`, with Weights & Biases if WANDB.PROJECT is set.

        Raises:
            TrainingError: the training diverges, or another process is gone.
        """
        wanted = self.cfg.WANDB.PROJECT and comm.is_main_process()
        writing = wandb_run(self.cfg, resumed=self.start_iter > 0) if wanted else nullcontext()
        try:
            with writing:
                return super().train()
        except Lost:
            raise lost_another() from None
        except Diverged as error:
            folder, solver = Path(self.cfg.OUTPUT_DIR), self.cfg.SOLVER
            set_aside(folder, error.proven)
            raise TrainingError(
                f"{error} at iteration {self.iter}: the training diverges. Lower SOLVER.BASE_LR "
                f"(now {solver.BASE_LR:g}), raise SOLVER.WARMUP_ITERS (now {solver.WARMUP_ITERS}), "
                "or set SOLVER.CLIP_GRADIENTS.ENABLED True. The last good checkpoint: "
                f"{tell_newest(folder)}."
            ) from None

    @classmethod
    def build_evaluator(
        cls,
        cfg: CfgNode,
        dataset_name: str,
        output_folder: str | None = None,
        threshold: Threshold | None = None,
    ) -> InstanceEvaluator:
        """An evaluator of EVALUATION.MEASURES that writes into `inference` in the output folder. If
        there are several datasets, each has its own folder there.

        Args:
            threshold: lowest score of detections that count in S; by default that of the config.
        """
        folder = Path(output_folder or Path(cfg.OUTPUT_DIR, "inference"))
        if len(cfg.DATASETS.TEST) > 1:
            folder /= re.sub(r"[^\w.-]+", "_", dataset_name).strip("_")
        return InstanceEvaluator(
            dataset_name,
            cfg.EVALUATION.MEASURES,
            str(folder),
            threshold=threshold or Threshold(cfg.EVALUATION.SCORE_THRESHOLD, "given"),
        )

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    ) -> OrderedDict:
        """Results on DATASETS.TEST. If S is measured and EVALUATION.THRESHOLD_DATASET is set, the
        score threshold of S is chosen on that dataset first."""
        if isinstance(evaluators, DatasetEvaluator):
            evaluators = [evaluators]
        chosen = evaluators or cls._build_evaluators(cfg, model)
        timed = [TimedEvaluator(evaluator, model) for evaluator in chosen]
        results = super().test(cfg, model, timed)
        timings = gather_timings(evaluator.timing for evaluator in timed)
        record_run(cfg, model, dict(zip(cfg.DATASETS.TEST, timings, strict=True)))
        return results

    @classmethod
    def test_with_tta(cls, cfg: CfgNode, model: nn.Module) -> OrderedDict:
        """Results with the test-time augmentation of TEST.AUG; their names end in "_TTA"."""
        model = GeneralizedRCNNWithTTA(cfg, model)
        folder = str(Path(cfg.OUTPUT_DIR) / "inference_TTA")
        results = cls.test(cfg, model, cls._build_evaluators(cfg, model, folder))
        return OrderedDict((f"{name}_TTA", value) for name, value in results.items())

    @classmethod
    def _build_evaluators(
        cls, cfg: CfgNode, model: nn.Module, folder: str | None = None
    ) -> list[InstanceEvaluator]:
        threshold = None
        name = cfg.EVALUATION.THRESHOLD_DATASET
        if name and cfg.DATASETS.TEST and {*NEED_THRESHOLD} & {*cfg.EVALUATION.MEASURES}:
            loader = cls.build_test_loader(cfg, name)
            chooser = ThresholdChooser(name, output_dir=str(Path(cfg.OUTPUT_DIR, "inference")))
            threshold = inference_on_dataset(model, loader, chooser) or None
        return [cls.build_evaluator(cfg, d, folder, threshold) for d in cfg.DATASETS.TEST]


class _SharedStatistics(HookBase):
    """All processes have the same statistics of batch normalization before the model is saved or
    evaluated.

    Args:
        periods: of saving and of evaluating, in iterations; 0: only at the end of the training.
    """

    def __init__(self, periods: Sequence[int]):
        self.periods = [period for period in periods if period]

    def after_step(self) -> None:
        made = self.trainer.iter + 1
        if made == self.trainer.max_iter or not all(made % period for period in self.periods):
            share_statistics(self.trainer.model)


class _FinalCheckpoint(HookBase):
    """Writes the last checkpoint if a finished training lacks it. This happens if the training was
    stopped while that checkpoint was written, and is resumed."""

    def __init__(self, checkpointer: RunCheckpointer):
        self.checkpointer = checkpointer

    def after_train(self) -> None:
        finished = self.trainer.iter >= self.trainer.max_iter
        if finished and not is_whole(Path(self.checkpointer.save_dir, f"{FINAL}.pth")):
            self.checkpointer.save(FINAL)
