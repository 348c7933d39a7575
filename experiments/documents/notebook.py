"""The notebook of the documentation: runs its cells without Jupyter, and fills in their outputs.

python -m experiments.documents.notebook docs/quickstart.ipynb
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path


def fill_outputs(content: Mapping) -> dict:
    """A notebook with the outputs of its cells, which are run in order in one scope. The current
    folder is the one that they run in.

    Args:
        content: JSON of a notebook, format 4. Its cells are plain Python, without magic.
    """
    scope: dict = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = _run("".join(cell["source"]), scope, count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
        cells.append(cell)
    return {**content, "cells": cells}


def _run(source: str, scope: dict, count: int) -> list[dict]:
    """The outputs of a cell: what it prints, and the value of its last line."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), scope)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), scope)
    outputs = []
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines})
    if value is not None:
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": count,
                "metadata": {},
                "data": _show(value),
            }
        )
    return outputs


def _show(value: object) -> dict:
    from PIL.Image import Image

    if not isinstance(value, Image):
        return {"text/plain": [repr(value)]}
    buffer = io.BytesIO()
    value.convert("RGB").quantize(64).save(buffer, "PNG", optimize=True)
    width, height = value.size
    return {
        "image/png": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "text/plain": [f"<picture of {width} × {height} pixels>"],
    }


def main() -> None:
    path = Path(sys.argv[1])
    content = fill_outputs(json.loads(path.read_text(encoding="utf-8")))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
