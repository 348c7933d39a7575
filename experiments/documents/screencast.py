"""The moving picture of the README: a command that finds worms, and a report of two runs.

    python -m experiments.documents.screencast REPORT.html docs/images/screencast.gif

A headless Chromium shows the real picture and the real page.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

COMMAND = (
    "semiconv predict --model configs/bbbc010_small_semiconv.yaml \\\n"
    "    --weights checkpoints/bbbc010_small_one_stage.pth \\\n"
    "    --input docs/images/sample.png --output pictures"
)
ANSWER = "1 of 1 inputs, 15 instances.\nPictures: pictures"
REPORT = "semiconv report output/stock output/semiconv"
MASKS = Path("docs/images/sample_masks.png")
SIZE = 820, 520
COLOURS = 96
_LETTERS = 9  # letters typed between two pictures
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
_TERMINAL = """<style>
body {{ margin: 0; background: #1c2128; color: #e6edf3; font: 15px/1.5 monospace; }}
pre {{ margin: 0; padding: 18px 22px; white-space: pre-wrap; font: inherit; }}
b {{ color: #7ee2b8; font-weight: normal; }}
img {{ display: block; width: 470px; margin: 0 22px; border: 1px solid #57606a; }}
</style><pre>{text}</pre>{picture}"""

Moment = tuple[Image.Image, int]
"""A picture, and how many milliseconds it stays."""


def main(argv: Sequence[str] | None = None) -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="a report of two runs")
    parser.add_argument("output", type=Path, help="GIF to write")
    arguments = parser.parse_args(argv)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_ARGUMENTS)
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        moments = [*predicting(page), *reporting(page, arguments.report)]
        browser.close()
    save(moments, arguments.output)
    return 0


def predicting(page: Any) -> Iterator[Moment]:
    """Types the command, and shows its answer and its picture."""
    yield from _typing(page, COMMAND)
    page.set_content(_terminal(COMMAND, ANSWER))
    yield _shot(page), 900
    page.set_content(_terminal(COMMAND, ANSWER, MASKS))
    yield _shot(page), 3500


def reporting(page: Any, report: Path) -> Iterator[Moment]:
    """Types the command, and shows the report: its top, its images, one of them enlarged."""
    yield from _typing(page, REPORT)
    page.goto(report.resolve().as_uri())
    yield _shot(page), 2500
    page.locator("#gallery").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('gallery').scrollIntoView()")
    page.wait_for_timeout(300)
    yield _shot(page), 2500
    page.locator("#cards .card").first.click()
    page.wait_for_timeout(300)
    yield _shot(page), 2500


def _typing(page: Any, command: str) -> Iterator[Moment]:
    for end in range(_LETTERS, len(command) + _LETTERS, _LETTERS):
        page.set_content(_terminal(command[:end]))
        yield _shot(page), 110


def _terminal(command: str, answer: str = "", picture: Path | None = None) -> str:
    text = f"<b>$</b> {html.escape(command)}\n\n{html.escape(answer)}"
    shown = ""
    if picture is not None:
        content = base64.b64encode(picture.read_bytes()).decode()
        shown = f'<img src="data:image/png;base64,{content}">'
    return _TERMINAL.format(text=text, picture=shown)


def _shot(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save(moments: Sequence[Moment], path: Path) -> None:
    """Writes a GIF that repeats forever."""
    first, *others = [picture.quantize(COLOURS) for picture, _ in moments]
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=[milliseconds for _, milliseconds in moments],
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
