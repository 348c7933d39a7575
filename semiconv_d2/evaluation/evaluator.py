"""The measures as a Detectron2 evaluator."""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.data.datasets import convert_to_coco_json
from detectron2.evaluation import DatasetEvaluator
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils import comm

from ..writing import write_json, write_text
from .evaluation import evaluate
from .measures import Detections, Threshold, check_measures, choose_threshold
from .reading import load_truth
from .tables import format_evaluation

logger = logging.getLogger(__name__)


class InstanceEvaluator(DatasetEvaluator):
    """Measures the instances that a model predicts, on a dataset with a COCO JSON.

    It gives the results of Detectron2's `COCOEvaluator` under the same names, and those of other
    measures. One thing differs: all detections count, not only the best 100 per image and class.
    The main process writes into the output folder:

    - `coco_instances_results.json`: the predictions, in COCO's format, written before the measures
      are computed;
    - `evaluation.json`: all measured values;
    - `evaluation.txt`: the table, which is also logged.

    Args:
        dataset_name: name of a registered dataset.
        measures: names of `MEASURES`.
        output_dir: folder to write to; None: nothing is written.
        threshold: the smallest score of detections that count in S.

    Raises:
        MeasureError: a measure is unknown, or something that it needs is missing.
    """

    def __init__(
        self,
        dataset_name: str,
        measures: Sequence[str] = ("coco",),
        output_dir: str | None = None,
        *,
        threshold: Threshold | None = None,
    ):
        check_measures(measures)
        self.dataset_name = dataset_name
        self.measures = tuple(measures)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.threshold = threshold
        self.truth = load_truth(Path(find_json(dataset_name, output_dir)))
        self._predictions: list[dict] = []

    def reset(self) -> None:
        self._predictions = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Stores the predictions for some images, with run-length encoded masks."""
        for image, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            self._predictions += instances_to_coco_json(instances, image["image_id"])

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Results by name of the measure, in the main process; empty in the others."""
        detections = self.gather()
        if detections is None:
            return OrderedDict()
        if self.output_dir is not None:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            write_json(detections.results, self.output_dir / "coco_instances_results.json")
        evaluation = evaluate(detections, self.measures, dataset=self.dataset_name)
        table = format_evaluation(evaluation)
        logger.info("Evaluation:\n%s", table)
        if self.output_dir is not None:
            write_json(evaluation.to_json(), self.output_dir / "evaluation.json")
            write_text(f"{table}\n", self.output_dir / "evaluation.txt")
        return OrderedDict(evaluation.values())

    def gather(self) -> Detections | None:
        """The predictions of all processes, in the main process; None in the others."""
        comm.synchronize()
        predictions = list(itertools.chain(*comm.gather(self._predictions, dst=0)))
        if not comm.is_main_process():
            return None
        ids = MetadataCatalog.get(self.dataset_name).get("thing_dataset_id_to_contiguous_id")
        category = {index: i for i, index in ids.items()} if ids else {}
        results = [p | {"category_id": self._category(p, category)} for p in predictions]
        return Detections(self.truth, results, self.threshold)

    def _category(self, prediction: dict, category: dict[int, int]) -> int:
        index = prediction["category_id"]
        found = category.get(index, None if category else index)
        if found is None or found not in self.truth.cats:
            raise ValueError(
                f"the model predicts class {index}, but {self.dataset_name} has "
                f"{len(self.truth.cats)} classes: set MODEL.ROI_HEADS.NUM_CLASSES to this number"
            )
        return found


class ThresholdChooser(InstanceEvaluator):
    """Chooses the score threshold of S that gives the largest avS on its dataset."""

    def evaluate(self) -> Threshold | None:  # type: ignore[override]
        """The threshold, in the main process; None in the others."""
        detections = self.gather()
        return None if detections is None else choose_threshold(detections, self.dataset_name)


def find_json(dataset_name: str, output_dir: str | None) -> str:
    """Path of a dataset's COCO JSON. If the dataset has none, Detectron2 writes one into the output
    folder, unless it is there already."""
    json_file = MetadataCatalog.get(dataset_name).get("json_file")
    if json_file is None:
        if output_dir is None:
            raise ValueError(
                f"{dataset_name} has no COCO JSON: set output_dir, where one is written"
            )
        json_file = str(Path(output_dir) / f"{dataset_name}_coco_format.json")
        convert_to_coco_json(dataset_name, json_file)
    return json_file
