from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exports import boxes, save, write

from semiconv_d2.data.formats.datumaro_formats import datumaro_data
from semiconv_d2.data.formats.own import prepare_own
from semiconv_d2.errors import DatasetError


@pytest.fixture
def coco(real_coco_tiny: Path, tmp_path: Path) -> Path:
    """Real images in the layout that datumaro reads."""
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "annotations").symlink_to(real_coco_tiny / "annotations")
    for folder in ("train2017", "val2017"):
        (root / "images" / folder).symlink_to(real_coco_tiny / folder)
    return root


def test_real_coco_comes_back_bit_for_bit(coco, real_coco_tiny, tmp_path, read_masks):
    pytest.importorskip("datumaro")
    summary = prepare_own(datumaro_data(coco, "coco"), tmp_path / "out")
    assert summary.images == {"train": 80, "val": 80}
    assert "left out: 17 annotations without a mask (17 of type crowd)" in str(summary)
    for split in ("train", "val"):
        original = read_real(real_coco_tiny / "annotations" / f"instances_{split}2017.json")
        read = read_masks(tmp_path / "out" / f"{split}.json")
        assert {Path(name).name for name in read} == set(original)
        for name, instances in read.items():
            assert sorted((category, mask.tobytes()) for mask, category in instances) == sorted(
                (category, mask.tobytes()) for mask, category in original[Path(name).name]
            )


def read_real(path: Path) -> dict[str, list[tuple[np.ndarray, str]]]:
    """Masks and categories of COCO's own annotations, without the crowds."""
    from pycocotools.coco import COCO

    coco = COCO(str(path))
    return {
        image["file_name"]: [
            (coco.annToMask(one) > 0, coco.cats[one["category_id"]]["name"])
            for one in coco.imgToAnns[image["id"]]
            if not one["iscrowd"]
        ]
        for image in coco.imgs.values()
    }


def test_datumaro_reads_the_old_labelme(tmp_path, read_masks):
    pytest.importorskip("datumaro")
    root = tmp_path / "old"
    save(root / "Images" / "set" / "a.jpg")
    points = "".join(
        f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((4, 4), (20, 4), (20, 12), (4, 12))
    )
    write(
        root / "Annotations" / "set" / "a.xml",
        f"<annotation><filename>a.jpg</filename><folder>set</folder><source/><object><name>cell"
        f"</name><deleted>0</deleted><verified>0</verified><occluded>no</occluded><date/><id>0</id>"
        f"<parts><hasparts/><ispartof/></parts><polygon><username/>{points}</polygon><attributes/>"
        f"</object><imagesize><nrows>20</nrows><ncols>40</ncols></imagesize></annotation>",
    )
    prepare_own(datumaro_data(root, "label_me"), tmp_path / "out", 0)
    read = read_masks(tmp_path / "out" / "train.json")
    assert boxes(read["a.jpg"]) == [("cell", [4, 4, 20, 12])]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("nonsense", "datumaro cannot read .* as nonsense: UnknownFormatError: "),
        ("coco", "datumaro cannot read .* as coco: "),
    ],
)
def test_what_datumaro_cannot_read(tmp_path, form, message):
    pytest.importorskip("datumaro")
    write(tmp_path / "in" / "notes.txt", "")
    with pytest.raises(DatasetError, match=message) as caught:
        datumaro_data(tmp_path / "in", form)
    assert "\n" not in str(caught.value)
