"""The measures as a Detectron2 evaluator, in one process and in two."""

import json
import math
import os

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from pycocotools import mask as mask_util
from scenes import build_results, build_truth, make_scene, rectangle
from torch import distributed

from semiconv_d2.data import register
from semiconv_d2.errors import MeasureError
from semiconv_d2.evaluation import MEASURES, Detections, Threshold, evaluate
from semiconv_d2.evaluation.evaluator import InstanceEvaluator, ThresholdChooser

NAME = "evaluator_scene"
GIVEN = Threshold(0.5, "given")


def predictions(truth, results):
    """Inputs and outputs of a model that predicts these results, for each image."""
    index = {c: i for i, c in enumerate(sorted(truth.cats))}
    for image_id, image in sorted(truth.imgs.items()):
        own = [r for r in results if r["image_id"] == image_id]
        found = Instances((image["height"], image["width"]))
        boxes = torch.tensor([r["bbox"] for r in own]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found.pred_boxes = Boxes(boxes)
        found.scores = torch.tensor([r["score"] for r in own], dtype=torch.float64)
        found.pred_classes = torch.tensor([index[r["category_id"]] for r in own], dtype=torch.long)
        masks = np.zeros((len(own), image["height"], image["width"]), dtype=bool)
        for mask, result in zip(masks, own, strict=True):
            mask[:] = mask_util.decode(result["segmentation"])
        found.pred_masks = torch.as_tensor(masks)
        yield [{"image_id": image_id}], [{"instances": found}]


def same(a, b):
    return a.keys() == b.keys() and all(a[k] == pytest.approx(b[k], nan_ok=True) for k in a)


@pytest.fixture
def scene(tmp_path):
    """A registered dataset whose category ids are not those of the model."""
    truth, results = make_scene(8, classes=3, crowd=True)
    for thing in (*truth.dataset["annotations"], *results):
        thing["category_id"] = 10 * thing["category_id"]
    for category in truth.dataset["categories"]:
        category["id"] *= 10
    truth.createIndex()
    write_scene(tmp_path, truth, results)
    register_scene(tmp_path)
    yield tmp_path, truth, results
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def write_scene(folder, truth, results):
    (folder / "truth.json").write_text(json.dumps(truth.dataset))
    (folder / "results.json").write_text(json.dumps(results))


def register_scene(folder):
    register(NAME, folder / "truth.json", folder)
    MetadataCatalog.get(NAME).thing_dataset_id_to_contiguous_id = {10: 0, 20: 1, 30: 2}


def run(evaluator, images):
    evaluator.reset()
    for inputs, outputs in images:
        evaluator.process(inputs, outputs)
    return evaluator.evaluate()


def test_it_measures_what_was_predicted_and_writes_it(scene):
    folder, truth, results = scene
    evaluator = InstanceEvaluator(NAME, list(MEASURES), str(folder / "out"), threshold=GIVEN)
    values = run(evaluator, predictions(truth, results))
    expected = evaluate(Detections(truth, results, GIVEN), list(MEASURES)).values()
    assert same(dict(values), expected)
    written = json.loads((folder / "out" / "evaluation.json").read_text())
    assert {row["key"] for row in written["rows"]} == set(values)
    assert "mask AP" in (folder / "out" / "evaluation.txt").read_text()
    stored = json.loads((folder / "out" / "coco_instances_results.json").read_text())
    assert len(stored) == len(results)
    assert {r["category_id"] for r in stored} <= {10, 20, 30}


def test_predictions_are_written_before_anything_is_measured(scene):
    folder, truth, results = scene
    evaluator = InstanceEvaluator(NAME, ["s"], str(folder / "out"))  # which lacks its score
    with pytest.raises(MeasureError, match="score"):
        run(evaluator, predictions(truth, results))
    stored = json.loads((folder / "out" / "coco_instances_results.json").read_text())
    assert len(stored) == len(results)


def test_a_second_evaluation_forgets_the_first(scene):
    _, truth, results = scene
    evaluator = InstanceEvaluator(NAME, ["coco"])
    first = run(evaluator, predictions(truth, results))
    assert same(dict(run(evaluator, predictions(truth, results))), dict(first))


def test_a_class_that_the_data_does_not_have(scene):
    _, truth, results = scene
    images = list(predictions(truth, results))
    for _, [output] in images:
        output["instances"].pred_classes += 3
    with pytest.raises(ValueError, match=r"predicts class \d, but .* has 3 classes"):
        run(InstanceEvaluator(NAME, ["coco"]), images)


def test_unknown_measures_are_refused_before_anything_runs(scene):
    with pytest.raises(MeasureError, match="recall"):
        InstanceEvaluator(NAME, ["recall"])


def test_the_score_for_s_is_chosen_on_what_the_chooser_sees(scene):
    folder, _, _ = scene
    mask = rectangle(0, 0, 10, 5)
    truth = build_truth([[(mask, 1, False)], [(mask, 1, False)]])
    results = build_results([[(mask, 1, 0.8)], [(mask, 1, 0.6), (mask, 1, 0.2)]])
    for thing in (*truth.dataset["annotations"], *truth.dataset["categories"], *results):
        thing.update({k: 10 for k in ("category_id",) if k in thing})
    truth.dataset["categories"][0]["id"] = 10
    truth.createIndex()
    write_scene(folder, truth, results)
    threshold = run(ThresholdChooser(NAME), predictions(truth, results))
    assert threshold == (pytest.approx(0.4), f"chosen on {NAME}")


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="PyTorch without gloo")
def test_two_processes_measure_as_one_does(scene):
    folder, truth, results = scene
    torch.multiprocessing.spawn(_evaluate_a_share, (str(folder),), nprocs=2)
    values, nothing = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    expected = evaluate(Detections(truth, results, GIVEN), list(MEASURES)).values()
    assert same(values, expected)
    assert nothing == {}


def _evaluate_a_share(rank: int, folder: str) -> None:
    from pathlib import Path

    folder = Path(folder)
    torch.set_num_threads(1)
    store = f"file://{os.path.join(folder, 'store')}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    comm.create_local_process_group(2)
    register_scene(folder)
    truth = build_truth([[]])
    truth.dataset = json.loads((folder / "truth.json").read_text())
    truth.createIndex()
    results = json.loads((folder / "results.json").read_text())
    evaluator = InstanceEvaluator(NAME, list(MEASURES), threshold=GIVEN)
    values = run(evaluator, list(predictions(truth, results))[rank::2])
    assert all(not math.isinf(v) for row in values.values() for v in row.values())
    (folder / f"{rank}.json").write_text(json.dumps(values))
    comm.synchronize()
    distributed.destroy_process_group()
