"""Detectron2's trainer with the plugin's evaluation, writers and quarter turns."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.utils import comm
from torch import nn

from ..evaluation import NEED_THRESHOLD, Threshold
from ..evaluation.evaluator import InstanceEvaluator, ThresholdChooser
from .image_mapper import ImageMapper
from .loading import build_checked, reading_weights
from .run_folder import checkpoint_of
from .run_json import TimedEvaluator, record_run
from .wandb_run import wandb_run


class Trainer(DefaultTrainer):
    """Trains and evaluates any instance segmentation model of a config, stock ones included."""

    def __init__(self, cfg: CfgNode):
        super().__init__(cfg)
        record_run(cfg, self._trainer.model)

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Detectron2's; a `ConfigError` says what in MODEL cannot be."""
        return build_checked(lambda: super(Trainer, cls).build_model(cfg), "MODEL")

    def resume_or_load(self, resume: bool = True) -> None:
        """Detectron2's; a `ConfigError` says what cannot be read."""
        with reading_weights(checkpoint_of(self.cfg, resume)):
            super().resume_or_load(resume=resume)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        """Detectron2's, with the keys that the plugin has under INPUT."""
        return build_detection_train_loader(cfg, mapper=ImageMapper(cfg, is_train=True))

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        """Detectron2's, likewise."""
        mapper = ImageMapper(cfg, is_train=False)
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    def train(self):
        """Detectron2's, with Weights & Biases where WANDB.PROJECT is set."""
        if not (self.cfg.WANDB.PROJECT and comm.is_main_process()):
            return super().train()
        with wandb_run(self.cfg, resumed=self.start_iter > 0):
            return super().train()

    @classmethod
    def build_evaluator(
        cls,
        cfg: CfgNode,
        dataset_name: str,
        output_folder: str | None = None,
        threshold: Threshold | None = None,
    ) -> InstanceEvaluator:
        """Measures EVALUATION.MEASURES and writes into `inference` in the output folder; of several
        datasets, into a folder for each.

        Args:
            threshold: from which score on detections count in S; by default as the config says.
        """
        folder = Path(output_folder or Path(cfg.OUTPUT_DIR, "inference"))
        if len(cfg.DATASETS.TEST) > 1:
            folder /= re.sub(r"[^\w.-]+", "_", dataset_name).strip("_")
        return InstanceEvaluator(
            dataset_name,
            cfg.EVALUATION.MEASURES,
            str(folder),
            threshold=threshold or Threshold(cfg.EVALUATION.SCORE_THRESHOLD, "given"),
            max_detections=max(100, cfg.TEST.DETECTIONS_PER_IMAGE),
        )

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    ) -> OrderedDict:
        """Results on DATASETS.TEST. Where S is measured and EVALUATION.THRESHOLD_DATASET is set,
        the score that S needs is chosen there first."""
        if isinstance(evaluators, DatasetEvaluator):
            evaluators = [evaluators]
        chosen = evaluators or cls._build_evaluators(cfg, model)
        timed = [TimedEvaluator(evaluator, model) for evaluator in chosen]
        results = super().test(cfg, model, timed)
        timings = [evaluator.timing for evaluator in timed]
        record_run(cfg, model, dict(zip(cfg.DATASETS.TEST, timings, strict=True)))
        return results

    @classmethod
    def test_with_tta(cls, cfg: CfgNode, model: nn.Module) -> OrderedDict:
        """Results with test-time augmentation, as of TEST.AUG; names end in "_TTA"."""
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
