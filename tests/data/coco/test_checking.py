"""Every kind of defect, each made by one change of a small dataset that is fine."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.coco.checking import check_before_training, find_defects, read_coco
from semiconv_d2.data.coco.coco_json import CocoImage, build_coco, write_json
from semiconv_d2.data.coco.defects import ERROR, KINDS, WARNING, errors_of, format_defects
from semiconv_d2.data.coco.fixing import fix, write_fixed
from semiconv_d2.data.coco.segmentations import polygon_area
from semiconv_d2.data.datasets.bbbc010 import prepare_bbbc010
from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms
from semiconv_d2.errors import DatasetError

HEIGHT, WIDTH = 40, 60
NAN, INF = math.nan, math.inf


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


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[dict, Path]:
    """Three images, the last one without instances, two categories, polygons and both forms of
    run-length encodings, and a crowd region."""
    root = tmp_path / "images"
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


GREY = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
FIRST = "annotation 10 of image 4 (one.png)"
SECOND = "annotation 12 of image 5 (two.jpg)"
BAR = rectangle(5, 5, 20, 15)

# By where the first defect is: a name, what is changed, and the kinds that are found, either one or
# several with their severities.
BROKEN_AT: dict[str, tuple[tuple[str, Change, str | dict[str, str]], ...]] = {
    "category 1: its id is text": (
        ("all category ids text", texts("categories", "category_id"), "text-ids"),
    ),
    "category c1: its id is text": (
        ("all category ids names", texts("categories", "category_id", "c{}"), "text-ids"),
    ),
    "image i4 (one.png): its id is text": (
        ("all image ids names", texts("images", "image_id", "i{}"), "text-ids"),
    ),
    "the JSON": (
        ("no categories", empty("categories"), {"no-categories": ERROR, "unknown-category": ERROR}),
        ("no images", empty("images"), {"no-images": ERROR, "unknown-image": ERROR}),
        ("no annotations", empty("annotations"), "no-annotations"),
    ),
    "categories[1]": (
        (
            "category without id",
            remove("categories", 1, "id"),
            {"category-id": ERROR, "unknown-category": ERROR},
        ),
        (
            "category id null",
            put("categories", 1, id=None),
            {"category-id": ERROR, "unknown-category": ERROR},
        ),
    ),
    "category 7": (
        ("category id with a point", put("categories", 1, id=7.0), "category-id"),
        ("category id as text", put("categories", 1, id="7"), "category-id"),
        ("category without name", remove("categories", 1, "name"), "category-name"),
        ("category name a number", put("categories", 1, name=3), "category-name"),
        ("category twice", add("categories", {"id": 7, "name": "cow"}), "duplicate-category-id"),
        (
            "category entry twice",
            add("categories", {"id": 7, "name": "dog"}),
            "duplicate-category-id",
        ),
        ("category name twice", put("categories", 1, name="cat"), "duplicate-category-name"),
    ),
    "images[0] (one.png)": (
        (
            "image without id",
            remove("images", 0, "id"),
            {"image-id": ERROR, "unknown-image": ERROR},
        ),
    ),
    "images[2] (empty.png)": (
        ("image id a list", put("images", 2, id=[1]), "image-id"),
        ("image id true", put("images", 2, id=True), "image-id"),
        ("image id NaN", put("images", 2, id=NAN), "image-id"),
    ),
    "image 4 (one.png)": (
        ("image id as text", put("images", 0, id="4"), "image-id"),
        ("all image ids text", texts("images", "image_id"), "text-ids"),
        (
            "image entry twice",
            add("images", {"id": 4, "file_name": "one.png", "height": HEIGHT, "width": WIDTH}),
            "duplicate-image-id",
        ),
        ("file missing", lambda content, root: (root / "one.png").unlink(), "file-missing"),
        ("file empty", write("one.png", b""), "file-unreadable"),
        ("file no image", write("one.png", b"no image at all"), "file-unreadable"),
        ("no height", remove("images", 0, "height"), "image-size"),
        ("width a fraction", put("images", 0, width=60.5), "image-size"),
        ("width text", put("images", 0, width="60"), "image-size"),
        ("height negative", put("images", 0, height=-40), "image-size"),
        ("16 bits", save("one.png", GREY.astype(np.uint16)), "image-depth"),
    ),
    "image 5 (two.jpg)": (
        ("image id of another image", put("images", 2, id=5), "duplicate-image-id"),
        ("file truncated", truncate, "file-unreadable"),
        (
            "turned on its side",
            save("two.jpg", GREY, 6),
            {"image-turned": WARNING, "size-mismatch": ERROR},
        ),
        ("turned as the JSON says", save("two.jpg", GREY.T.copy(), 6), "image-turned"),
        ("upside down", save("two.jpg", GREY, 3), "image-turned"),
    ),
    "image 4": (
        ("image without file name", remove("images", 0, "file_name"), "file-name"),
        ("file name a number", put("images", 0, file_name=4), "file-name"),
        ("file name empty", put("images", 0, file_name=""), "file-name"),
    ),
    "image 4 (../images/one.png)": (
        ("file name upwards", put("images", 0, file_name="../images/one.png"), "file-name-outside"),
    ),
    "image 4 (": (
        (
            "file name absolute",
            lambda content, root: content["images"][0].update(file_name=str(root / "one.png")),
            "file-name-outside",
        ),
    ),
    "image 6 (one.png)": (
        ("same file twice", put("images", 2, file_name="one.png"), "same-file-twice"),
    ),
    "image 4 (a": (
        ("file name with null", put("images", 0, file_name="a\0b.png"), "file-missing"),
        ("file name too long", put("images", 0, file_name="a" * 5000), "file-missing"),
    ),
    "image 4 (part\\one.png)": (("file name with backslash", move_to_folder, "file-missing"),),
    "image 4 (.)": (("file name of a folder", put("images", 0, file_name="."), "file-missing"),),
    "image 6 (empty.png)": (
        ("size of another image", save("empty.png", GREY[:-1]), "size-mismatch"),
        ("height and width exchanged", save("empty.png", GREY.T.copy()), "size-mismatch"),
    ),
    "annotations[0] of image 4 (one.png)": (
        ("annotation without id", remove("annotations", 0, "id"), "annotation-id"),
    ),
    "annotations[0] of image 4": (
        ("annotation id as text", put("annotations", 0, id="x"), "annotation-id"),
    ),
    "annotation 0 of image 4": (
        ("annotation id 0", put("annotations", 0, id=0), "annotation-id-zero"),
    ),
    "annotation -3 of image 4": (
        ("annotation id negative", put("annotations", 0, id=-3), "annotation-id-zero"),
    ),
    FIRST: (
        ("annotation id twice", put("annotations", 5, id=10), "duplicate-annotation-id"),
        ("unknown category", put("annotations", 0, category_id=2), "unknown-category"),
        ("no category", remove("annotations", 0, "category_id"), "unknown-category"),
        (
            "category id of annotation as text",
            put("annotations", 0, category_id="1"),
            "unknown-category",
        ),
        ("category id an object", put("annotations", 0, category_id={}), "unknown-category"),
        ("iscrowd 2", put("annotations", 0, iscrowd=2), "iscrowd"),
        ("iscrowd null", put("annotations", 0, iscrowd=None), "iscrowd"),
        ("no iscrowd", remove("annotations", 0, "iscrowd"), "iscrowd-missing"),
        ("ignore", put("annotations", 0, ignore=1), "ignore"),
        ("no area", remove("annotations", 0, "area"), "area"),
        ("area negative", put("annotations", 0, area=-1), "area"),
        ("area of another scale", put("annotations", 0, area=600), "area-far-from-mask"),
        ("no segmentation", remove("annotations", 0, "segmentation"), "segmentation-missing"),
        ("segmentation null", mask(None), "segmentation-missing"),
        ("segmentation empty", mask([]), "segmentation-empty"),
        ("segmentation an empty object", mask({}), "segmentation-empty"),
        ("segmentation a number", mask(3), "segmentation-type"),
        ("segmentation text", mask("mask.png"), "segmentation-type"),
        ("polygon not in a list", mask(BAR), "polygon-flat"),
        ("two corners", mask([[1, 1, 5, 5]]), "polygon-short"),
        ("polygon empty", mask([[]]), "polygon-short"),
        ("two corners beside a polygon", mask([BAR, [1, 1, 5, 5]]), "polygon-short"),
        ("odd polygon", mask([[*BAR, 3]]), {"polygon-odd": ERROR}),
        ("odd polygon beside another", mask([[*BAR, 3], BAR]), "polygon-odd"),
        ("coordinate NaN", mask([[NAN, *BAR[1:]]]), "polygon-coordinates"),
        ("coordinate infinite", mask([BAR, [*BAR[:-1], -INF]]), "polygon-coordinates"),
        ("coordinate absurd", mask([[1e9, *BAR[1:]]]), "polygon-coordinates"),
        ("coordinate of 400 digits", mask([[10**400, *BAR[1:]]]), "polygon-coordinates"),
        ("coordinate text", mask([["5", *BAR[1:]]]), "polygon-coordinates"),
        ("pairs of coordinates", mask([[[5, 5], [20, 5], [20, 15]]]), "polygon-coordinates"),
        ("one polygon of pairs", mask([[5, 5], [20, 5], [20, 15]]), "polygon-coordinates"),
        ("one text among coordinates", mask([[*BAR[:-1], "15"]]), "polygon-coordinates"),
        ("polygon a number", mask([BAR, 3]), "polygon-coordinates"),
        ("on one line", mask([[5, 5, 10, 10, 15, 15]]), {"polygon-no-area": ERROR}),
        ("on one line beside a polygon", mask([[5, 5, 10, 10, 15, 15], BAR]), "polygon-no-area"),
        ("outside", shape(rectangle(61, 5, 80, 15)), {"polygon-outside": ERROR}),
        ("outside beside a polygon", mask([BAR, rectangle(5, -20, 20, -5)]), "polygon-outside"),
        ("partly outside", shape(rectangle(-5, 5, 20, 15)), "polygon-partly-outside"),
        ("too thin", shape(rectangle(5.1, 5.1, 30, 5.2)), "mask-too-thin"),
        ("crossing itself", shape([5, 5, 20, 15, 20, 5, 5, 15]), "polygon-crosses-itself"),
        ("encoding without counts", mask({"size": [HEIGHT, WIDTH]}), "rle-keys"),
        ("encoding without size", mask({"counts": [HEIGHT * WIDTH]}), "rle-keys"),
        ("size of fractions", mask({"size": [40.5, 60], "counts": "5"}), "rle-keys"),
        ("counts a number", mask({"size": [HEIGHT, WIDTH], "counts": 5}), "rle-keys"),
        (
            "encoding of another size",
            mask({"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]}),
            "rle-size",
        ),
        ("absurd size", mask({"size": [10**6, 10**6], "counts": "5"}), "rle-size"),
        ("no bbox", remove("annotations", 0, "bbox"), "bbox"),
        ("bbox of 3", box(5, 5, 15), "bbox"),
        ("bbox empty", box(), "bbox"),
        ("bbox NaN", box(5, 5, NAN, 10), "bbox"),
        ("bbox text", box("5", 5, 15, 10), "bbox"),
        ("bbox negative", box(20, 15, -15, -10), "bbox-negative"),
        ("bbox without width", box(5, 5, 0, 10), "bbox-empty"),
        ("bbox outside", box(65, 5, 15, 10), "bbox-outside"),
        ("bbox as corners", box(5, 5, 20, 15), "bbox-corners"),
        ("bbox of fractions of the image", box(0.1, 0.1, 0.25, 0.25), "bbox-far-from-mask"),
    ),
    "annotation 10: no image has the id 99": (
        ("unknown image", put("annotations", 0, image_id=99), "unknown-image"),
    ),
    "annotation 10: it has no image_id": (
        ("no image", remove("annotations", 0, "image_id"), "unknown-image"),
    ),
    "annotation 10: ": (
        ("image id of annotation a list", put("annotations", 0, image_id=[4]), "unknown-image"),
        ("image id of annotation as text", put("annotations", 0, image_id="4"), "unknown-image"),
    ),
    SECOND: (
        ("area NaN", put("annotations", 2, area=NAN), "area"),
        (
            "size with a point",
            put("annotations", 2, segmentation={**encoded(compressed=True), "size": [40.0, "60"]}),
            "rle-keys",
        ),
        ("counts too short", counts("5"), "rle-counts"),
        ("counts too long", counts([HEIGHT * WIDTH, 1]), "rle-counts"),
        ("counts negative", counts([HEIGHT * WIDTH + 5, -5]), "rle-counts"),
        ("counts of fractions", counts([HEIGHT * WIDTH - 0.5, 0.5]), "rle-counts"),
        ("counts of huge numbers", counts([2**70, 1]), "rle-counts"),
        ("counts an empty list", counts([]), "rle-counts"),
        ("counts empty", counts(""), "rle-counts"),
        ("counts that go on", counts("PPPo"), "rle-counts"),
        ("counts with other characters", counts("5\x01~é"), "rle-counts"),
        ("counts with half a character", counts("5\ud800"), "rle-counts"),
        ("counts with an endless number", counts("o" * 100 + "0"), "rle-counts"),
        ("counts that are negative in the end", counts("O"), "rle-counts"),
        ("mask empty", counts([HEIGHT * WIDTH]), "mask-empty"),
        ("bbox of encoded mask null", put("annotations", 2, bbox=None), "bbox"),
        (
            "bbox of encoded mask elsewhere",
            put("annotations", 2, bbox=[9, 10, 20, 10]),
            "bbox-far-from-mask",
        ),
    ),
    "annotation 11": (
        (
            "bbox partly outside",
            put("annotations", 1, bbox=[20, 10, 60, 20]),
            "bbox-partly-outside",
        ),
    ),
    "annotation 20 of image 4": (
        (
            "polygon twice",
            add("annotations", instance(20, 4, 1, 5, 5, 20, 15)),
            "duplicate-instance",
        ),
    ),
    "annotation 20 of image 5": (
        (
            "encoding twice",
            add(
                "annotations",
                instance(20, 5, 7, 5, 10, 25, 20, segmentation=encoded(compressed=True)),
            ),
            "duplicate-instance",
        ),
    ),
}
BROKEN = [
    (name, change, {kind: KINDS[kind]} if isinstance(kind, str) else kind, where)
    for where, rows in BROKEN_AT.items()
    for name, change, kind in rows
]
UNMENDABLE = ("no categories", "no images", "no annotations")
UNDECIDED = ("category twice",)


def shown(defects) -> str:
    return format_defects(defects, None)


def test_every_kind_is_made_here():
    assert {kind for *_, kinds, _ in BROKEN for kind in kinds} == set(KINDS)
    assert len(BROKEN) > 100


def test_what_is_fine_has_no_defects(dataset):
    content, root = dataset
    assert find_defects(content, root, read_images=True) == []


@pytest.mark.parametrize(
    ("change", "kinds", "where"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_defect_is_found_alone_and_where_it_is(dataset, change, kinds, where):
    content, root = dataset
    change(content, root)
    before = copy.deepcopy(content)
    if "polygon-crosses-itself" in kinds:
        pytest.importorskip("shapely")

    defects = find_defects(content, root, read_images=True)

    assert {d.kind: d.severity for d in defects} == kinds, shown(defects)
    assert str(defects[0]).startswith(where)
    assert all("\n" not in str(d) and len(str(d)) <= 300 for d in defects)
    assert repr(content) == repr(before)


@pytest.mark.parametrize(
    ("name", "change"), [row[:2] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_mended_copy_has_no_errors(dataset, tmp_path, name, change):
    content, root = dataset
    change(content, root)
    original = tmp_path / "train.json"
    original.write_text("untouched")
    defects = find_defects(content, root, read_images=True)
    if name in UNMENDABLE:
        with pytest.raises(DatasetError, match="nothing can be mended: no "):
            fix(content, defects)
        return

    mended, changes = fix(content, defects)
    path = write_fixed(original, mended)

    left = find_defects(read_coco(path), root, read_images=True)
    assert bool(errors_of(left)) == (name in UNDECIDED), shown(left)
    repaired = {d.kind for d in defects if d.mending}
    assert not repaired & {d.kind for d in left}, shown(left)
    assert bool(changes) == bool(repaired)
    assert original.read_text() == "untouched"
    assert {p.name for p in tmp_path.iterdir()} == {"train.json", "train_fixed.json", "images"}


@pytest.mark.parametrize(
    ("change", "kinds"), [row[1:3] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_before_training_errors_stop_and_warnings_do_not(dataset, tmp_path, change, kinds):
    content, root = dataset
    change(content, root)
    path = tmp_path / "train set.json"
    path.write_text(json.dumps(content))
    if ERROR not in kinds.values() or change is truncate:  # pixels are not looked at
        check_before_training(path, root)
        return
    with pytest.raises(DatasetError) as caught:
        check_before_training(path, root)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path} has ")
    assert message.endswith(f"--fix a mended copy: python tools/check_dataset.py '{path}' {root}")
    assert all(f"({kind}: " in message for kind in kinds if kinds[kind] == ERROR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*x.json: .*No such file"),
        ("", "x.json is empty"),
        ("  \n", "x.json is empty"),
        ('{"images": [],', r"x.json is not JSON: .* \(line 1, column 15\)"),
        ('{\n "images": 3;\n}', r"x.json is not JSON: .* \(line 2, column 13\)"),
        ("\x89PNG", "x.json is not JSON"),
        (
            '\ufeff{"categories": [], "images": [], "annotations": []}',
            "save it as UTF-8 without BOM",
        ),
        ("[" * 100_000, "x.json cannot be read as JSON"),
        ("9" * 5000, "x.json cannot be read as JSON"),
        ("[]", "x.json is a list at its top"),
        ("{}", "no list 'categories', .*it has: nothing"),
        ('{"categories": [], "images": []}', "no list 'annotations', .*has: categories, images"),
        ('{"categories": {}, "images": [], "annotations": []}', "'categories' is a dict, not a"),
        ('{"categories": [], "images": null, "annotations": []}', "'images' is a NoneType"),
        ('{"categories": [], "images": [3], "annotations": []}', r"images\[0\] is a int"),
    ],
)
def test_what_is_no_coco_json_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_coco(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match=message):
        check_before_training(path, tmp_path)


def test_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        read_coco(tmp_path)
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot read"):
        read_coco(tmp_path / "x.json")


def test_nan_is_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"images": [], "annotations": [{"area": NaN}], "categories": []}')
    assert math.isnan(read_coco(path)["annotations"][0]["area"])


def test_a_missing_folder_of_images_is_one_error(dataset):
    content, root = dataset
    with pytest.raises(DatasetError, match=r"there is no folder of images .*nowhere"):
        find_defects(content, root / "nowhere")


def test_a_file_that_lies_elsewhere_is_hinted_at(dataset):
    content, root = dataset
    content["images"][0]["file_name"] = "train/one.png"
    [defect] = find_defects(content, root)
    assert defect.what.endswith("train/one.png, but there is one.png")


def test_two_images_of_one_id_go_with_their_annotations_and_a_repeated_entry_does_not(dataset):
    content, root = dataset
    other = {**content["images"][2], "id": 4}
    content["images"] += [dict(content["images"][1]), other]
    mended, _ = fix(content, find_defects(content, root))
    assert [image["file_name"] for image in mended["images"]] == ["two.jpg", "empty.png"]
    assert [a["id"] for a in mended["annotations"]] == [12, 13, 14]


def test_images_of_one_file_become_one_with_all_annotations(dataset):
    content, root = dataset
    content["images"] += [{**content["images"][0], "id": number} for number in (20, 21)]
    content["annotations"][1]["image_id"], content["annotations"][5]["image_id"] = 20, 21
    mended, _ = fix(content, find_defects(content, root))
    assert [image["id"] for image in mended["images"]] == [4, 5, 6]
    assert [a["image_id"] for a in mended["annotations"]] == [4, 4, 5, 5, 5, 4]
    content["images"][3]["height"] += 1  # as nobody knows which of both is right
    defects = [d for d in find_defects(content, root) if d.kind == "same-file-twice"]
    assert [bool(d.mending) for d in defects] == [False, True]


@pytest.mark.parametrize(
    ("category", "value"),
    [({"id": 7, "name": "dog"}, [1, 7]), ({"id": 7, "name": "cow"}, [1, 7, 7])],
)
def test_categories_of_one_id_are_merged_where_their_names_are_equal(dataset, category, value):
    content, root = dataset
    content["categories"].append(category)
    mended, _ = fix(content, find_defects(content, root))
    assert [c["id"] for c in mended["categories"]] == value
    assert len(mended["annotations"]) == len(content["annotations"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("train/one.png", "one.png"), ("one.PNG", "one.png"), ("train\\two.JPG", "two.jpg")],
)
def test_a_file_name_that_says_which_file_is_meant_is_mended(dataset, name, meant):
    content, root = dataset
    index = ["one.png", "two.jpg"].index(meant)
    content["images"][index]["file_name"] = name
    mended, _ = fix(content, find_defects(content, root))
    assert mended["images"][index]["file_name"] == meant
    content["images"][2]["file_name"] = f"val/{meant}"  # which of both lies there?
    assert find_defects(content, root)[-1].mending == "drop the image and its annotations"


def test_other_ways_to_write_polygons_are_mended(dataset):
    content, root = dataset
    corners = np.reshape(BAR, (-1, 2)).tolist()
    for polygons in ([corners], corners, [list(map(str, BAR))], BAR):
        content["annotations"][0]["segmentation"] = polygons
        mended, _ = fix(content, find_defects(content, root))
        assert mended["annotations"][0]["segmentation"] == [BAR]


def test_a_category_name_that_is_a_number_becomes_text(dataset):
    content, root = dataset
    content["categories"][1]["name"] = 5
    mended, _ = fix(content, find_defects(content, root))
    assert mended["categories"][1]["name"] == "5"


def test_the_area_of_a_polygon_that_crosses_itself_is_that_of_its_pixels(dataset):
    content, root = dataset
    shape([5, 5, 20, 15, 20, 5, 5, 15])(content, root)
    content["annotations"][0]["area"] = 75
    assert "area-far-from-mask" not in {d.kind for d in find_defects(content, root)}
    content["annotations"][0]["area"] = 750
    [defect] = [d for d in find_defects(content, root) if d.kind == "area-far-from-mask"]
    assert 60 < defect.value["area"] < 90
    content["annotations"][0]["iscrowd"] = 1  # COCO's own areas of crowd regions are others
    assert "area-far-from-mask" not in {d.kind for d in find_defects(content, root)}


def test_a_mended_copy_replaces_its_like_alone(dataset, tmp_path):
    content, _ = dataset
    original = tmp_path / "train.json"
    path = write_fixed(original, content)
    write_fixed(original, content)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"train_fixed\.json would be overwritten"):
        write_fixed(original, content)
    assert json.loads(path.read_text()) == content


def test_the_json_alone_can_be_checked(dataset):
    content, _ = dataset
    content["images"][0]["file_name"] = "gone.png"
    content["annotations"][0]["bbox"] = None
    assert [d.kind for d in find_defects(content, None)] == ["bbox"]


@pytest.mark.parametrize(
    ("form", "images", "categories"),
    [("{}", {4: 4, 5: 5, 6: 6}, {1: 1, 7: 7}), ("no {}", {4: 1, 5: 2, 6: 3}, {1: 1, 7: 2})],
)
def test_ids_that_are_text_become_numbers_everywhere(dataset, form, images, categories):
    content, root = dataset
    before = copy.deepcopy(content)
    texts("images", "image_id", form)(content, root)
    texts("categories", "category_id", form)(content, root)
    mended, _ = fix(content, find_defects(content, root))
    assert [image["id"] for image in mended["images"]] == list(images.values())
    assert [category["id"] for category in mended["categories"]] == list(categories.values())
    assert mended["annotations"] == [
        a | {"image_id": images[a["image_id"]], "category_id": categories[a["category_id"]]}
        for a in before["annotations"]
    ]
    assert find_defects(mended, root) == []


def test_texts_of_the_same_number_stay_apart_and_numbers_find_their_texts(dataset):
    content, root = dataset
    for image, text in zip(content["images"], ("4", "04", "x"), strict=True):
        image["id"] = text
    for annotation in content["annotations"]:
        annotation["image_id"] = {4: 4, 5: "04"}[annotation["image_id"]]
    defects = find_defects(content, root)
    assert {defect.kind for defect in defects} == {"text-ids", "unknown-image"}
    mended, _ = fix(content, defects)
    assert [image["id"] for image in mended["images"]] == [1, 2, 3]
    assert [a["image_id"] for a in mended["annotations"]] == [1, 1, 2, 2, 2, 1]
    assert find_defects(mended, root) == []


def test_a_category_whose_id_is_the_text_0_is_known(dataset):
    content, root = dataset
    content["categories"][0]["id"], content["categories"][1]["id"] = "0", "7"
    for annotation in content["annotations"]:
        annotation["category_id"] = "0" if annotation["category_id"] == 1 else "7"
    mended, _ = fix(content, find_defects(content, root))
    assert [a["category_id"] for a in mended["annotations"]] == [0, 7, 7, 0, 0, 0]


def test_a_quick_check_reads_some_headers_alone(dataset):
    content, root = dataset
    Image.fromarray(GREY[:-1]).save(root / "odd.png")
    template = dict(content["images"][2])
    content["images"] += [
        template | {"id": 100 + i, "file_name": "empty.png" if i else "odd.png"}
        for i in range(1000)
    ]
    content["images"][4], content["images"][3] = content["images"][3], content["images"][4]
    kinds = [d.kind for d in find_defects(content, root)]
    assert "size-mismatch" in kinds
    assert "size-mismatch" not in [d.kind for d in find_defects(content, root, quick=True)]


def test_many_of_a_kind_are_counted_and_the_first_are_shown(dataset):
    content, root = dataset
    for annotation in content["annotations"]:
        annotation["bbox"] = None
    text = format_defects(find_defects(content, root), examples=2).splitlines()
    assert text[0] == "errors: 6"
    assert text[1] == "  bbox: 6; --fix: set bbox"
    assert text[2].startswith(f"    {FIRST}: its bbox is None, not [left, top, width, height]")
    assert text[4:] == ["    … and 4 more", "warnings: 0"]


def test_annotations_beyond_one_batch_are_checked_too(dataset):
    content, root = dataset
    content["annotations"] += [
        instance(100 + i, 4, 1, 5, 5, 20 + i / 1000, 15) for i in range(2500)
    ]
    content["annotations"][-1]["bbox"] = [1, 1, 5, 5]
    content["annotations"][1500]["segmentation"] = [[1, 1, 2, 2]]
    kinds = {d.kind: d.index for d in find_defects(content, root)}
    assert kinds == {"polygon-short": 1500, "bbox-far-from-mask": 2505}


def test_without_shapely_2_crossings_are_left_out(dataset, monkeypatch):
    content, root = dataset
    shape([5, 5, 20, 15, 20, 5, 5, 15])(content, root)
    monkeypatch.setattr("semiconv_d2.data.coco.checking_annotations.version", lambda name: "1.8.5")
    assert find_defects(content, root) == []


def test_detectron2_reads_turned_images_in_the_size_that_is_checked(dataset):
    utils = pytest.importorskip("detectron2.data.detection_utils")
    content, root = dataset
    for name in ("one.png", "two.jpg", "empty.png"):
        for orientation in range(1, 9):
            save(name, GREY, orientation)(content, root)
            size = utils.read_image(str(root / name), "BGR").shape[:2]
            found = {d.kind for d in find_defects(content, root, read_images=True)}
            assert ("size-mismatch" in found) == (size != (HEIGHT, WIDTH)), (name, orientation)
            save(name, GREY)(content, root)


def test_detectron2_loads_what_is_fine(dataset, tmp_path):
    coco = pytest.importorskip("detectron2.data.datasets.coco")
    content, root = dataset
    write_json(content, tmp_path / "x.json")
    records = coco.load_coco_json(str(tmp_path / "x.json"), str(root))
    assert [len(record["annotations"]) for record in records] == [3, 3, 0]


def test_made_up_data_are_fine(tmp_path):
    prepare_synthetic_worms(tmp_path, train_images=3, val_images=2)
    for split in ("train", "val"):
        content = read_coco(tmp_path / f"{split}.json")
        assert find_defects(content, tmp_path / "images", read_images=True) == []
        check_before_training(tmp_path / f"{split}.json", tmp_path / "images")


@pytest.mark.parametrize(("split", "crossings"), [("train", 0), ("val", 3)])
def test_real_coco_has_no_errors(real_coco_tiny, split, crossings):
    """The warnings are true: those polygons cross themselves."""
    json_file = real_coco_tiny / "annotations" / f"instances_{split}2017.json"
    images = real_coco_tiny / f"{split}2017"
    defects = find_defects(read_coco(json_file), images, read_images=True)
    pytest.importorskip("shapely")
    assert [d.kind for d in defects] == ["polygon-crosses-itself"] * crossings, shown(defects)
    check_before_training(json_file, images)


def test_real_bbbc010_has_no_defects(real_bbbc010, tmp_path):
    prepare_bbbc010(real_bbbc010, tmp_path)
    for split in ("train", "test"):
        content = read_coco(tmp_path / f"{split}.json")
        assert find_defects(content, tmp_path / "images", read_images=True) == []
