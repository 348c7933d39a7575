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
from semiconv_d2.training import run_json
from semiconv_d2.training.run_json import TimedEvaluator, record_run


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
    device = record["machine"]["device"]
    assert record["inference"] == {"record_of_runs": timing | {"device": device}}
    assert record["versions"]["torch"]
    assert record["versions"]["semiconv_d2"]
    assert record["machine"]["cpus"] >= 1
    assert record["peak_memory_mb"] > 1
    assert "later" not in record


def test_the_classes_of_a_run_are_never_overwritten(cfg):
    """Evaluated on other data it is still the model that it was trained to be."""
    for number, names in enumerate((["worm", "egg"], ["egg", "worm"])):
        cfg.DATASETS.TEST = (f"record_of_runs_{number}",)
        MetadataCatalog.get(cfg.DATASETS.TEST[0]).thing_classes = names
        record_run(cfg, Model())
        MetadataCatalog.remove(cfg.DATASETS.TEST[0])
    assert read(cfg)["classes"] == ["worm", "egg"]


def test_a_script_elsewhere_keeps_its_name_alone(cfg, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train_net.py"])
    record_run(cfg, Model())
    assert read(cfg)["command"] == ["python", "train_net.py"]


def test_the_installed_command_is_written_as_it_is_typed(cfg, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/semiconv", "train", "SEED", "1"])
    record_run(cfg, Model())
    assert read(cfg)["command"] == ["semiconv", "train", "SEED", "1"]


def test_resuming_adds_a_command_and_keeps_the_rest(cfg, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_net.py"])
    record_run(cfg, Model(), {"a": {"seconds_per_image": 1.0, "images": 1}})
    for _ in range(2):  # at the start of a run and at its end
        monkeypatch.setattr(run_json, "_STARTED", "2026-01-31T12:00:00+00:00")
        monkeypatch.setattr(sys, "argv", ["train_net.py", "--resume"])
        record_run(cfg, Model(), {"b": {"seconds_per_image": 2.0, "images": 1}})
    record = read(cfg)
    assert record["command"] == ["python", "train_net.py"]
    [later] = record["later"]
    assert later["command"] == ["python", "train_net.py", "--resume"]
    assert set(record["inference"]) == {"a", "b"}


def run_on(monkeypatch, device: str, peak: float, started: str = "2026-01-31") -> None:
    """Pretends to be a process on another machine."""
    machine = {"cpus": 4, "device": device, "processes": 1}
    monkeypatch.setattr(run_json, "_STARTED", started)
    monkeypatch.setattr(run_json, "_machine", lambda cfg: machine)
    monkeypatch.setattr(run_json, "_peak_memory", lambda cfg: peak)
    monkeypatch.setattr(run_json, "_versions", lambda: {"torch": f"for {device}"})


def test_another_machine_does_not_take_the_place_of_the_first(cfg, monkeypatch):
    timing = {"seconds_per_image": 1.0, "images": 1}
    run_on(monkeypatch, "GPU", peak=500)
    record_run(cfg, Model(), {"a": timing})
    run_on(monkeypatch, "CPU", peak=9000, started="2026-02-01")
    record_run(cfg, Model(), {"b": timing})
    run_on(monkeypatch, "CPU", peak=9500, started="2026-02-01")  # the same process, later
    record_run(cfg, Model())
    record = read(cfg)
    assert record["machine"]["device"] == "GPU"
    assert record["versions"] == {"torch": "for GPU"}
    assert record["peak_memory_mb"] == 500
    [later] = record["later"]
    assert later["started"] == "2026-02-01"
    assert later["machine"]["device"] == "CPU"
    assert later["versions"] == {"torch": "for CPU"}
    assert later["peak_memory_mb"] == 9500
    assert {k: v["device"] for k, v in record["inference"].items()} == {"a": "GPU", "b": "CPU"}


def test_resuming_on_the_same_machine_raises_the_peak(cfg, monkeypatch):
    for day, peak in enumerate((500, 700, 600), start=1):
        run_on(monkeypatch, "GPU", peak, started=f"2026-02-0{day}")
        record_run(cfg, Model())
    record = read(cfg)
    assert record["peak_memory_mb"] == 700
    assert [entry["peak_memory_mb"] for entry in record["later"]] == [700, 600]


@pytest.mark.parametrize("content", ["{", "[]", '{"inference": [1]}', '{"later": [1]}'])
def test_a_broken_record_is_written_anew(cfg, caplog, content):
    Path(cfg.OUTPUT_DIR).mkdir()
    Path(cfg.OUTPUT_DIR, "run.json").write_text(content)
    record_run(cfg, Model())
    assert read(cfg)["parameters"] == 12
    assert "will be overwritten" in caplog.text


def test_only_the_main_process_writes(cfg, monkeypatch):
    monkeypatch.setattr(run_json.comm, "is_main_process", lambda: False)
    record_run(cfg, Model())
    assert not Path(cfg.OUTPUT_DIR).exists()
