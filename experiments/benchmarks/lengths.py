"""How exact the length in `semiconv predict --table` is: drawn strokes of known length, at random
places and angles.

    python -m experiments.benchmarks.lengths --output experiments/results/lengths.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.data.lengths import measure_extent
from semiconv_d2.writing import write_json

WIDTHS = (3, 6, 9, 12)
REPEATS = 20
_SIDE = 300  # pixels of the canvas
_T = np.linspace(0, 1, 2000)
CURVES = {
    "straight, 100 px": (100 * _T - 50, 0 * _T),
    "arc, 150 px of a circle of radius 50": (50 * np.cos(3 * _T), 50 * np.sin(3 * _T)),
    "S, 150 px": (120 * _T - 60, 25 * np.sin(2 * np.pi * _T)),
    "hook, 60 px of a circle of radius 15": (15 * np.cos(4 * _T), 15 * np.sin(4 * _T)),
}


def draw_stroke(line: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """A stroke with round ends.

    Args:
        line: points (P, 2), x and y in pixels.

    Returns: its mask, (300, 300) bool, and its length from end to end in pixels.
    """
    from scipy.spatial import cKDTree

    centres = np.stack(np.meshgrid(np.arange(_SIDE), np.arange(_SIDE)), axis=-1) + 0.5
    distances, _ = cKDTree(line).query(centres, distance_upper_bound=width)
    return distances <= width / 2, float(np.hypot(*np.diff(line, axis=0).T).sum()) + width


def measure_curve(
    curve: Sequence[np.ndarray], width: float, random: np.random.Generator
) -> list[float]:
    """Errors of the length in percent, of a stroke along a curve at random places and angles."""
    errors = []
    for _ in range(REPEATS):
        angle = random.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        line = np.stack(curve, axis=1) @ turn + _SIDE / 2 + random.uniform(0, 1, 2)
        mask, length = draw_stroke(line, width)
        errors.append(100 * abs(measure_extent(mask).length / length - 1))
    return errors


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("lengths", __doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args(argv)

    def run() -> None:
        random = np.random.default_rng(0)
        rows = []
        for name, curve in CURVES.items():
            errors = [measure_curve(curve, width, random) for width in WIDTHS]
            rows.append([name, *(f"{np.mean(e):.1f} (at most {max(e):.1f})" for e in errors)])
        content = {
            "kind": "table",
            "about": "Error of the length of drawn strokes with round ends, in percent of the "
            f"true length: mean and largest of {REPEATS} random places and angles. "
            "python -m experiments.benchmarks.lengths",
            "headers": ["error of the length, %", *(f"{width} px wide" for width in WIDTHS)],
            "rows": rows,
        }
        write_json(content, arguments.output)
        print(json.dumps(content, indent=1))

    return finish(run)


if __name__ == "__main__":
    raise SystemExit(main())
