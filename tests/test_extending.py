"""The examples of docs/how_to/extend.md, run from a project of somebody's own."""

import json
import re
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms
from semiconv_d2.evaluation import Detections, evaluate, find_truth
from semiconv_d2.evaluation.measures import MEASURES
from semiconv_d2.modeling.coloring import DECODER_REGISTRY, decode
from semiconv_d2.modeling.coloring.segments import Pixels

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "how_to" / "extend.md").read_text("utf-8")
DATASET, MEASURE, DECODER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_a_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare_synthetic_worms(tmp_path, train_images=2, val_images=1)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train.json").rename(tmp_path / "annotations" / "train.json")
    exec(DATASET, {})
    try:
        assert len(DatasetCatalog.get("my_cells_train")) == 2
    finally:
        DatasetCatalog.remove("my_cells_train")
        MetadataCatalog.remove("my_cells_train")


def test_a_measure(tmp_path):
    prepare_synthetic_worms(tmp_path, train_images=1, val_images=3)
    truth = find_truth(tmp_path / "val.json")
    found = [
        a | {"score": 0.5} for a in json.loads((tmp_path / "val.json").read_text())["annotations"]
    ]
    first = found[0]["image_id"]
    half = [d for d in found if d["image_id"] != first]
    exec(MEASURE, {})
    try:
        [row] = evaluate(Detections(truth, half), ["recall"]).rows
    finally:
        del MEASURES["recall"]
    assert row.values["recall"] == pytest.approx(100 * 2 / 3)
    resampled = row.resample(torch.eye(3).numpy())["recall"]
    assert sorted(resampled) == pytest.approx([0, 100, 100])


def test_a_decoder():
    exec(DECODER, {})
    try:
        votes = torch.tensor([[0.1, 0.2], [50.0, 50.0], [0.0, 0.0]])
        pixels = Pixels(votes, torch.ones(3), sigma=3.0, kernel="laplacian")
        segments = decode(pixels, "rounded", max_instances=9)
    finally:
        del DECODER_REGISTRY._obj_map["rounded"]
    assert sorted(s.pixels.tolist() for s in segments) == [[0, 2], [1]]
