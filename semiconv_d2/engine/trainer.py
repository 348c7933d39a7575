"""Detectron2's trainer with COCO evaluation and the plugin's optimizer."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import COCOEvaluator
from detectron2.modeling import GeneralizedRCNNWithTTA
from torch import nn
from torch.optim import Optimizer

from .optimizer import build_optimizer


class Trainer(DefaultTrainer):
    """Trains and evaluates any model of a config, stock ones included."""

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_evaluator(
        cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None
    ) -> COCOEvaluator:
        folder = output_folder or str(Path(cfg.OUTPUT_DIR) / "inference")
        return COCOEvaluator(dataset_name, output_dir=folder)

    @classmethod
    def test_with_tta(cls, cfg: CfgNode, model: nn.Module) -> OrderedDict:
        """Results with test-time augmentation, as of TEST.AUG; names end in "_TTA"."""
        model = GeneralizedRCNNWithTTA(cfg, model)
        folder = str(Path(cfg.OUTPUT_DIR) / "inference_TTA")
        evaluators = [cls.build_evaluator(cfg, name, folder) for name in cfg.DATASETS.TEST]
        results = cls.test(cfg, model, evaluators)
        return OrderedDict((f"{name}_TTA", value) for name, value in results.items())
