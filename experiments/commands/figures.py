"""Draws the pictures and tables of README and docs, from stored results and trained models.

    python tools/figures.py

If the model or the data for a picture is missing, the command leaves the picture as it is, and says
so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.documents.figures import documented_figures, draw_figures, update_tables
from semiconv_d2.cli.commands import finish, parser_of
from semiconv_d2.training import show_messages

TABLES = [
    Path("README.md"),
    *(
        Path("docs", "results", f"{name}.md")
        for name in ("index", "leaves", "photographs", "ablation", "ablation_v0_1_0", "cost")
    ),
    Path("docs", "explanation", "dots.md"),
    Path("docs", "tutorials", "large_images.md"),
    Path("docs", "how_to", "predict.md"),
    Path("docs", "how_to", "speed.md"),
    Path("docs", "how_to", "export.md"),
    Path("docs", "reference", "config.md"),
    Path("docs", "reference", "commands.md"),
]


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of("figures", __doc__)
    parser.add_argument(
        "--output", type=Path, default=Path("docs", "images"), help="folder to write to"
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of pictures")
    arguments = parser.parse_args(argv)
    figures = documented_figures()
    known = [name for figure in figures for name in figure.names]
    unknown = set(arguments.only) - set(known)
    if unknown:
        parser.error(f"--only {min(unknown)} is not a picture; there are {', '.join(known)}")
    chosen = [f for f in figures if not arguments.only or set(arguments.only) & set(f.names)]
    show_messages()
    return finish(lambda: draw(arguments, chosen))


def draw(arguments, chosen):
    for name, status in draw_figures(arguments.output, chosen):
        print(f"{name:<20} {status}")
    if not arguments.only:
        for document in TABLES:
            print(f"{document.name:<20} {update_tables(document)}")
