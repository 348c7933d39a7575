"""The demo: images, folders, videos, and what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semiconv_d2 import Predictor
from semiconv_d2.errors import ConfigError, DatasetError
from semiconv_d2.inference.demo import Demo, Drawing, check_shows, shared_axes
from semiconv_d2.inference.outputs.joined import Joined, find_known
from semiconv_d2.inference.sources import Source, VideoWriters, find_sources
from semiconv_d2.visualization.embedding import draw_embedding
from semiconv_d2.visualization.masks import instance_colours
from semiconv_d2.visualization.regions import draw_instance_views

cv2 = pytest.importorskip("cv2")

STOCK = "demo_mask_rcnn"
SHIPPED = "checkpoints/demo_mask_rcnn.pth"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """The shipped model with a kernel attached to it."""
    torch.manual_seed(0)
    return Predictor.load(
        "demo_semiconv", weights=SHIPPED, overrides=["INPUT.MIN_SIZE_TEST", "192"]
    )


@pytest.fixture(scope="module")
def trained(predictor, tmp_path_factory) -> Path:
    """Its checkpoint, with the embedding in it."""
    path = tmp_path_factory.mktemp("trained") / "model_final.pth"
    torch.save({"model": predictor.model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def worms(datasets_folder) -> list[Path]:
    return sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[:3]


def write_video(path: Path, frames: list[np.ndarray], rate: float = 10) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def read_video(path: Path) -> list[np.ndarray]:
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = video.read()
        if not more:
            return frames
        frames.append(frame[..., ::-1])


def results_of(demo: Demo, sources: list[Source]) -> list[dict]:
    """The COCO results of a demo with `Joined(coco=…)`, without the ids of images without one."""
    noted: list[dict] = []
    demo.run(sources, lambda outcome, parts: noted.extend(parts))
    return [r | {"image_id": part["id"]} for part in noted for r in part["coco"]]


COCO = Joined(coco=Path("results.json"))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_finds_files_folders_patterns_videos_and_cameras(tmp_path):
    for name in ("b.png", "a.JPG", "film.mp4", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found = find_sources([str(tmp_path), str(tmp_path / "*.png"), "0", "rtsp://camera/1"])
    # What is named twice is taken once, in its first place.
    assert [Path(s.name).name for s in found] == ["a.JPG", "b.png", "film.mp4", "0", "1"]
    assert [s.moving for s in found] == [False, False, True, True, True]
    assert find_sources([str(tmp_path / "notes.txt")]) == [
        Source(str(tmp_path / "notes.txt"), False)
    ]
    for missing, message in (
        ("empty", r"no image.*Subfolders are not searched.*empty/\*\*/\*\.png"),
        ("*.tif", "no file matches"),
        ("em*", "no file matches"),  # but a folder
    ):
        with pytest.raises(DatasetError, match=message):
            find_sources([str(tmp_path / missing)])


def test_the_tool_does_it_all(run_tool, worms, predictor, trained, tmp_path):
    images, output, results = tmp_path / "in", tmp_path / "out", tmp_path / "results.json"
    images.mkdir()
    for path in worms[:2]:
        shutil.copy(path, images)
    (images / "broken.png").write_text("no image")
    (images / "film.avi").write_text("no video")
    write_video(images / "worms.mp4", [pixels(worms[2])] * 3)
    status, out, err = run_tool(
        "tools/demo.py",
        *("--model", "demo_semiconv", "--weights", trained, "--input", images),
        *("--output", output, "--show", "all", "--json", results),
        *("--opts", "INPUT.MIN_SIZE_TEST", "192"),
    )
    assert status == 1
    assert "3 of 5 inputs" in out
    assert "could not be read" in err
    assert "broken.png: cannot identify image file" in err
    assert "film.avi: OpenCV" in err
    kinds = ("masks", "embedding", "seeds", "kernels")
    expected = {f"{p.stem}_{kind}.png" for p in worms[:2] for kind in kinds}
    expected |= {f"worms_{kind}.mp4" for kind in kinds[:-1]}
    assert {p.name for p in output.iterdir()} == expected
    assert len(read_video(output / "worms_masks.mp4")) == 3
    found = predictor(worms[0])
    written = [
        r for r in json.loads(results.read_text()) if Path(r["file_name"]).name == worms[0].name
    ]
    assert [r["score"] for r in written] == pytest.approx(found.scores.tolist(), abs=1e-5)
    assert {r["category_id"] for r in written} == {1}


def test_results_alone_need_no_windows(run_tool, worms, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("semiconv_d2.inference.demo.check_windows", lambda: 1 / 0)
    status, out, err = run_tool(
        *("tools/demo.py", "--model", "demo_semiconv", "--weights", trained, "--input", worms[0]),
        *("--json", tmp_path / "results.json", "--opts", "INPUT.MIN_SIZE_TEST", "192"),
    )
    assert status == 0, err
    assert (tmp_path / "results.json").is_file()
    assert "Pictures" not in out


def test_videos_have_the_colours_of_their_pictures(tmp_path):
    picture = np.zeros((65, 96, 3), dtype=np.uint8)  # of odd height
    picture[:, :48] = 230, 40, 10
    picture[:, 48:] = 10, 60, 220
    with VideoWriters(tmp_path, "film", 10) as writers:
        writers.write("masks", picture)
    [frame] = read_video(tmp_path / "film_masks.mp4")
    np.testing.assert_allclose(frame[32, [20, 80]], picture[32, [20, 80]], atol=12)


def test_pictures_have_the_colours_of_the_masks(predictor, worms, tmp_path):
    demo = Demo(predictor, Drawing(("masks",)), tmp_path)
    demo.run([Source(str(worms[0]), False)])
    picture, image = pixels(tmp_path / f"{worms[0].stem}_masks.png"), pixels(worms[0])
    zoom = picture.shape[0] / image.shape[0]
    masks = predictor(worms[0]).pred_masks.numpy()
    untouched = ~masks.any(axis=0)
    painted = picture[
        (np.arange(image.shape[0]) * zoom + zoom / 2).astype(int)[:, None],
        (np.arange(image.shape[1]) * zoom + zoom / 2).astype(int),
    ]
    same = np.abs(painted.astype(int) - image).max(axis=2) < 12
    assert same[untouched].mean() > 0.7  # labels and outlines cover the rest
    assert same[~untouched].mean() < 0.2


def test_ids_are_those_of_the_annotations(predictor, worms, tmp_path):
    content = {
        "images": [{"id": 70 + i, "file_name": f"sub/{p.name}"} for i, p in enumerate(worms)],
        "annotations": [],
        "categories": [{"id": 5, "name": "worm"}],
    }
    file = tmp_path / "own.json"
    file.write_text(json.dumps(content))
    demo = Demo(predictor, Drawing(()), tmp_path, file, joined=COCO)
    results = results_of(demo, [Source(str(worms[2]), False), Source(str(worms[0]), False)])
    assert list(dict.fromkeys(r["image_id"] for r in results)) == [72, 70]
    assert {r["category_id"] for r in results} == {5}
    content["categories"][0]["name"] = "nematode"
    file.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="no category 'worm'"):
        Demo(predictor, Drawing(()), tmp_path, file)


def test_images_that_the_annotations_lack_are_left_out(worms, tmp_path):
    content = {
        "images": [{"id": 7, "file_name": worms[1].name}],
        "annotations": [],
        "categories": [{"id": 5, "name": "worm"}],
    }
    (tmp_path / "own.json").write_text(json.dumps(content))
    sources = [Source(str(path), False) for path in worms[:2]]
    known = find_known(sources, tmp_path / "own.json")
    assert known == ([sources[1]], [sources[0].name], [])
    with pytest.raises(DatasetError, match=r"own\.json has no image with the name of an input"):
        find_known(sources[:1], tmp_path / "own.json")


def test_files_of_the_same_name_do_not_overwrite_each_other(predictor, worms, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(worms[0], tmp_path / folder / "same.png")
    shutil.copy(worms[0], tmp_path / "b" / "same_2.png")
    demo = Demo(predictor, Drawing(("masks",)), tmp_path / "out")
    demo.run(find_sources([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "same_masks.png",
        "same_2_masks.png",
        "same_2_2_masks.png",
    }


def test_an_id_of_the_annotations_is_for_one_input(run_tool, predictor, worms, tmp_path):
    content = {
        "images": [{"id": 7, "file_name": worms[0].name}],
        "annotations": [],
        "categories": [{"id": 1, "name": "worm"}],
    }
    (tmp_path / "own.json").write_text(json.dumps(content))
    other = tmp_path / "other" / worms[0].name
    other.parent.mkdir()
    shutil.copy(worms[1], other)
    status, _, err = run_tool(
        *("tools/demo.py", "--model", "demo_semiconv", "--weights", SHIPPED),
        *("--input", worms[0], other, "--coco", tmp_path / "results.json"),
        *("--annotations", tmp_path / "own.json", "--opts", "INPUT.MIN_SIZE_TEST", "192"),
    )
    assert status == 1
    assert f"{other}: an earlier input has the same name, and so the same id" in err
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results) == len(predictor(worms[0]))
    assert {r["image_id"] for r in results} == {7}


def test_without_results_instances_are_counted_alone(predictor, worms):
    demo, noted = Demo(predictor, Drawing(())), []
    demo.run([Source(str(worms[0]), False)], lambda *note: noted.append(note))
    [(outcome, parts)] = noted
    assert parts == []
    assert demo.found == outcome.instances == len(predictor(worms[0])) > 0


@pytest.mark.parametrize("camera", [True, False])
def test_what_a_camera_has_seen_is_kept_when_the_user_stops(
    predictor, worms, tmp_path, monkeypatch, camera
):
    def open_video(source):
        def frames():
            yield from [pixels(worms[0])] * 2
            raise KeyboardInterrupt

        return frames(), None if camera else 9, 10

    monkeypatch.setattr("semiconv_d2.inference.demo.open_video", open_video)
    film = tmp_path / "film.mp4"
    film.touch()
    demo, noted = Demo(predictor, Drawing(()), tmp_path, joined=COCO), []
    with pytest.raises(KeyboardInterrupt):
        demo.run([Source("0" if camera else str(film), True)], lambda _, parts: noted.append(parts))
    assert [len(parts) for parts in noted] == ([2] if camera else [])  # a film can be resumed


def test_a_video_that_breaks_off_is_named_and_what_was_read_is_kept(predictor, worms, tmp_path):
    film = tmp_path / "film.avi"
    frame = pixels(worms[0])
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 10, frame.shape[1::-1])
    for _ in range(8):
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    demo = Demo(predictor, Drawing(("masks",)), tmp_path / "out")
    demo.run([Source(str(film), True)])
    count = len(read_video(tmp_path / "out" / "film_masks.mp4"))
    assert 2 <= count <= 5
    assert demo.failed == [(str(film), f"it ends early, after {count} of 8 frames")]


def test_an_image_that_the_model_cannot_take_is_named_and_the_others_go_on(
    predictor, worms, tmp_path
):
    strip = tmp_path / "strip.png"
    Image.fromarray(np.zeros((1, 9000), dtype=np.uint8)).save(strip)
    demo = Demo(predictor, Drawing(("masks",)), tmp_path / "out")
    sources = [Source(str(strip), False), Source(str(worms[0]), False)]
    assert shared_axes(predictor, sources) is not None
    demo.run(sources)
    [(name, reason)] = demo.failed
    assert name == str(strip)
    assert "9000 × 1 pixels" in reason
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"{worms[0].stem}_masks.png"]


def test_many_rows_of_kernels_take_several_pictures(predictor, worms, tmp_path, monkeypatch):
    found = len(predictor(worms[0]))
    assert found > 4
    monkeypatch.setattr("semiconv_d2.inference.demo._MOST_ROWS", found // 2)
    scales = []

    def draw(image, views, colours, scale):
        scales.append(scale)
        return draw_instance_views(image, views, colours, scale)

    monkeypatch.setattr("semiconv_d2.inference.demo.draw_instance_views", draw)
    demo = Demo(predictor, Drawing(("kernels",)), tmp_path)
    demo.run([Source(str(worms[0]), False)])
    count = 2 + found % 2
    names = [f"{worms[0].stem}_kernels{page}.png" for page in ("", "_2", "_3")[:count]]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert all(s is scales[0] for s in scales)  # so that colours mean the same in all of them
    heights = [len(pixels(tmp_path / name)) for name in names]
    assert heights[0] == heights[1]


@pytest.mark.parametrize("ending", [".svg", ".pdf", ".jpg"])
def test_formats(predictor, worms, tmp_path, ending):
    demo = Demo(predictor, Drawing(("masks",), ending), tmp_path)
    demo.run([Source(str(worms[0]), False)])
    [path] = tmp_path.iterdir()
    start = {".svg": b"<?xml", ".pdf": b"%PDF", ".jpg": b"\xff\xd8"}[ending]
    assert path.read_bytes().startswith(start)
    if ending == ".svg":
        assert path.read_text().count("worm") >= len(predictor(worms[0]))


def test_scale_makes_pictures_larger(predictor, worms, tmp_path):
    sizes = []
    for scale in (1, 2):
        folder = tmp_path / str(scale)
        Demo(predictor, Drawing(("masks",), scale=scale), folder).run(
            [Source(str(worms[0]), False)]
        )
        sizes.append(np.array(pixels(next(folder.iterdir())).shape[:2]))
    np.testing.assert_array_equal(2 * sizes[0], sizes[1])


def test_shared_colours_are_those_of_all_images_together(predictor, worms, monkeypatch, tmp_path):
    sources = [Source(str(p), False) for p in worms]
    axes = shared_axes(predictor, sources)
    inside = []
    for path in worms:
        found = predictor.explain(path)
        inside.append(found.embedding[:, found.instances.pred_masks.any(dim=0)])
    torch.testing.assert_close(axes.mean, torch.cat(inside, dim=1).double().mean(dim=1))
    drawn = []

    def draw(image, colours, starts, ends, arrow_colours):
        drawn.append((colours, starts, arrow_colours))
        return draw_embedding(image, colours, starts, ends, arrow_colours)

    monkeypatch.setattr("semiconv_d2.inference.demo.draw_embedding", draw)
    Demo(predictor, Drawing(("embedding",), axes=axes), tmp_path).run(sources[:2])
    for path, (colours, starts, arrow_colours) in zip(worms, drawn, strict=False):
        found = predictor.explain(path)
        masks = found.instances.pred_masks.numpy()
        covered = masks.any(axis=0)
        expected = axes.colours(found.embedding).numpy()
        np.testing.assert_allclose(colours[covered], expected[covered])
        assert (colours[~covered] >= 0.7 - 1e-6).all()  # faded
        palette = instance_colours(len(masks))
        columns, rows = np.floor(starts).astype(int).T
        for row, column, colour in zip(rows, columns, arrow_colours, strict=True):
            owner = masks[:, row, column].argmax()  # an arrow has the colour of its instance
            np.testing.assert_allclose(colour, palette[owner])


def test_images_that_are_too_large_are_skipped(predictor, worms, tmp_path):
    large = tmp_path / "large.png"
    Image.new("1", (20_000, 20_000)).save(large)
    sources = [Source(str(large), False), Source(str(worms[0]), False)]
    demo = Demo(predictor, Drawing(()), tmp_path, joined=COCO)
    assert results_of(demo, sources)
    [(name, reason)] = demo.failed
    assert name == str(large)
    assert "has 20000 × 20000 pixels" in reason
    assert shared_axes(predictor, sources) is not None


def test_places_that_cannot_be_written_are_found_before_the_work(run_tool, worms, tmp_path):
    (tmp_path / "file").touch()
    for option, place in (
        ("--output", tmp_path / "file"),
        ("--labels", tmp_path / "file"),
        ("--coco", tmp_path),
        ("--rois", tmp_path / "file"),
        ("--geojson", tmp_path / "file"),
        ("--table", tmp_path),
    ):
        # The model is not looked for: it is not there.
        status, _, err = run_tool(
            "tools/demo.py", "--model", "nowhere", "--input", worms[0], option, place
        )
        assert status == 1
        assert f"error: {option} {place}: " in err


def test_refuses_what_cannot_be_shown(predictor, trained):
    stock = Predictor.load(STOCK, weights=SHIPPED)
    with pytest.raises(ConfigError, match="no embedding"):
        check_shows(stock, [], ["masks", "embedding"])
    check_shows(stock, [], ["masks"])
    with pytest.raises(ConfigError, match="the weights have no embedding"):
        check_shows(predictor, [], ["masks", "seeds"])
    predictor = Predictor.load("demo_semiconv", weights=trained)
    with pytest.raises(ConfigError, match="does not fit into a video"):
        check_shows(predictor, [Source("film.mp4", True)], ["kernels"])
    check_shows(predictor, [Source("film.mp4", True)], ["masks", "kernels"])


def test_all_of_a_stock_model_are_its_masks(run_tool, worms, tmp_path):
    status, out, err = run_tool(
        *("tools/demo.py", "--model", STOCK, "--weights", SHIPPED, "--input", worms[0]),
        *("--output", tmp_path, "--show", "all", "--opts", "INPUT.MIN_SIZE_TEST", "192"),
    )
    assert status == 0, err
    assert "1 of 1 inputs" in out
    assert [p.name for p in tmp_path.iterdir()] == [f"{worms[0].stem}_masks.png"]


@pytest.mark.parametrize("scale", ["nan", "20"])
def test_scales_are_checked_before_the_work(run_tool, worms, scale):
    status, _, err = run_tool(
        "tools/demo.py", "--model", "nowhere", "--input", worms[0], "--scale", scale
    )
    assert status == 2
    assert "--scale must be above 0 and at most 10" in err


def test_bad_arguments_get_one_line(run_tool, tmp_path):
    for arguments, message in (
        (("--model", "demo_semiconv", "--input", tmp_path / "none.png"), "There is no"),
        (("--model", tmp_path, "--input", "0", "--output", tmp_path), "no config.yaml"),
    ):
        status, _, err = run_tool("tools/demo.py", *arguments)
        assert status == 1
        [line] = [x for x in err.splitlines() if x.startswith("error: ")]
        assert message in line


def test_stops_where_there_are_no_windows(run_tool, worms):
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    status, _, err = run_tool(
        "tools/demo.py", "--model", "demo_semiconv", "--weights", SHIPPED, "--input", worms[0]
    )
    assert status == 1
    assert "--output" in err


def test_a_video_takes_its_name_when_it_can_be_played(tmp_path):
    frame = np.full((16, 16, 3), 200, np.uint8)
    with VideoWriters(tmp_path, "worms", 10) as writers:
        for _ in range(3):
            writers.write("masks", frame)
        assert not (tmp_path / "worms_masks.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["worms_masks.mp4"]
    assert len(read_video(tmp_path / "worms_masks.mp4")) == 3
