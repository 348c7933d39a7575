from __future__ import annotations

import numpy as np
from broken_coco import BAR
from small_coco import instance, shape

from semiconv_d2.data.coco.checking import find_defects
from semiconv_d2.data.coco.fixing import fix


def test_other_ways_to_write_polygons_are_mended(dataset):
    content, root = dataset
    corners = np.reshape(BAR, (-1, 2)).tolist()
    for polygons in ([corners], corners, [list(map(str, BAR))], BAR):
        content["annotations"][0]["segmentation"] = polygons
        mended, _ = fix(content, find_defects(content, root))
        assert mended["annotations"][0]["segmentation"] == [BAR]


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


def test_annotations_beyond_one_batch_are_checked_too(dataset):
    content, root = dataset
    content["annotations"] += [
        instance(100 + i, 4, 1, 5, 5, 20 + i / 1000, 15) for i in range(2500)
    ]
    content["annotations"][-1]["bbox"] = [1, 1, 5, 5]
    content["annotations"][1500]["segmentation"] = [[1, 1, 2, 2]]
    kinds = {d.kind: d.index for d in find_defects(content, root)}
    assert kinds == {"polygon-short": 1500, "bbox-far-from-mask": 2505}
