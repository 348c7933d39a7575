"""The report's page: its charts and pictures, and how it behaves in a browser."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.report.charts import (
    BarChart,
    LineChart,
    Series,
    compact,
    draw_bars,
    draw_lines,
    nice_ticks,
)
from semiconv_d2.report.page import (
    Drawn,
    Gallery,
    Instance,
    Page,
    Picture,
    Section,
    Table,
    Tile,
    render,
)
from semiconv_d2.report.pictures import (
    FINENESS,
    LONGEST,
    box_path,
    embed_image,
    mask_path,
    picture_size,
)

PICTURES = 30
HOSTILE = "</script><b>&'\""


def fill_path(path: str, height: int, width: int) -> np.ndarray:
    """Pixels of a path by the rule "evenodd", (height, width) bool."""
    import cv2

    inside = np.zeros((height, width), dtype=np.uint8)
    for x, y, steps in re.findall(r"M(-?\d+) (-?\d+)l([^z]*)z", path):
        moves = np.array(steps.split(), dtype=int).reshape(-1, 2)
        points = np.cumsum([[int(x), int(y)], *moves], axis=0).astype(np.int32)
        outline = np.zeros_like(inside)
        cv2.fillPoly(outline, [points], 1)
        inside ^= outline
    return inside > 0


def test_a_path_has_the_shape_of_its_mask():
    rows, columns = np.ogrid[:90, :120]
    distance = (rows - 40) ** 2 + (columns - 60) ** 2
    mask = (distance <= 30**2) & (distance >= 15**2)
    mask[80:86, 5:100] = True
    drawn = fill_path(mask_path(mask), FINENESS * 90, FINENESS * 120)
    wanted = mask.repeat(FINENESS, axis=0).repeat(FINENESS, axis=1)
    assert (drawn & wanted).sum() / (drawn | wanted).sum() > 0.93
    assert not drawn[FINENESS * 40, FINENESS * 60]  # the hole


def test_large_images_have_small_paths_and_thin_instances_stay():
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[1000, 500:3500] = True
    path = mask_path(mask)
    numbers = list(map(int, re.findall(r"-?\d+", path)))
    assert picture_size(3000, 4000) == (480, LONGEST)
    assert numbers[1] == pytest.approx(1000 * 480 / 3000 * FINENESS, abs=1.5)
    assert len(path) < 60
    assert mask_path(np.zeros((5, 5), dtype=bool)) == ""
    one = np.zeros((5, 5), dtype=bool)
    one[2, 2] = True
    assert mask_path(one).startswith("M")


def test_boxes():
    assert box_path((10, 20, 30, 5), 100, 200) == "M20 40l60 0 0 10 -60 0z"


def test_images_are_embedded_small():
    image = np.random.default_rng(0).integers(0, 256, (100, 1280, 3), dtype=np.uint8)
    kind, data = embed_image(image).split(",")
    assert kind == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (640, 50)


def test_an_embedded_image_shows_what_it_is_of():
    image = np.full((60, 90, 3), (20, 60, 200), dtype=np.uint8)
    image[:20, :60] = (230, 120, 10)
    for scale in (1, 16):  # as it is, and made smaller
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        _, data = embed_image(large).split(",")
        picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
        height, width = picture_size(*large.shape[:2])
        rows, columns = np.arange(height) * 60 // height, np.arange(width) * 90 // width
        difference = np.abs(np.asarray(picture) - image[rows][:, columns].astype(int))
        assert difference.mean() < 6


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 973, [0, 200, 400, 600, 800, 1000]),
        (0.31, 0.49, [0.3, 0.35, 0.4, 0.45, 0.5]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_compact_numbers():
    values = (0, 0.00123456, 1.2345, 123.4, 12345, math.nan)
    assert [compact(v) for v in values] == ["0", "0.00123", "1.23", "123", "12.35k", "–"]


def test_charts_are_well_formed_and_inside_their_frame():
    lines = draw_lines(
        LineChart(HOSTILE, "iteration", "loss", [
            Series(0, "a", [0, 10, 20], [3, 2, 1.5]), Series(1, "b", [5], [7]),
        ])
    )  # fmt: skip
    bars = draw_bars(BarChart("AP", "kind", "%", ["x", "y"], ["", ""], [(0, "a", [50, math.nan])]))
    for svg in (lines, bars):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        _, _, width, height = map(float, root.get("viewBox").split())
        for text in root.iter("text"):
            assert 0 <= float(text.get("x", 0)) <= width
            assert 0 <= float(text.get("y", 0)) <= height
    assert ElementTree.fromstring(lines).get("aria-label").startswith(HOSTILE)
    assert "b ends at 7" in lines
    assert [r.get("height") for r in ElementTree.fromstring(bars).iter("rect")][1] == "0.0"


def elements(root, kind: str) -> list:
    """Those whose first class it is."""
    return [e for e in root.iter() if e.get("class", "").split()[:1] == [kind]]


def place(text) -> tuple[float, float]:
    return float(text.get("x")), float(text.get("y"))


def scales(root) -> tuple:
    """Slope and offset of what the numbers at the x and the y axis say about places."""
    ticks = [(*place(t), float(t.text)) for t in elements(root, "tick")]
    left, bottom = min(x for x, _, _ in ticks), max(y for _, y, _ in ticks)
    along_x = [(value, x) for x, y, value in ticks if y == bottom]
    along_y = [(value, y - 3.5) for x, y, value in ticks if x == left]
    assert len(along_x) > 3
    assert len(along_y) > 3
    found = []
    for values, places in (zip(*along, strict=True) for along in (along_x, along_y)):
        found.append(np.polyfit(values, places, 1))
        np.testing.assert_allclose(np.polyval(found[-1], values), places, atol=0.1)
    return tuple(found)


def points_of(line) -> np.ndarray:
    """(K, 2) places."""
    return np.array([p.split() for p in line.get("d").removeprefix("M").split("L")], dtype=float)


@pytest.mark.parametrize("limits", [None, (0, 20, 0, 4)])
def test_lines_lie_at_their_values_in_the_colours_of_their_runs(limits):
    lines = {1: ([0, 5, 10, 20], [4, 3.5, 1, 0.5]), 0: ([0, 10, 15], [0, 3, 3.2])}
    series = [Series(run, "name", x, y) for run, (x, y) in lines.items()]
    series.append(Series(2, "point", [15], [1.5]))
    root = ElementTree.fromstring(draw_lines(LineChart("t", "x", "y", series, limits)))
    along_x, along_y = scales(root)
    assert along_x[0] > 10  # to the right
    assert along_y[0] < -30  # upwards
    drawn = {line.get("class"): points_of(line) for line in elements(root, "line")}
    assert list(drawn) == ["line run-1", "line run-0"]
    for run, (x, y) in lines.items():
        expected = np.stack([np.polyval(along_x, x), np.polyval(along_y, y)], axis=1)
        np.testing.assert_allclose(drawn[f"line run-{run}"], expected, atol=0.15)
    [dot] = elements(root, "dot")
    assert dot.get("class") == "dot run-2"
    expected = np.polyval(along_x, 15), np.polyval(along_y, 1.5)
    assert (float(dot.get("cx")), float(dot.get("cy"))) == pytest.approx(expected, abs=0.15)


def test_lines_fill_the_limits_that_are_given():
    line = Series(0, "a", [0, 20], [0, 4])
    root = ElementTree.fromstring(draw_lines(LineChart("t", "x", "y", [line], (0, 20, 0, 4))))
    [axis], [line] = elements(root, "axis"), elements(root, "line")
    left, bottom, right = map(float, re.split("[ H]", axis.get("d").removeprefix("M")))
    assert points_of(line)[0].tolist() == [left, bottom]
    assert points_of(line)[1, 0] == right
    assert points_of(line)[1, 1] < 0.1 * bottom


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([50.0, 20.0], [10.0, math.nan]),
        ([-3.0, -1.0], [-2.0, math.nan]),
        ([-3.0, 4.0], [2.0, math.nan]),
    ],
)
def test_bars_reach_from_zero_to_their_values(first, second):
    rows = [(1, "b", first), (0, "a", second)]
    root = ElementTree.fromstring(draw_bars(BarChart("t", "x", "y", ["g", "h"], ["", ""], rows)))
    ticks = [t for t in elements(root, "tick") if t.get("text-anchor") == "end"]
    assert any(float(t.text) == 0 for t in ticks)
    scale = np.polyfit([float(t.text) for t in ticks], [place(t)[1] - 3.5 for t in ticks], 1)
    assert scale[0] < 0  # upwards
    zero = np.polyval(scale, 0)
    names = {t.text: place(t)[0] for t in elements(root, "tick") if t not in ticks}
    numbers = {t.text: place(t) for t in elements(root, "value")}
    bars = {tuple(b.find("title").text.replace(":", ",").split(", ")): b for b in root.iter("rect")}
    assert len(bars) == 4
    for run, name, values in rows:
        for group, value in zip("gh", values, strict=True):
            number = "–" if math.isnan(value) else f"{value:.1f}"
            bar = bars[name, group, number]
            assert bar.get("class") == f"bar run-{run}"
            left, top, width, height = (float(bar.get(k)) for k in ("x", "y", "width", "height"))
            end = zero if math.isnan(value) else np.polyval(scale, value)
            assert (top, top + height) == pytest.approx(sorted((zero, end)), abs=0.15)
            # Side by side around the name of their group, the first run at the left.
            beside = left + width < names[group] if name == "b" else left > names[group]
            assert beside
            assert abs(left + width / 2 - names[group]) < (names["h"] - names["g"]) / 2
            x, y = numbers[number]
            assert x == pytest.approx(left + width / 2, abs=0.15)
            assert top - 4 < y < top if not value < 0 else top + height < y < top + height + 10
    assert all(0 < y <= 194 for _, y in numbers.values())  # none in the names


@pytest.mark.parametrize("value", [1e17, -1e17, 3e5])
def test_a_constant_line_has_a_range_of_its_size(value):
    chart = LineChart("a", "x", "y", [Series(0, "a", [value, value], [value, value])])
    root = ElementTree.fromstring(draw_lines(chart))
    [line] = elements(root, "line")
    [axis] = elements(root, "axis")
    left, bottom, right = map(float, re.split("[ H]", axis.get("d").removeprefix("M")))
    for x, y in points_of(line):
        assert left <= x <= right
        assert 0 < y <= bottom
    ticks = elements(root, "tick")
    below = [t.text for t in ticks if place(t)[1] > bottom + 10]
    beside = [t.text for t in ticks if place(t)[1] < bottom + 10]
    for texts in (below, beside):
        assert len(texts) == len(set(texts)) > 3


def test_constant_and_empty_lines_are_drawn():
    ElementTree.fromstring(draw_lines(LineChart("a", "x", "y", [Series(0, "a", [1, 2], [0, 0])])))
    ElementTree.fromstring(draw_lines(LineChart("a", "x", "y", [Series(0, "a", [], [])])))
    ElementTree.fromstring(draw_bars(BarChart("a", "x", "y", [], [], [])))


def square(left: int, top: int, side: int) -> str:
    return f"M{left} {top}l{side} 0 0 {side} {-side} 0z"


def make_page(pictures: int = PICTURES, runs: tuple[str, ...] = ("A", "B")) -> Page:
    """Picture k has two instances: the first is found by all, the second, of the other class, by B
    with an IoU of 0.5 + k / 100; A finds it with 0.65 and has a false positive where k is odd."""
    image = np.full((120, 160, 3), 70, dtype=np.uint8)
    image[20:60, 20:60] = 160
    uri = embed_image(image)
    several = len(runs) > 1
    content = []
    for k in range(pictures):
        iou = 0.5 + k / pictures * 0.3
        paths = [square(40, 40, 80), square(180, 100, 60)]
        found = [[Drawn(p, i, 0.9, i) for i, p in enumerate(paths)] for _ in runs]
        if k % 2:
            found[0].append(Drawn(square(10, 180, 40), -1, 0.6, 0))
        instances = [
            Instance(0, 0, 0, 0.0, 400.0, [1.0] * len(runs)),
            Instance(1, 1, 3, 0.5, 2000.0, [0.65, iou][: len(runs)] if several else [iou]),
        ]
        content.append(Picture(f"{k:02d}{HOSTILE}.png", 120, 160, uri, instances, paths, [], found))
    gallery = Gallery(
        ["What a change is."], runs, ("round", "long"), ("small", "medium", "large"),
        ("none", "little", "some", "much"), content,
    )  # fmt: skip
    chart = LineChart("loss", "iteration", "loss", [Series(0, "A", [0, 1], [2, 1])])
    table = Table("mask AP", ["mask AP", *runs], [["by kind"], ["AP", *("50.0" for _ in runs)]])
    settings = Table(
        "Config", ["", *runs], [["A.LONG.KEY" * 4, *("value" * 20 for _ in runs)]], True
    )
    return Page(
        f"Report {HOSTILE}", "of 30 images", runs, ["A note."], [Tile("AP", runs, "+1")],
        [Section("results", "Results", ["Text."], [chart], [table])], gallery,
        [Section("config", "Config", [], tables=[settings], listings=[("A", "command " * 40)])],
    )  # fmt: skip


def test_the_page_needs_nothing_else_and_escapes_what_it_shows():
    html = render(make_page())
    assert HOSTILE not in html
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", html)
    assert "@import" not in html
    index = re.search(r'id="index">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(index)["pictures"][0]["name"] == f"00{HOSTILE}.png"
    assert len(re.findall(r'id="picture-\d+"', html)) == PICTURES


def test_without_a_gallery_there_is_no_script():
    html = render(make_page()._replace(gallery=None))
    assert "<script" not in html
    assert "Results" in html


# What follows runs in a browser.

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-quic",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    """A headless browser; skips where there is none, but in CI installs it where that can be."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    path = find_chromium()
    if path is None and can_install():
        subprocess.run("apt-get update && apt-get install -y chromium", shell=True, check=False)
        path = find_chromium()
    if path is None:
        pytest.skip("no Chromium: install it by your system's package manager")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def can_install() -> bool:
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return bool(os.environ.get("CI")) and root and shutil.which("apt-get") is not None


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(make_page()), encoding="utf-8")
    return path


@pytest.fixture
def visit(chromium):
    """Opens a page; whatever it says on the console or asks of the network fails the test."""
    problems, contexts = [], []

    def visit(path: Path, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("data:", "file:")) or problems.append(request.url)
            ),
        )
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(visit, html):
    return visit(html)


def names(page) -> list[str]:
    """The first two characters of the cards' names in their order."""
    texts = page.locator("#cards .card-name span:first-child").all_text_contents()
    return [text[:2] for text in texts]


def shown_layers(page, where: str) -> list[str]:
    return page.eval_on_selector_all(
        f"{where} >> [data-layer]:not(button)",
        "groups => groups.filter(g => g.style.display !== 'none').map(g => g.dataset.layer)",
    )


def test_gains_and_losses_are_both_shown(page):
    headings = page.locator("#extremes h3").all_text_contents()
    assert headings == ["Largest gains, A → B", "Largest losses, A → B"]
    groups = page.locator("#extremes .cards")
    first = [groups.nth(i).locator(".card-name").first.text_content() for i in (0, 1)]
    assert first[0].startswith("29")
    assert first[0].endswith("+0.07")
    assert first[1].startswith("00")
    assert first[1].endswith("−0.08")
    label = page.locator("#overview svg").get_attribute("aria-label")
    assert "14 better" in label
    assert "15 worse" in label


def test_sorting(page):
    assert names(page)[:2] == ["29", "28"]
    page.select_option("#sort", "loss")
    assert names(page)[:2] == ["00", "01"]
    page.select_option("#sort", "name")
    assert names(page) == [f"{k:02d}" for k in range(PICTURES)]
    page.select_option("#sort", "change")
    assert set(names(page)[:3]) == {"00", "29", "01"}


def test_filters(page):
    status = page.locator("#count")
    assert status.text_content() == (
        "30 images with 60 instances; false positives: 15 in A, 0 in B"
    )
    page.select_option("#class", label="long")
    assert "30 images with 30 instances" in status.text_content()
    assert page.locator("#cards .card-name .up").first.text_content() == "+0.14"  # not halved
    page.fill("#most", "0.6")
    assert "11 images" in status.text_content()  # B below 0.6
    page.select_option("#iou-run", label="in A")
    assert "0 images" in status.text_content()
    page.click("button[type=reset]")
    page.locator("#cards .card").nth(PICTURES - 1).wait_for(state="attached")
    page.select_option("#contact", label="none")
    page.select_option("#size", label="medium")
    assert "0 images" in status.text_content()
    page.select_option("#size", label="small")
    assert "30 images with 30 instances" in status.text_content()


def test_false_positives_can_be_looked_for(visit, tmp_path):
    path = tmp_path / "one.html"
    path.write_text(render(make_page(runs=("A",))), encoding="utf-8")
    page = visit(path)
    page.check("#only-false")
    assert len(names(page)) == PICTURES // 2
    assert "false positives: 15 in A" in page.locator("#count").text_content()
    page.locator("#cards .card").first.click()
    assert page.locator("#viewer path.false").count() == 1
    assert "false positive in A, score 0.60" in page.locator("#viewer-table").text_content()


def test_false_positives_of_any_run_count_and_only_those_of_the_class(page):
    status = page.locator("#count")
    page.check("#only-false")
    assert len(names(page)) == PICTURES // 2  # they are all in A, and B is the second run
    page.select_option("#class", label="long")
    assert "0 images" in status.text_content()
    assert "false positives: 0 in A, 0 in B" in status.text_content()
    page.select_option("#class", label="round")
    assert "15 images" in status.text_content()
    assert "false positives: 15 in A, 0 in B" in status.text_content()


def test_flipping_toggles_vector_layers(page):
    card = page.locator("#extremes .card").first
    card.scroll_into_view_if_needed()
    page.wait_for_selector("#extremes .card svg g")
    assert shown_layers(page, "#extremes .card >> nth=0") == ["3"]
    source = card.locator("img").get_attribute("src")
    page.click("#layers button:has-text('truth')")
    assert shown_layers(page, "#extremes .card >> nth=0") == ["1"]
    page.keyboard.press("0")
    assert shown_layers(page, "#extremes .card >> nth=0") == ["0"]
    assert card.locator("img").get_attribute("src") == source
    assert page.locator("#layers [aria-pressed=true]").text_content() == "image0"


def test_an_instance_has_one_colour_everywhere(page):
    page.locator("#extremes .card").first.click()
    for key in "123":
        page.keyboard.press(key)
        where = f"#viewer g[data-layer='{key}'] path"
        classes = page.eval_on_selector_all(
            where, "p => p.map(e => [e.dataset.key, e.classList[1]])"
        )
        assert {("0", "c0"), ("1", "c1")} <= {tuple(c) for c in classes}
    assert page.locator("#viewer g[data-layer='2'] path.false").count() == 1


def test_keyboard(page):
    page.select_option("#sort", "name")
    page.locator("#cards .card").nth(1).focus()
    page.keyboard.press("Enter")
    name = page.locator("#viewer-name")
    assert name.text_content().startswith("01")
    assert page.locator("#viewer-place").text_content() == "2 of 30"
    page.keyboard.press("ArrowRight")
    assert name.text_content().startswith("02")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert name.text_content().startswith("29")  # around the end
    page.keyboard.press("2")
    assert shown_layers(page, "#viewer") == ["2"]
    page.keyboard.press("Space")
    assert shown_layers(page, "#viewer") == ["3"]
    page.keyboard.press("Space")
    assert shown_layers(page, "#viewer") == ["0"]
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    # The browser reports that a dialog has been closed some time after closing it.
    page.wait_for_function("document.activeElement.dataset.index === '29'")


def test_closing_leaves_the_page_where_it_was(page):
    card = page.locator("#extremes .card").nth(5)
    card.scroll_into_view_if_needed()
    before = page.evaluate("window.scrollY")
    card.click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.getElementById('viewer').open")
    page.wait_for_timeout(100)
    assert page.evaluate("window.scrollY") == before
    assert page.evaluate("document.activeElement.closest('#extremes') !== null")


def test_the_space_bar_presses_a_button_that_has_the_focus(page):
    page.locator("#cards .card").first.click()
    page.locator("#next").focus()
    page.keyboard.press("Space")
    assert page.locator("#viewer-place").text_content() == "2 of 30"
    assert shown_layers(page, "#viewer") == ["3"]
    page.locator("#close").focus()
    page.keyboard.press("Space")
    assert not page.locator("#viewer").is_visible()


def zoomed_to(page) -> list[float]:
    return list(map(float, page.locator("#viewer svg").get_attribute("viewBox").split()))


def test_zoom_to_an_instance(page):
    page.select_option("#sort", "name")
    page.locator("#cards .card").nth(1).click()
    whole = [0, 0, 320, 240]
    assert zoomed_to(page) == whole
    rows = page.locator("#viewer-table tbody tr")
    assert [row.split()[0] for row in rows.all_inner_texts()] == ["2", "1", "–"]
    rows.nth(0).click()  # a square of 60 steps at (180, 100)
    side = 1.6 * 60 / 240
    expected = [210 - side * 160, 130 - side * 120, side * 320, side * 240]
    assert zoomed_to(page) == pytest.approx(expected)
    image = page.locator("#viewer img").bounding_box()
    frame = page.locator("#viewer .frame").bounding_box()
    for way, extent, start, length in (("x", "width", 0, 320), ("y", "height", 1, 240)):
        assert image[extent] == pytest.approx(frame[extent] / side, rel=1e-3)
        shift = (frame[way] - image[way]) / image[extent]  # image and outlines move alike
        assert shift == pytest.approx(expected[start] / length, abs=1e-3)
    page.keyboard.press("1")
    assert zoomed_to(page) == pytest.approx(expected)  # it stays while flipping
    rows.nth(0).click()
    assert zoomed_to(page) == whole
    assert page.evaluate("getComputedStyle(document.querySelector('#viewer img')).transform") in (
        "none",
        "matrix(1, 0, 0, 1, 0, 0)",
    )


def test_zoom_by_keys_and_in_the_picture(page):
    page.select_option("#sort", "name")
    page.locator("#cards .card").nth(1).click()
    whole, chosen = [0, 0, 320, 240], page.locator("#viewer-table .chosen")
    seen = []
    for _ in range(4):
        page.keyboard.press("ArrowDown")
        seen.append(chosen.get_attribute("data-key") if chosen.count() else None)
    assert seen == ["1", "0", "0:2", None]  # the false positive is the third detection of A
    assert zoomed_to(page) == whole
    page.keyboard.press("ArrowUp")
    assert zoomed_to(page) == pytest.approx([0, 168, 64 * 4 / 3, 64])  # not beyond the border
    page.keyboard.press("Escape")
    assert page.locator("#viewer").is_visible()
    assert zoomed_to(page) == whole
    page.locator("#viewer g[data-layer='3'] path[data-key='0']").click()
    assert chosen.get_attribute("data-key") == "0"
    page.locator("#viewer .frame").click(position={"x": 5, "y": 5})
    assert zoomed_to(page) == whole
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert zoomed_to(page) == whole  # of the next image
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_pictures_are_drawn_when_they_come_near(visit, tmp_path):
    path = tmp_path / "long.html"
    path.write_text(render(make_page(300)), encoding="utf-8")
    page = visit(path)
    drawn = "document.querySelectorAll('.frame svg').length"
    assert page.evaluate(drawn) < 100
    page.locator("#cards .card").last.scroll_into_view_if_needed()
    page.wait_for_selector("#cards .card:last-child .frame svg", state="attached")
    assert page.evaluate(drawn) < 200


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(visit, html, width, scheme):
    page = visit(html, viewport={"width": width, "height": 844}, color_scheme=scheme)
    sizes = "[document.documentElement.scrollWidth, window.innerWidth]"
    content, window = page.evaluate(sizes)
    assert content == window == width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 21, 23)"
    assert dark == (scheme == "dark")
    page.locator("#extremes .card").first.click()
    content, window = page.evaluate(sizes)
    assert content == window
    box = page.locator("#viewer .frame").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_print_shows_the_extremes_and_not_the_controls(page):
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#extremes").is_visible()
    assert page.locator("#extremes .frame svg").count() == 8
    assert not page.locator("#all").is_visible()
    assert not page.locator("nav").is_visible()


def test_a_report_of_few_images_prints_them(visit, tmp_path):
    path = tmp_path / "few.html"
    path.write_text(render(make_page(6, runs=("A",))), encoding="utf-8")
    page = visit(path)
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#cards .card:visible").count() == 6
    assert page.locator("#cards .frame svg").count() == 6
    assert not page.locator("#controls").is_visible()


def test_numbers_name_their_run_to_those_who_see_no_colours(page):
    values = page.locator(".tile .values span").all_text_contents()
    assert values == ["A: A", "B: B"]
    ends = page.locator(".ends > span").all_text_contents()
    assert ends == ["A: 1"]
    assert page.locator(".ends .line").count() == 1  # dashed as in the chart
