"""What a run leaves behind in run.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from torch import nn

from semiconv_d2.config import add_semiconv_config
from semiconv_d2.engine import run_record
from semiconv_d2.engine.run_record import TimedEvaluator, record_run


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4))

    def forward(self, inputs):
        return inputs


class Counter(DatasetEvaluator):
    seen = 0

    def reset(self):
        self.seen = 0

    def process(self, inputs, outputs):
        self.seen += len(inputs)

    def evaluate(self):
        return {"seen": self.seen}


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    add_semiconv_config(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "run")
    cfg.MODEL.DEVICE = "cpu"
    return cfg


def read(cfg) -> dict:
    return json.loads(Path(cfg.OUTPUT_DIR, "run.json").read_text())


def test_the_evaluator_works_as_before_and_is_timed():
    model, evaluator = Model(), Counter()
    timed = TimedEvaluator(evaluator, model)
    results = inference_on_dataset(model, [["image"]] * 8, timed)
    assert results == {"seen": 8}
    assert timed.timing["images"] == 8
    assert 0 <= timed.timing["seconds_per_image"] < 1
    model(["image"])  # after the evaluation nothing is timed
    assert timed.timing["images"] == 8
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_without_images_there_is_no_time():
    timed = TimedEvaluator(Counter(), Model())
    timed.reset()
    timed.evaluate()
    assert timed.timing is None


def test_everything_is_recorded(cfg, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path.cwd() / "tools" / "train_net.py"), "SEED", "1"])
    cfg.DATASETS.TRAIN = ("record_of_runs",)
    MetadataCatalog.get("record_of_runs").thing_classes = ["worm", "cell"]
    timing = {"seconds_per_image": 0.5, "images": 3}
    record_run(cfg, Model(), {"record_of_runs": timing, "untimed": None})
    MetadataCatalog.remove("record_of_runs")
    record = read(cfg)
    assert record["command"] == ["python", "tools/train_net.py", "SEED", "1"]
    assert record["started"].startswith("20")
    assert record["parameters"] == 12
    assert record["classes"] == ["worm", "cell"]
    assert record["inference"] == {"record_of_runs": timing}
    assert record["versions"]["torch"]
    assert record["versions"]["semiconv_d2"]
    assert record["machine"]["cpus"] >= 1
    assert record["peak_memory_mb"] > 1
    assert "later" not in record


def test_a_script_elsewhere_keeps_its_name_alone(cfg, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train_net.py"])
    record_run(cfg, Model())
    assert read(cfg)["command"] == ["python", "train_net.py"]


def test_resuming_adds_a_command_and_keeps_the_rest(cfg, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_net.py"])
    record_run(cfg, Model(), {"a": {"seconds_per_image": 1.0, "images": 1}})
    for _ in range(2):  # at the start of a run and at its end
        monkeypatch.setattr(run_record, "_STARTED", "2026-01-31T12:00:00+00:00")
        monkeypatch.setattr(sys, "argv", ["train_net.py", "--resume"])
        record_run(cfg, Model(), {"b": {"seconds_per_image": 2.0, "images": 1}})
    record = read(cfg)
    assert record["command"] == ["python", "train_net.py"]
    [later] = record["later"]
    assert later["command"] == ["python", "train_net.py", "--resume"]
    assert set(record["inference"]) == {"a", "b"}


def test_a_broken_record_is_written_anew(cfg, caplog):
    Path(cfg.OUTPUT_DIR).mkdir()
    Path(cfg.OUTPUT_DIR, "run.json").write_text("{")
    record_run(cfg, Model())
    assert read(cfg)["parameters"] == 12


def test_only_the_main_process_writes(cfg, monkeypatch):
    monkeypatch.setattr(run_record.comm, "is_main_process", lambda: False)
    record_run(cfg, Model())
    assert not Path(cfg.OUTPUT_DIR).exists()
