"""Builds the content of a report from the folders of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from detectron2.data import MetadataCatalog

from . import measure_sections, run_sections
from .finished_runs import METRICS, Run
from .gallery import build_gallery
from .measured import Comparison, choose_dataset, compare_runs, disagreements
from .page import Page


def build_page(
    runs: Sequence[Run],
    dataset: str | None = None,
    image_root: Path | None = None,
    pictures: int = 300,
    resamples: int = 1000,
) -> Page:
    """Builds the content of the report.

    Args:
        runs: the runs to compare.
        dataset: a dataset that the runs were evaluated on; by default the first that they share.
        image_root: folder of its images; by default that of the registered dataset.
        pictures: largest number of images in the gallery, those that change most; 0: no gallery.
        resamples: bootstrap draws for the intervals of differences.

    Raises:
        ReportError: the runs share no dataset, or were not evaluated on the given one.
        DatasetError: the ground truth or the results cannot be read.
    """
    dataset = choose_dataset(runs, dataset)
    notes = [
        f"{run.name} has no {METRICS}: the training curves do not show it."
        for run in runs
        if not run.metrics
    ]
    comparison = Comparison([], {})
    if dataset is None:
        notes.append(
            "No run has been evaluated: this page shows only training. To evaluate a run: "
            "semiconv train --eval-only."
        )
    else:
        notes += [
            f"{run.name} has not been evaluated: only the training curves show it."
            for run in runs
            if not run.evaluations
        ]
        comparison = compare_runs(runs, dataset, resamples)
        notes += [note for m in comparison.measured for note in disagreements(m, dataset)]
    sections, gallery = [run_sections.training(runs)], None
    if comparison.measured:
        sections = [
            measure_sections.results(comparison),
            *sections,
            measure_sections.difficulty(comparison),
            measure_sections.errors(comparison),
            measure_sections.precision_recall(comparison),
        ]
        if pictures:
            root = image_root or MetadataCatalog.get(dataset).get("image_root")
            by_run = {m.run.name: m.detections for m in comparison.measured}
            gallery, missing = build_gallery(by_run, root, pictures, runs[0].reading)
            notes += missing
    names = [run.name for run in runs]
    return Page(
        " and ".join(names) if len(names) < 3 else f"{len(names)} runs",
        _subtitle(comparison, dataset),
        names,
        notes,
        measure_sections.tiles(runs, comparison),
        [section for section in sections if section is not None],
        gallery,
        [run_sections.speed(runs, dataset), run_sections.config(runs), run_sections.origin(runs)],
    )


def _subtitle(comparison: Comparison, dataset: str | None) -> str:
    made = f"made {datetime.now().astimezone():%d %B %Y, %H:%M}".replace(" 0", " ")
    if not comparison.measured:
        return made
    first = comparison.measured[0].evaluation
    name = Path(dataset).name if dataset.endswith(".json") else dataset
    return f"{name}: {first.images:,} images, {first.instances:,} instances · {made}"
