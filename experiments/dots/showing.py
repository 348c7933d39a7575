"""The results of the experiment with dots, as tables and as a picture."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from experiments.dots.grids import LENGTHS, REACH
from experiments.dots.picture import Curve, Panel, draw_experiment


def format_results(content: dict) -> str:
    """The results as tables of text."""
    copies = [f"{rows * columns}\n{rows}×{columns}" for rows, columns in content["sizes"]]
    align = ["left"] * 3 + ["right"] * len(copies)
    tables = []
    for key, title in (("accuracy", "Pixel accuracy"), ("ari", "Adjusted Rand index")):
        lines = [
            (
                row["object"],
                row["operator"],
                {True: "with", False: "without", None: "–"}[row["padding"]],
                *(_mean_and_spread(values) for values in row[key]),
            )
            for row in content["rows"]
        ]
        headers = ["\nobject", "\noperator", "\npadding", *copies]
        table = tabulate(lines, headers=headers, disable_numparse=True, colalign=align)
        tables.append(f"{title}\n\n{table}")
    return "\n\n".join(tables)


def draw_results(path: Path, content: dict) -> None:
    """Draws the picture of figure 3; below it accuracy by the number of copies, and the effect of
    the border.

    Args:
        content: content of the JSON.
    """
    panels = [decode_panel(p) for p in content["panels"]]
    copies = [rows * columns for rows, columns in content["sizes"]]
    accuracy = {
        f"{shape}: pixel accuracy": [
            _curve(row, copies, row["accuracy"])
            for row in content["rows"]
            if row["object"] == shape
        ]
        for shape in LENGTHS
    }
    border = [
        _curve(row, row["border"]["pixels"], row["border"]["distance"])
        for row in content["rows"]
        if row["object"] == "dots" and row.get("border")
    ]
    draw_experiment(path, panels, accuracy, border, REACH, "with padding in sight")


def encode_panel(panel: Panel) -> dict:
    """A panel as content of a JSON file."""
    labels = {name: _encode(values) for name, values in panel.labels.items()}
    return {"title": panel.title, "image": _encode(panel.image), "labels": labels}


def decode_panel(content: dict) -> Panel:
    """The panel that `encode_panel` has encoded."""
    labels = {name: _decode(values) for name, values in content["labels"].items()}
    return Panel(content["title"], _decode(content["image"]).astype(np.uint8), labels)


def _mean_and_spread(values: Sequence[float]) -> str:
    mean = f"{np.round(np.mean(values), 3) + 0.0:.3f}"  # + 0: no −0
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.3f}"


def _curve(row: dict, x: Sequence[int], values: Sequence[Sequence[float]]) -> Curve:
    order = np.argsort(x, kind="stable")
    mean, spread = np.mean(values, axis=1), np.std(values, axis=1)
    return Curve(
        row["operator"], row["padding"] is True, np.array(x)[order], mean[order], spread[order]
    )


def _encode(values: np.ndarray) -> dict:
    """Encodes whole numbers, (H, W), for JSON."""
    packed = zlib.compress(np.ascontiguousarray(values, dtype="<i2").tobytes(), level=9)
    return {"shape": list(values.shape), "zlib": base64.b64encode(packed).decode("ascii")}


def _decode(content: dict) -> np.ndarray:
    packed = zlib.decompress(base64.b64decode(content["zlib"]))
    return np.frombuffer(packed, dtype="<i2").reshape(content["shape"])
