"""Draws the pictures and tables of README and docs, from results that were written down and trained
models.

    python tools/figures.py

A picture whose model or data are not there is left as it is, and named.
"""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.files import DatasetError
from semiconv_d2.engine import ConfigError, show_messages
from semiconv_d2.engine.figures import documented_figures, draw_figures, update_tables

TABLES = [
    Path("README.md"),
    *(Path("docs", f"{name}.md") for name in ("results", "ablation", "cost")),
]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder to write to")
    parser.add_argument("--only", nargs="+", default=[], help="names of pictures")
    arguments = parser.parse_args()
    figures = documented_figures()
    known = [name for figure in figures for name in figure.names]
    unknown = set(arguments.only) - set(known)
    if unknown:
        parser.error(f"--only {min(unknown)}: there are {', '.join(known)}")
    chosen = [f for f in figures if not arguments.only or set(arguments.only) & set(f.names)]
    try:
        for name, status in draw_figures(arguments.output, chosen):
            print(f"{name:<20} {status}")
        if not arguments.only:
            for document in TABLES:
                print(f"{document.name:<20} {update_tables(document)}")
    except (ConfigError, DatasetError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    show_messages()
    main()
