from __future__ import annotations

from broken_coco import BROKEN, FIRST

from semiconv_d2.data.coco.checking import find_defects
from semiconv_d2.data.coco.defects import KINDS, format_defects


def test_many_of_a_kind_are_counted_and_the_first_are_shown(dataset):
    content, root = dataset
    for annotation in content["annotations"]:
        annotation["bbox"] = None
    text = format_defects(find_defects(content, root), examples=2).splitlines()
    assert text[0] == "errors: 6"
    assert text[1] == "  bbox: 6; --fix: set bbox"
    assert text[2].startswith(f"    {FIRST}: its bbox is None, not [left, top, width, height]")
    assert text[4:] == ["    … and 4 more", "warnings: 0"]


def test_every_kind_is_made_here():
    # Which the JSON alone does not tell.
    elsewhere = {"image-vanishes", "several-pieces", "too-many-instances", "mostly-percent"}
    elsewhere |= {"small-for-anchors", "anchors-do-not-fit", "thin-for-features"}
    assert {kind for *_, kinds, _ in BROKEN for kind in kinds} == set(KINDS) - elsewhere
    assert len(BROKEN) > 100
