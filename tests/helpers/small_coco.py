"""A small dataset in COCO's format that is fine, and changes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from semiconv_d2.data.coco.coco_json import CocoImage, build_coco
from semiconv_d2.data.coco.segmentations import polygon_area

HEIGHT, WIDTH = 40, 60
GREY = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def instance(number: int, image: int, category: int, *box: float, **other) -> dict:
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": [rectangle(*box)],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        **other,
    }


def encoded(*, compressed: bool) -> dict:
    """Rows 10 to 19 of the columns 5 to 24."""
    runs = [5 * HEIGHT + 10, *[10, 30] * 19, 10, HEIGHT * WIDTH - 24 * HEIGHT - 20]
    if not compressed:
        return {"size": [HEIGHT, WIDTH], "counts": runs}
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10:20, 5:25] = True
    content = build_coco([CocoImage("", HEIGHT, WIDTH, [(mask, 1)])], ["a"])
    return content["annotations"][0]["segmentation"]


def make_dataset(folder: Path) -> tuple[dict, Path]:
    """Three images, the last one without instances, two categories, polygons and both forms of
    run-length encodings, and a crowd region."""
    root = folder / "images"
    root.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one.png", "two.jpg", "empty.png"):
        pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    content = {
        "info": {},
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "images": [
            {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for i, name in ((4, "one.png"), (5, "two.jpg"), (6, "empty.png"))
        ],
        "annotations": [
            instance(10, 4, 1, 5, 5, 20, 15),
            instance(11, 4, 7, 20, 10, 50, 30),
            instance(12, 5, 7, 5, 10, 25, 20, segmentation=encoded(compressed=True)),
            instance(13, 5, 1, 5, 10, 25, 20, segmentation=encoded(compressed=False)),
            instance(14, 5, 1, 0, 0, 60, 40, iscrowd=1),
            instance(
                15,
                4,
                1,
                5,
                20,
                30,
                39,
                segmentation=[rectangle(5, 20, 15, 30), rectangle(20, 30, 30, 39)],
                area=190,
            ),
        ],
    }
    return content, root


Change = Callable[[dict, Path], object]


def put(part: str, index: int, **values) -> Change:
    return lambda content, root: content[part][index].update(values)


def remove(part: str, index: int, key: str) -> Change:
    return lambda content, root: content[part][index].pop(key)


def shape(*polygons) -> Change:
    """Other polygons for the first annotation, with the box around them and their area."""

    def change(content: dict, root: Path) -> None:
        corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
        low, high = corners.min(axis=0), corners.max(axis=0)
        content["annotations"][0].update(
            segmentation=list(polygons),
            bbox=[*low.tolist(), *(high - low).tolist()],
            area=sum(polygon_area(np.reshape(polygon, (-1, 2))) for polygon in polygons),
        )

    return change


def mask(value) -> Change:
    return put("annotations", 0, segmentation=value)


def counts(value) -> Change:
    return put("annotations", 2, segmentation={"size": [HEIGHT, WIDTH], "counts": value})


def box(*value) -> Change:
    return put("annotations", 0, bbox=list(value))


def each(numbers: Sequence[int], make: Callable[[dict], dict]) -> Change:
    """Other values for some annotations, made of each."""

    def change(content: dict, root: Path) -> None:
        for number in numbers:
            content["annotations"][number].update(make(content["annotations"][number]))

    return change


def both(*changes: Change) -> Change:
    return lambda content, root: [change(content, root) for change in changes]


def exchanged(annotation: dict) -> dict:
    """Its polygons as y, x, …; its box stays."""
    polygons = [np.reshape(p, (-1, 2))[:, ::-1] for p in annotation["segmentation"]]
    return {"segmentation": [points.ravel().tolist() for points in polygons]}


def relative(annotation: dict) -> dict:
    """Its coordinates as parts of the width and height of the image."""
    polygons = np.array(annotation["segmentation"], dtype=float)
    sides = np.array([WIDTH, HEIGHT])
    return {
        "segmentation": (polygons / np.tile(sides, polygons.shape[1] // 2)).tolist(),
        "bbox": (np.array(annotation["bbox"]) / [*sides, *sides]).tolist(),
        "area": annotation["area"] / sides.prod(),
    }


def with_hole(annotation: dict) -> dict:
    """A hole as a second polygon, which the area leaves out."""
    x, y, w, h = annotation["bbox"]
    hole = rectangle(x + w / 4, y + h / 4, x + 3 * w / 4, y + 3 * h / 4)
    return {"segmentation": [rectangle(x, y, x + w, y + h), hole], "area": 0.75 * w * h}


def empty(part: str) -> Change:
    return lambda content, root: content[part].clear()


def add(part: str, entry: dict) -> Change:
    return lambda content, root: content[part].append(entry)


def write(name: str, data: bytes) -> Change:
    return lambda content, root: (root / name).write_bytes(data)


def save(name: str, pixels: np.ndarray, orientation: int = 1) -> Change:
    def change(content: dict, root: Path) -> None:
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[274] = orientation
        image.save(root / name, exif=exif)

    return change


def animate(name: str) -> Change:
    def change(content: dict, root: Path) -> None:
        first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
        first.save(root / name, save_all=True, append_images=[second])

    return change


def truncate(content: dict, root: Path) -> None:
    path = root / "two.jpg"
    path.write_bytes(path.read_bytes()[:-400])


def move_to_folder(content: dict, root: Path) -> None:
    (root / "part").mkdir()
    (root / "one.png").rename(root / "part" / "one.png")
    content["images"][0]["file_name"] = "part\\one.png"


def texts(part: str, key: str, form: str = "{}") -> Change:
    """Text for all ids of a list, also where annotations have them by a key."""

    def change(content: dict, root: Path) -> None:
        for entry in content[part]:
            entry["id"] = form.format(entry["id"])
        for entry in content["annotations"]:
            entry[key] = form.format(entry[key])

    return change
