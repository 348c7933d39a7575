"""Every kind of defect of a dataset in COCO's format, each made by one change of `small_coco`."""

from __future__ import annotations

import math

import numpy as np
from small_coco import (
    GREY,
    HEIGHT,
    WIDTH,
    Change,
    add,
    animate,
    both,
    box,
    counts,
    each,
    empty,
    encoded,
    exchanged,
    instance,
    mask,
    move_to_folder,
    put,
    rectangle,
    relative,
    remove,
    save,
    shape,
    texts,
    truncate,
    with_hole,
    write,
)

from semiconv_d2.data.coco.defects import ERROR, KINDS, WARNING

NAN, INF = math.nan, math.inf
FIRST = "annotation 10 of image 4 (one.png)"
SECOND = "annotation 12 of image 5 (two.jpg)"
BAR = rectangle(5, 5, 20, 15)


def zigzag(width: float, corners: int) -> list[float]:
    """A polygon that goes from left to right and back all the way down an image."""
    y = np.linspace(5, 35, corners)
    x = np.where(np.arange(corners) % 2, 30 - width / 2, 30 + width / 2)
    return np.stack([x, y], axis=1).ravel().tolist()


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
    "the dataset": (
        (
            "all crowds",
            each(range(6), lambda a: {"iscrowd": 1}),
            {"mostly-crowds": ERROR, "mostly-left-out": ERROR, "crowd-of-masks": WARNING},
        ),
        (
            "half of them crowds",
            each((0, 5), lambda a: {"iscrowd": 1}),
            {"mostly-crowds": ERROR, "crowd-of-masks": WARNING},
        ),
        (
            "half of them crowds, one for each category",
            each((0, 1), lambda a: {"iscrowd": 1}),
            "mostly-crowds",
        ),
        (
            "some crowds",
            both(
                add("annotations", instance(20, 6, 7, 5, 5, 20, 15)),
                each((0, 2), lambda a: {"iscrowd": 1}),
            ),
            "some-crowds",
        ),
        (
            "all relative",
            each((0, 1, 4, 5), relative),
            {"mostly-relative": ERROR, "polygon-relative": WARNING},
        ),
        (
            "all exchanged",
            each((0, 1, 5), exchanged),
            {"mostly-exchanged": ERROR, "polygon-exchanged": WARNING},
        ),
        (
            "half without width",
            each((0, 1, 5), lambda a: {"bbox": [*a["bbox"][:2], 0, 10]}),
            {"mostly-left-out": ERROR, "bbox-empty": WARNING},
        ),
        (
            "half too thin",
            each((0, 1, 5), lambda a: {"segmentation": [rectangle(5.1, 5.1, 30 + a["id"], 5.2)]}),
            {"mostly-left-out": ERROR, "mask-too-thin": WARNING},
        ),
        (
            "boxes elsewhere",
            each((0, 1, 5), lambda a: {"bbox": [0.1, 0.2, 0.3, 0.4]}),
            {"mostly-misplaced": ERROR, "bbox-far-from-mask": WARNING},
        ),
        (
            "outlines of a larger image",
            each(
                (0, 1, 3),
                lambda a: instance(a["id"], a["image_id"], 1, 40, 5, 80, 20 + a["id"]),
            ),
            {"mostly-misplaced": ERROR, "polygon-partly-outside": WARNING},
        ),
        (
            "holes as polygons",
            each((0, 1, 4), with_hole),
            {"mostly-holes-filled": ERROR, "hole-filled": WARNING},
        ),
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
        ("absurdly large", put("images", 0, height=10**6, width=10**6), "image-large"),
        ("16 bits", save("one.png", GREY.astype(np.uint16)), "image-depth"),
        ("several pages", animate("one.png"), "image-unclear"),
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
        ("hole as a polygon", each((0,), with_hole), "hole-filled"),
        ("polygon within another", mask([BAR, rectangle(8, 7, 12, 12)]), "polygon-within"),
        ("relative", each((0,), relative), "polygon-relative"),
        ("exchanged", each((0,), exchanged), "polygon-exchanged"),
        ("far too long", shape(zigzag(60, 10**5)), {"polygon-long": ERROR}),
        (
            "long and far outside",
            shape(zigzag(10**6, 200)),
            {"polygon-long": ERROR, "polygon-crosses-itself": WARNING},
        ),
        ("crossing itself", shape([5, 5, 20, 15, 20, 5, 5, 15]), "polygon-crosses-itself"),
        ("encoding without counts", mask({"size": [HEIGHT, WIDTH]}), "rle-keys"),
        (
            "encoding without size",
            mask({"counts": [5, 20, HEIGHT * WIDTH - 25]}),
            {
                "segmentation-wrapped": ERROR,
                "bbox-far-from-mask": WARNING,
                "area-far-from-mask": WARNING,
            },
        ),
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
            "segmentation-wrapped",
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
