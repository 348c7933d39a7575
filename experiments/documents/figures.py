"""The pictures and tables of README and docs, from stored results and trained models."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from detectron2.data import MetadataCatalog

from experiments.attaching import PAPER, SEMICONV, STOCK, draw_twins, read_rows
from experiments.documents.charts import draw_attaching, draw_costs, draw_difficulty
from experiments.documents.coloring_views import view_colorings
from experiments.documents.method_figure import draw_method_of
from experiments.documents.site import fill_reference
from experiments.documents.tables import fill_tables
from experiments.dots.showing import draw_results
from semiconv_d2 import get_config_file
from semiconv_d2.data.datasets.prepared import datasets_root
from semiconv_d2.data.geometry import CONTACT
from semiconv_d2.evaluation import Detections, Threshold, find_truth, read_results
from semiconv_d2.inference.cost import PHASES, setting_of
from semiconv_d2.report.differences import save_differences
from semiconv_d2.report.finished_runs import RESULTS
from semiconv_d2.training.configs import load_config
from semiconv_d2.visualization.figures import save

BBBC010_MODEL = Path("output/bbbc010_coloring/model_final.pth")
BBBC010_TWINS = [
    Path("output/bbbc010_small", name, "model_final.pth") for name in (STOCK, SEMICONV)
]
SHIPPED = Path("checkpoints/bbbc010_small_one_stage.pth")
SAMPLE = Path("docs/images/sample.png")
_CHANGES = ("gain", "loss")
_COORDINATES = (
    "k-means of coordinates, true number"  # this row is not drawn: it is far below the rest
)
_SHOWN = Threshold(0.5, "given")


class FigureFile(NamedTuple):
    """A picture of the docs."""

    names: Sequence[str]
    """Names of the files that are drawn together."""
    needs: Sequence[Path]
    """Files and folders that it is drawn from."""
    origin: str
    """How to get them."""
    draw: Callable[[Path], None]
    """Draws it into a folder."""


def draw_figures(output: Path, figures: Sequence[FigureFile]) -> list[tuple[str, str]]:
    """Draws the figures whose files are there.

    Returns:
        The name of each file, and "drawn" or what is missing.
    """
    output.mkdir(parents=True, exist_ok=True)
    report = []
    for figure in figures:
        missing = [path for path in figure.needs if not path.exists()]
        if missing:
            status = f"left as it is: there is no {missing[0]}; to get it: {figure.origin}"
        else:
            figure.draw(output)
            status = "drawn"
        report += [(name, status) for name in figure.names]
    return report


def update_tables(document: Path, root: Path = Path()) -> str:
    """Writes the tables of a document again; returns whether it has changed."""
    before = document.read_text(encoding="utf-8")
    after = fill_reference(fill_tables(before, root))
    if after != before:
        document.write_text(after, encoding="utf-8")
    return "drawn" if after != before else "as it was"


def documented_figures(results: Path = Path("experiments", "results")) -> list[FigureFile]:
    """All pictures of README and docs."""
    in_git = "git checkout experiments/results"
    data = datasets_root() / "bbbc010"
    return [
        FigureFile(
            ["bbbc010.png"],
            [*BBBC010_TWINS, data],
            "make bbbc010",
            _draw_bbbc010_twins,
        ),
        FigureFile(
            [f"bbbc010_{name}.png" for name in _CHANGES],
            [*map(_predictions, BBBC010_TWINS), data],
            "make bbbc010",
            _draw_bbbc010_changes,
        ),
        FigureFile(
            ["method.png"],
            [SHIPPED, SAMPLE],
            "git checkout checkpoints docs/images",
            lambda output: draw_method_of(
                get_config_file("bbbc010_small_semiconv"), SHIPPED, SAMPLE, output / "method.png"
            ),
        ),
        FigureFile(
            ["attaching.svg"],
            [results / "demo_drop_in.json", results / "demo_fixed_gain.json"],
            in_git,
            lambda output: _draw_attaching(results, output / "attaching.svg"),
        ),
        *(
            FigureFile(
                [f"cost_{device}.svg"],
                [results / f"cost_{device}.json"],
                in_git,
                lambda output, name=f"cost_{device}": _draw_costs(
                    results / f"{name}.json", output / f"{name}.svg"
                ),
            )
            for device in ("cpu", "gpu")
        ),
        FigureFile(
            ["dots.png"],
            [results / "dots.json"],
            in_git,
            lambda output: draw_results(output / "dots.png", _read(results / "dots.json")),
        ),
        FigureFile(
            ["bbbc010_contact.svg"],
            [results / "bbbc010_coloring.json"],
            in_git,
            lambda output: _draw_contact(results, output / "bbbc010_contact.svg"),
        ),
        FigureFile(
            [f"bbbc010_{name}.png" for name in ("best", "worst", "centres")],
            [BBBC010_MODEL, data],
            "python datasets/prepare_bbbc010.py PATH/TO/BBBC010 and python tools/train_net.py "
            "--config-file configs/bbbc010_coloring.yaml SEED 1",
            _draw_bbbc010,
        ),
    ]


def _draw_attaching(results: Path, path: Path) -> None:
    rows = read_rows(_read(results / "demo_drop_in.json"))
    attached = {r.sigma_init: r.ap for r in rows if r.variant == PAPER}
    fixed = read_rows(_read(results / "demo_fixed_gain.json"))
    tuned = {r.sigma_init: r.ap for r in fixed}
    aps = {(r.variant, r.tuned): r.ap for r in rows}
    levels = {
        "the defaults, just attached (the stock model)": aps[SEMICONV, False],
        "the defaults, fine-tuned": aps[SEMICONV, True],
        "stock model, fine-tuned": aps[STOCK, True],
    }
    save(draw_attaching(attached, tuned, levels), path)


def _draw_contact(results: Path, path: Path) -> None:
    rows = _read(results / "bbbc010_coloring.json")["rows"]
    by_model = {r["model"]: r["contact"] for r in rows if r["model"] != _COORDINATES}
    meaning = "share of a worm's outline that touches others"
    save(draw_difficulty(by_model, CONTACT.labels, meaning), path)


def _draw_costs(content: Path, path: Path) -> None:
    cases = _read(content)["cases"]
    labels = [str(setting_of(c)) for c in cases]
    panels = {
        f"{phase}: {what}": {
            name: [c["costs"][phase].get(name, {}).get(key) for c in cases]
            for name in cases[0]["costs"][phase]
        }
        for phase in PHASES
        for what, key in (("time", "ratio"), ("peak memory", "memory_ratio"))
    }
    save(draw_costs(panels, [label.replace(", ", "\n") for label in labels]), path)


def _draw_bbbc010_twins(output: Path) -> None:
    cfg = load_config(get_config_file("bbbc010_small_semiconv"))
    draw_twins(cfg, *BBBC010_TWINS, output / "bbbc010.png")


def _predictions(checkpoint: Path) -> Path:
    return checkpoint.parent / "inference" / RESULTS


def _draw_bbbc010_changes(output: Path) -> None:
    """Draws the well that gains most and the well that loses most."""
    truth = find_truth("bbbc010_test")
    by_model = {
        name: Detections(truth, read_results(_predictions(checkpoint), truth), _SHOWN)
        for name, checkpoint in zip(("stock Mask R-CNN", "SemiConv"), BBBC010_TWINS, strict=True)
    }
    root = MetadataCatalog.get("bbbc010_test").image_root
    with tempfile.TemporaryDirectory() as folder:
        files, _ = save_differences(by_model, root, Path(folder), len(_CHANGES), close_up=True)
        for name, file in zip(_CHANGES, files, strict=True):
            (output / f"bbbc010_{name}.png").write_bytes(file.read_bytes())


def _draw_bbbc010(output: Path) -> None:
    weights = ["MODEL.WEIGHTS", str(BBBC010_MODEL)]
    cfg = load_config(get_config_file("bbbc010_coloring"), weights)
    with tempfile.TemporaryDirectory() as folder:
        view_colorings(cfg, Path(folder))
        for name in ("best", "worst", "centres"):
            picture = Path(folder, f"{name}.png").read_bytes()
            (output / f"bbbc010_{name}.png").write_bytes(picture)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
