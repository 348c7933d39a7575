"""From folders of runs to the content of their report, on a few drawn images."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.config import get_cfg
from PIL import Image
from pycocotools import mask as mask_util

from semiconv_d2.config import add_semiconv_config
from semiconv_d2.data.coco.coco_json import CocoImage, build_coco
from semiconv_d2.errors import DatasetError, ReportError
from semiconv_d2.evaluation import Detections, Threshold, evaluate, load_truth, read_results
from semiconv_d2.evaluation.evaluation import Evaluation
from semiconv_d2.evaluation.measures import Row
from semiconv_d2.report.content import build_page
from semiconv_d2.report.finished_runs import Run, read_run, read_runs, short_names
from semiconv_d2.report.gallery import build_gallery, choose_pictures, show_detections
from semiconv_d2.report.measure_sections import class_tables
from semiconv_d2.report.measured import Comparison, Measured, recorded_threshold
from semiconv_d2.report.run_sections import thin_out

IMAGES, SIZE = 5, (60, 80)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def result(image_id: int, mask: np.ndarray, score: float) -> dict:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    rle["counts"] = rle["counts"].decode()
    box = mask_util.toBbox(rle).tolist()
    return {
        "image_id": image_id, "category_id": 1, "score": score, "segmentation": rle, "bbox": box
    }  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Two runs on five images with three discs each. `poor` draws the discs of image k too small by
    k pixels, misses the third one and sees one that is not there; `good` finds all but in the first
    image, where it finds none."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, poor, good = [], [], []
    for number in range(1, IMAGES + 1):
        discs = [(20, 20, 12), (45, 24, 12), (60, 48, 9)]
        pixels = rng.integers(60, 90, (*SIZE, 3), dtype=np.uint8)
        for x, y, radius in discs:
            pixels[disc(x, y, radius)] += 90
            if number > 1:
                good.append(result(number, disc(x, y, radius), 0.9))
        poor += [result(number, disc(x, y, r - number), 0.8) for x, y, r in discs[:2]]
        poor += [result(number, disc(10, 50, 5), 0.7), result(number, disc(70, 10, 5), 0.2)]
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        masks = [(disc(*d), 1) for d in discs]
        images.append(CocoImage(f"{number}.png", *SIZE, masks))
    (folder / "test.json").write_text(json.dumps(build_coco(images, ["disc"])))
    for name, results in (("poor", poor), ("good", good)):
        write_run(folder, name, results)
    return folder


def write_run(folder: Path, name: str, results: list[dict]) -> None:
    run = folder / name
    inference = run / "inference"
    inference.mkdir(parents=True)
    cfg = get_cfg()
    add_semiconv_config(cfg)
    json_file, images = str(folder / "test.json"), str(folder / "images")
    cfg.merge_from_list(
        ["OWN_DATA.TEST_JSON", json_file, "OWN_DATA.TEST_IMAGES", images, "OUTPUT_DIR", str(run),
         "SOLVER.BASE_LR", 0.01 if name == "good" else 0.02]
    )  # fmt: skip
    (run / "config.yaml").write_text(cfg.dump())
    lines = [
        {"iteration": 20 * i, "total_loss": 1 / i, "loss_mask": 0.5 / i, "time": 0.25}
        for i in range(1, 6)
    ]
    lines[2] |= {"segm/AP": 30.0, "bbox/AP": 30.0} if name == "good" else {}
    lines.append({"iteration": 100, "segm/AP": 40.0, "segm/APl": float("nan")})
    (run / "metrics.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (inference / "coco_instances_results.json").write_text(json.dumps(results))
    truth = load_truth(folder / "test.json")
    read = read_results(inference / "coco_instances_results.json", truth)
    detections = Detections(truth, read, Threshold(0.5, "given"))
    evaluation = evaluate(detections, ["coco", "s"], json_file)
    (inference / "evaluation.json").write_text(json.dumps(evaluation.to_json()))


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy that may be broken; the runs' configs still name the original images."""
    for name in ("poor", "good"):
        shutil.copytree(original / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def page(original):
    runs = read_runs([original / "poor", original / "good"])
    return build_page(runs, resamples=20)


def section(page, key):
    return next(s for s in (*page.sections, *page.after) if s.key == key)


def test_sections_are_there(page):
    assert page.title == "poor and good"
    assert [s.key for s in page.sections] == [
        "results", "training", "difficulty", "errors", "curves"
    ]  # fmt: skip
    assert [s.key for s in page.after] == ["speed", "config", "origin"]
    assert page.notes == []


def test_tables_hold_what_was_measured_and_the_difference(page, original):
    recorded = json.loads((original / "good" / "inference" / "evaluation.json").read_text())
    [ap] = [row["values"]["AP"] for row in recorded["rows"] if row["key"] == "segm"]
    [table] = [t for t in section(page, "results").tables if t.title == "mask AP"]
    assert table.columns == ["mask AP", "poor", "good", "difference", "95 % interval"]
    name, a, b, difference, interval = table.rows[0]
    assert (name, b) == ("AP", f"{ap:.1f}")
    assert float(difference.removesuffix(" *")) == pytest.approx(float(b) - float(a), abs=0.11)
    low, high = map(float, interval.replace("−", "-").split(" to "))
    assert low <= float(b) - float(a) <= high
    assert page.tiles[0].values == [a, b]


def test_errors_are_counted(page):
    [table] = [t for t in section(page, "errors").tables if t.title == "number of errors"]
    numbers = {row[0]: row[1:3] for row in table.rows}
    assert numbers["Bkg"] == ["10", "0"]  # two in each image, of all scores
    assert numbers["Cls"] == ["0", "0"]


def test_curves_of_all_runs_lie_over_each_other(page):
    charts = {chart.title: chart for chart in section(page, "training").charts}
    assert {"total_loss", "loss_mask", "segm/AP"} == set(charts)  # a single box AP is no curve
    assert [s.name for s in charts["total_loss"].series] == ["poor", "good"]
    assert [s.x for s in charts["segm/AP"].series] == [[100], [60, 100]]
    curves = section(page, "curves").charts
    assert [c.title for c in curves] == ["IoU 0.5", "IoU 0.75", "IoU 0.9"]


def test_iterations_do_not_count_the_evaluation_behind_the_last(original, folder):
    def iterations(run):
        [table] = section(build_page([run], pictures=0, resamples=0), "speed").tables
        return dict(table.rows)["iterations"]

    assert iterations(read_run(original / "good", "good")) == "101"
    config = folder / "good" / "config.yaml"
    config.write_text(config.read_text().replace("MAX_ITER: 40000", "MAX_ITER: 100"))
    assert iterations(read_run(folder / "good", "good")) == "100"


def test_only_settings_that_differ_are_listed(page):
    [table] = section(page, "config").tables
    assert table.rows == [["SOLVER.BASE_LR", "0.02", "0.01"]]


def test_the_gallery_pairs_and_counts(page):
    gallery = page.gallery
    assert gallery.classes == ["disc"]
    assert len(gallery.pictures) == IMAGES
    first, second = gallery.pictures[:2]
    assert first.uri.startswith("data:image/webp;base64,")
    assert (first.height, first.width) == SIZE
    assert [d.owner for d in first.found[0]] == [0, 1, -1]  # the one below the score is not shown
    assert first.found[1] == []
    assert [i.iou[1] for i in first.instances] == [0, 0, 0]
    assert [i.iou[1] for i in second.instances] == [1, 1, 1]
    assert second.instances[2].iou[0] == 0
    assert second.instances[0].iou[0] == pytest.approx(100 / 144, abs=0.05)
    assert [i.contact for i in first.instances] == [1, 1, 0]  # a pixel lies between two
    assert all(path.startswith("M") for path in first.paths)
    assert "4 are better in good than in poor, 1 are worse, and 0 are the same" in gallery.text[1]


def test_of_many_images_those_that_change_most_are_shown(original):
    runs = read_runs([original / "poor", original / "good"])
    gallery = build_page(runs, pictures=2, resamples=0).gallery
    assert [p.name for p in gallery.pictures] == ["1.png", "5.png"]  # the loss, the largest gain
    assert "shows 2 of 5 images" in gallery.text[-1]


def test_one_run_is_compared_with_the_defaults(original):
    page = build_page(read_runs([original / "poor"]), resamples=0)
    [table] = section(page, "config").tables
    assert table.columns == ["", "default", "poor"]
    assert ["SOLVER.BASE_LR", "0.001", "0.02"] in table.rows
    assert section(page, "results").tables[0].columns == ["mask AP", "poor"]
    assert page.gallery.runs == ["poor"]


def test_training_without_evaluation_shows_training_and_says_so(folder):
    for name in ("poor", "good"):
        shutil.rmtree(folder / name / "inference")
    page = build_page(read_runs([folder / "poor", folder / "good"]))
    assert [s.key for s in page.sections] == ["training"]
    assert page.gallery is None
    assert "No run has been evaluated" in page.notes[0]


def test_a_run_without_evaluation_is_in_the_curves_alone(folder):
    shutil.rmtree(folder / "poor" / "inference")
    page = build_page(read_runs([folder / "poor", folder / "good"]))
    assert page.notes == ["poor has not been evaluated: only the training curves show it."]
    assert page.gallery.runs == ["good"]
    [chart] = [c for c in section(page, "curves").charts if c.title == "IoU 0.5"]
    assert [s.run for s in chart.series] == [1]  # with the colour that it has in the training


def test_a_run_without_metrics_is_said(folder):
    (folder / "poor" / "metrics.json").unlink()
    page = build_page(read_runs([folder / "poor", folder / "good"]), pictures=0, resamples=0)
    assert page.notes == ["poor has no metrics.json: the training curves do not show it."]
    assert [s.run for s in section(page, "training").charts[0].series] == [1]


def take_masks_away(run: Path) -> None:
    path = run / "inference" / "coco_instances_results.json"
    boxes = [
        {k: v for k, v in r.items() if k != "segmentation"} for r in json.loads(path.read_text())
    ]
    path.write_text(json.dumps(boxes))


def test_what_the_first_run_lacks_is_shown_of_the_others(folder):
    take_masks_away(folder / "poor")
    runs = read_runs([folder / "poor", folder / "good"])
    page = build_page(runs, pictures=0, resamples=10)
    tables = {t.title: t for t in section(page, "results").tables}
    assert list(tables) == ["mask AP", "box AP", "S at IoU"]
    assert tables["mask AP"].columns == ["mask AP", "poor", "good"]
    name, *values = tables["mask AP"].rows[0]
    assert name == "AP"
    assert values == page.tiles[0].values
    assert values[0] == "–"
    assert values[1] != "–"
    assert tables["box AP"].columns[3:] == ["difference", "95 % interval"]
    for key in ("difficulty", "errors"):
        bars = {name: values for _, name, values in section(page, key).charts[0].bars}
        assert np.isnan(bars["poor"]).all()
        assert not np.isnan(bars["good"]).all()
        assert all(row[1] == "–" for t in section(page, key).tables for row in t.rows if row[1:])
    titles = [t.title for t in section(build_page(runs[::-1], pictures=0), "results").tables]
    assert titles == list(tables)


def test_classes_of_what_the_first_run_lacks_are_shown():
    by_class = {"disc": {"AP": 50.0}, "ring": {"AP": 30.0}}
    row = Row("AP", "segm", "mask AP", {"AP": 40.0}, by_class=by_class)
    measured = [
        Measured(Run(name, Path(), {}, [], {}, ""), 0, None, Evaluation("", name, 1, 1, 1, rows))
        for name, rows in (("boxes", []), ("masks", [row]))
    ]
    [table] = class_tables(Comparison(measured, {}))
    assert table.columns == ["mask AP by class", "boxes", "masks"]
    assert table.rows == [["disc", "–", "50.0"], ["ring", "–", "30.0"]]


def test_boxes_are_compared_where_a_run_has_no_masks(page, folder):
    assert not any("boxes" in text for text in page.gallery.text)
    take_masks_away(folder / "good")
    gallery = build_page(read_runs([folder / "good", folder / "poor"]), resamples=0).gallery
    assert gallery.pictures[4].instances[0].iou == pytest.approx([1, 15**2 / 25**2])
    assert any("the IoU of all runs is that of boxes" in text for text in gallery.text)


def test_images_that_are_missing_are_said_and_left_out(original, folder):
    page = build_page(read_runs([original / "good"]), image_root=folder / "nowhere", resamples=0)
    assert "5 of 5 images of the gallery are missing" in page.notes[0]
    assert "--image-root" in page.notes[0]
    assert page.gallery.pictures[1].uri == ""
    assert page.gallery.pictures[1].found[0][0].path


def test_images_that_are_broken_are_said_and_left_out(original, folder):
    images = folder / "images"
    shutil.copytree(original / "images", images)
    content = bytearray((images / "1.png").read_bytes())
    content[33:37] = (10).to_bytes(4, "big")  # length of the first chunk of pixels
    (images / "1.png").write_bytes(content)
    runs = read_runs([original / "good"])
    page = build_page(runs, image_root=images, resamples=0)
    assert "1 of 5 images of the gallery are missing" in page.notes[0]
    assert "1.png: broken PNG file" in page.notes[0]


def test_an_evaluation_of_other_predictions_is_said(folder):
    path = folder / "good" / "inference" / "evaluation.json"
    content = json.loads(path.read_text())
    content["rows"][0]["values"]["AP"] = 12.3
    path.write_text(json.dumps(content))
    page = build_page(read_runs([folder / "good"]), resamples=0)
    assert "evaluation.json has 12.3 for mask AP (AP)" in page.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "good"), "there is no folder"),
        (lambda f: (f / "good" / "config.yaml").unlink(), "has no config.yaml"),
        (lambda f: (f / "good" / "config.yaml").write_text("A: [1"), "cannot read"),
        (lambda f: (f / "good" / "run.json").write_text("{"), "cannot read .*run.json"),
        (lambda f: (f / "good" / "metrics.json").write_text("{\n{}\n"), "line 1 has no metrics"),
        (
            lambda f: (f / "good" / "inference" / "evaluation.json").write_text("[]"),
            "is not a JSON dict",
        ),
        (
            lambda f: (f / "good" / "inference" / "evaluation.json").write_text("{}"),
            "names no dataset",
        ),
        (
            lambda f: (f / "good" / "inference" / "coco_instances_results.json").unlink(),
            "has evaluation.json but no coco_instances_results.json",
        ),
        (
            lambda f: (f / "good" / "inference" / "coco_instances_results.json").write_text("["),
            "coco_instances_results.json is not JSON",
        ),
        (
            lambda f: (f / "good" / "run.json").write_text("[" * 100_000),
            "cannot read .*run.json",
        ),
        (
            lambda f: (f / "good" / "metrics.json").write_text('{"iteration": Infinity}\n{}\n'),
            "line 1 has no metrics",
        ),
        (lambda f: rename_dataset(f / "good"), "different datasets: poor on .*; good on other"),
    ],
)
def test_what_is_broken_is_said_in_one_line(folder, change, message):
    change(folder)
    with pytest.raises((ReportError, DatasetError), match=message) as caught:
        build_page(read_runs([folder / "poor", folder / "good"]), resamples=0)
    assert "\n" not in str(caught.value)


_ROW = {"key": "segm", "title": "mask AP", "values": {"AP": 1.0}}


@pytest.mark.parametrize(
    "rows",
    [None, {"a": 1}, [1, 2], [_ROW | {"key": ["segm"]}, _ROW], [_ROW, _ROW | {"values": [1]}],
     [_ROW | {"values": {"AP": "high"}}], [_ROW | {"threshold": 0.5}],
     [_ROW | {"threshold": {"score": "0.5", "origin": "given"}}]],
)  # fmt: skip
def test_rows_of_another_shape_are_found_on_reading(folder, rows):
    path = folder / "good" / "inference" / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": rows}))
    with pytest.raises(ReportError, match=r'"rows" is not a list .*: evaluate again') as caught:
        read_runs([folder / "good"])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("record", "where"),
    [
        ({"inference": [1]}, "inference"),
        ({"inference": {"a": 1}}, r"inference\['a'\]"),
        ({"inference": {"a": {"seconds_per_image": "1 s"}}}, r"inference\['a'\]"),
        ({"machine": "GPU"}, "machine"),
        ({"versions": None}, "versions"),
        ({"later": {"command": []}}, "later"),
        ({"later": [{"command": ["a"]}, 1]}, r"later\[1\]"),
        ({"later": [{"command": 1}]}, r"later\[0\]"),
        ({"command": 1}, "command"),
        ({"classes": 2}, "classes"),
        ({"parameters": "many"}, "parameters"),
        ({"peak_memory_mb": "1 GiB"}, "peak_memory_mb"),
    ],
)
def test_a_record_of_another_shape_is_found_on_reading(folder, record, where):
    path = folder / "good" / "run.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ReportError, match=f"{path}: the value of {where} is not"):
        read_runs([folder / "good"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("MAX_ITER", "[1]"), ("TEST_JSON", "3")],
)
def test_settings_of_another_type_are_found_on_reading(folder, key, value):
    path = folder / "good" / "config.yaml"
    path.write_text(re.sub(f"{key}: .*", f"{key}: {value}", path.read_text()))
    with pytest.raises(ReportError, match=f"{path}: .*{key} is .*{value}.*: write the value"):
        read_runs([folder / "good"])


def test_settings_that_json_has_not_are_shown(folder):
    with (folder / "good" / "config.yaml").open("a") as file:
        file.write("DAY: 2026-01-31\n")
    page = build_page(read_runs([folder / "good"]), pictures=0, resamples=0)
    assert ["DAY", "–", '"2026-01-31"'] in section(page, "config").tables[0].rows


def test_the_device_of_inference_is_told_where_it_is_another(folder):
    for name, device in (("poor", "GPU"), ("good", "CPU")):
        timing = {"seconds_per_image": 0.5, "images": 5, "device": device}
        record = {"machine": {"device": "GPU"}, "inference": {dataset_of(folder): timing}}
        (folder / name / "run.json").write_text(json.dumps(record))

    def speed(*names):
        runs = read_runs([folder / name for name in names])
        [table] = section(build_page(runs, pictures=0, resamples=0), "speed").tables
        return {row[0]: row[1:] for row in table.rows}

    both = speed("poor", "good")
    assert both["device"] == ["GPU", "GPU"]
    assert both["device of inference"] == ["GPU", "CPU"]
    assert "device of inference" not in speed("poor")


def dataset_of(folder: Path) -> str:
    return json.loads((folder / "good" / "inference" / "evaluation.json").read_text())["dataset"]


def rename_dataset(run: Path) -> None:
    path = run / "inference" / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "other"}))


def test_a_run_with_neither_curves_nor_results_is_refused(folder):
    (folder / "good" / "metrics.json").unlink()
    shutil.rmtree(folder / "good" / "inference")
    with pytest.raises(ReportError, match="has neither metrics"):
        read_runs([folder / "good"])


def test_names_and_folders_are_checked(folder):
    good = folder / "good"
    with pytest.raises(ReportError, match="the same folder is given twice"):
        read_runs([good, folder / "poor" / ".." / "good"])
    with pytest.raises(ReportError, match="1 runs but 2 names"):
        read_runs([good], ["a", "b"])
    with pytest.raises(ReportError, match="7 runs are too many"):
        read_runs([good] * 7)
    assert [r.name for r in read_runs([good, folder / "poor"], ["A", "B"])] == ["A", "B"]


def test_short_names(tmp_path):
    assert short_names([tmp_path / "a" / "x", tmp_path / "b" / "y"]) == ["x", "y"]
    assert short_names([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]


def test_a_line_that_is_being_written_is_passed_over(folder):
    with (folder / "good" / "metrics.json").open("a") as file:
        file.write('{"iteration": 120, "total_')
    assert read_run(folder / "good", "good").metrics[-1]["iteration"] == 100


def test_resuming_replaces_lines_of_the_same_iteration(folder):
    with (folder / "good" / "metrics.json").open("a") as file:
        file.write('{"iteration": 40, "total_loss": 7.0}\n')
    x, y = read_run(folder / "good", "good").curve("total_loss")
    assert x == [20, 40, 60, 80, 100]
    assert y[1] == 7


def test_the_score_of_s_is_read_as_it_was_written():
    row = {"key": "S", "note": "score ≥ 0.746, chosen on a", "values": {}}
    threshold = {"score": 0.7456, "origin": "chosen on a"}
    assert recorded_threshold({"rows": [row | {"threshold": threshold}]}) == (0.7456, "chosen on a")


def test_the_score_of_s_in_earlier_files_is_read_from_its_note():
    rows = [{"key": "S", "note": "score ≥ 0.746, chosen on bbbc010_train", "values": {}}]
    assert recorded_threshold({"rows": rows}) == (0.746, "chosen on bbbc010_train")
    assert recorded_threshold({"rows": []}) == (0.5, "given")
    by_size = "ranked by size, of scores from 0.617 on"
    rows[0]["note"] = f"score ≥ 0.000, {by_size}"
    assert recorded_threshold({"rows": rows}) == (0, by_size)
    for other in ("score ≥ 0.7.4, x", "score ≥ ., x", "from 0.3 on", "", None, 3):
        rows[0]["note"] = other
        assert recorded_threshold({"rows": rows}) == (0.5, "given")


def test_detections_are_paired_one_to_one_for_the_largest_sum(original):
    """The better detection could take either disc; crowds excuse what lies in them."""
    truth = load_truth(original / "test.json")
    crowd = dict(truth.imgToAnns[2][2], iscrowd=1)
    truth.imgToAnns[2][2] = crowd
    both = disc(20, 20, 12) | disc(45, 24, 12)
    results = [
        result(2, both, 0.95),
        result(2, disc(45, 24, 12), 0.9),
        result(2, disc(60, 48, 5), 0.8),  # in the crowd
        result(2, disc(10, 50, 5), 0.7),
    ]
    shown = show_detections(Detections(truth, results, Threshold(0.5, "given")))[1]
    assert shown.owner.tolist() == [0, 1, -1]
    assert shown.iou == pytest.approx([0.5, 1], abs=0.02)
    assert [r["score"] for r in shown.results] == [0.95, 0.9, 0.7]


def test_pictures_are_the_two_ends():
    changes = np.array([0.1, -0.3, 0.5, 0.0, -0.1, 0.2])
    assert choose_pictures(changes, 6) == [0, 1, 2, 3, 4, 5]
    assert choose_pictures(changes, 3) == [1, 2, 4]
    assert choose_pictures(changes, 1) == [1]


def test_images_without_instances_come_last(original):
    empty = np.array([False, False, False, True, True])
    assert choose_pictures(np.array([0.1, 0.2, 0.3, 0, 0]), 2, empty) == [0, 2]
    assert choose_pictures(np.array([-0.3, -0.2, -0.1, 0, 0]), 2, empty) == [0, 2]
    assert choose_pictures(np.array([-0.3, -0.2, -0.1, 0, 0]), 4, empty)[:3] == [0, 1, 2]
    assert len(choose_pictures(np.array([-0.3, -0.2, -0.1, 0, 0]), 4, empty)) == 4
    truth = load_truth(original / "test.json")
    truth.imgToAnns[1] = []
    path = original / "poor" / "inference" / "coco_instances_results.json"
    poor = Detections(truth, json.loads(path.read_text()), Threshold(0.5, "given"))
    gallery, _ = build_gallery({"poor": poor}, original / "images", 2)
    assert [p.name for p in gallery.pictures] == ["2.png", "5.png"]  # the best and the worst


def test_long_curves_are_thinned_out():
    x = [float(i) for i in range(1001)]
    thin_x, thin_y = thin_out(x, [2 * v for v in x], most=11)
    assert len(thin_x) == 11
    assert thin_x[-1] == 1000
    assert thin_y == [2 * v for v in thin_x]
    assert thin_out(x[:5], x[:5]) == (x[:5], x[:5])


def test_the_tool_writes_one_file(run_tool, original, tmp_path):
    output = tmp_path / "new" / "report.html"
    status, out, err = run_tool(
        "tools/report.py", original / "poor", original / "good", "--output", output,
        "--resamples", 10, "--names", "A & <b>", "B",
    )  # fmt: skip
    assert status == 0, err
    assert f"wrote {output}" in out
    html = output.read_text()
    assert "A &amp; &lt;b&gt;" in html
    assert "<b>" not in html
    assert str(original) not in html.partition('id="origin"')[0].partition('id="config"')[0]


def test_the_tool_says_what_is_wrong_in_one_line(run_tool, tmp_path):
    status, _, err = run_tool("tools/report.py", tmp_path, "--output", tmp_path / "report.html")
    assert status == 1
    assert err.strip().splitlines()[-1].startswith(f"error: {tmp_path} has no config.yaml")
    assert "Traceback" not in err
    assert not (tmp_path / "report.html").exists()
    status, _, err = run_tool("tools/report.py", tmp_path, "--output", tmp_path)
    assert status == 1
    assert f"error: --output {tmp_path}: that is a folder" in err
