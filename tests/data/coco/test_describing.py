"""Numbers of datasets small enough to count by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from semiconv_d2.data.coco import describing
from semiconv_d2.data.coco.coco_json import CocoImage, build_coco
from semiconv_d2.data.coco.describing import DetectorScale, Spread, describe, format_statistics
from semiconv_d2.data.geometry import CONTACT, ELONGATION

SIZE = (100, 200)


def block(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def content() -> dict:
    """Two images with instances, one without, a crowd region, and a category that nothing is of.

    In the first image a square of 20 and a bar of 4 × 40 that crosses it lie far from another
    square of 20, in the second image there is one pixel.
    """
    square, bar, other = block(20, 40, 20, 40), block(28, 32, 10, 50), block(60, 80, 150, 170)
    content = build_coco(
        [
            CocoImage("a.png", *SIZE, [(square, 1), (bar, 2), (other, 1)]),
            CocoImage("b.png", *SIZE, [(block(5, 6, 5, 6), 1), (block(0, 100, 0, 200), 1)]),
            CocoImage("c.png", 50, 60, []),
        ],
        ["square", "bar", "nothing"],
    )
    content["annotations"][4]["iscrowd"] = 1
    content["annotations"][2]["segmentation"] = [[150, 60, 170, 60, 170, 80, 150, 80]]
    return content


def test_counts(content):
    s = describe(content)
    assert (s.images, s.images_without_instances) == (3, 1)
    assert (s.instances, s.crowd_regions, s.polygons, s.encoded) == (4, 1, 1, 3)
    assert s.categories == {"square": 3, "bar": 1, "nothing": 0}
    assert (s.heights.low, s.heights.median, s.heights.high) == (50, 100, 100)
    assert (s.widths.low, s.widths.median, s.widths.high) == (60, 200, 200)
    assert (s.instances_in_image.low, s.instances_in_image.high) == (0, 3)
    assert (s.sizes.low, s.sizes.high) == (1, 20)
    assert s.sizes.median == pytest.approx((math.sqrt(160) + 20) / 2)


def test_contact_sharing_and_elongation(content):
    s = describe(content)
    assert (s.measured_images, s.measured) == (2, 4)
    # The square touches the bar with more than 30 % of its outline only where the bar and two rows
    # beside it are: 2 × 8 of 76 pixels. Of the bar's 84 pixels it is 2 × 24, its middle and two
    # columns to either side.
    assert s.contact == [0.5, 0, 0.25, 0.25]
    assert s.sharing == 0.5
    assert s.shared_pixels == pytest.approx((80 / 400 + 80 / 160) / 2)
    # A pixel and two squares are as long as they are wide; the bar's largest disc has the
    # radius 2.
    assert s.elongation == [0.75, 0, 0, 0.25]


def test_an_elongation_on_the_border_of_two_bins_is_in_the_lower_one(content, monkeypatch):
    """As where a model is evaluated."""
    monkeypatch.setattr(describing, "elongation", lambda mask, radius: 2.0)
    assert describe(content).elongation == [1, 0, 0, 0]


def test_a_sample_is_of_images_with_instances_and_the_same_every_time(content):
    assert describe(content, sample=1).measured_images == 1
    once, again = (describe(content, sample=1).as_dict() for _ in range(2))
    assert once == again
    chosen = {describe(content, sample=1, seed=seed).measured for seed in range(10)}
    assert chosen == {1, 3}
    assert describe(content, sample=None).measured_images == 2


def test_how_a_detector_sees_them(content):
    """Images are enlarged twice: boxes of 40 × 40, 80 × 8, 40 × 40 and 2 × 2 pixels."""
    scale = DetectorScale(200, 400, [[32], [64]], [[0.5, 1, 2]], [4, 8])
    fit = describe(content, scale).fit
    assert fit.factor == 2
    assert (fit.smallest_anchor, fit.finest_stride) == (pytest.approx(32), 4)
    assert fit.below_half_anchor == 0.25  # the pixel
    assert fit.poor_shape == 0.5  # the pixel and the bar
    assert fit.thinner_than_cell == 0.25  # the pixel is 2 wide, the bar 8, the squares 40
    assert fit.thinner_than_two == 0.25
    coarse = DetectorScale(200, 400, [[32], [64]], [[0.5, 1, 2]], [5])
    assert describe(content, coarse).fit.thinner_than_two == 0.5
    long = DetectorScale(200, 400, [[32]], [[0.1, 1]], [4])
    assert describe(content, long).fit.poor_shape == 0.25


@pytest.mark.parametrize(
    ("size", "factor"),
    [((480, 640), 800 / 480), ((400, 1000), 1.333), ((1600, 1600), 0.5)],
)
def test_images_are_resized_as_detectron2_does(size, factor):
    transforms = pytest.importorskip("detectron2.data.transforms")
    resize = transforms.ResizeShortestEdge(800, 1333)
    new = resize.get_output_shape(*size, 800, 1333)
    scale = DetectorScale(800, 1333, [[32]], [[1]], [4])
    assert scale.factor(size) == pytest.approx(factor)
    assert [round(side * scale.factor(size)) for side in size] == list(new)
    assert DetectorScale(0, 1333, [[32]], [[1]], [4]).factor(size) == 1


def test_anchors_are_those_of_detectron2():
    anchors = pytest.importorskip("detectron2.modeling.anchor_generator")
    generator = anchors.DefaultAnchorGenerator(
        sizes=[[16, 32], [64]], aspect_ratios=[[0.5, 1, 2]], strides=[4, 8]
    )
    theirs = np.concatenate([cell.numpy() for cell in generator.cell_anchors])
    ours = DetectorScale(800, 1333, [[16, 32], [64]], [[0.5, 1, 2]], [4, 8]).anchors()
    np.testing.assert_allclose(ours, theirs[:, 2:] - theirs[:, :2], rtol=1e-5)


def test_nothing_to_measure(content):
    content["annotations"] = content["annotations"][4:]
    s = describe(content, DetectorScale(200, 400, [[32]], [[1]], [4]))
    assert (s.instances, s.crowd_regions, s.measured, s.fit) == (0, 1, 0, None)
    assert "measure" not in format_statistics(s)
    assert json.loads(json.dumps(s.as_dict()))["sizes"]["median"] is None


def test_the_table_is_aligned_and_has_everything(content):
    scale = DetectorScale(200, 400, [[32], [64]], [[0.5, 1, 2]], [4, 8])
    table = format_statistics(describe(content, scale))
    lines = [line for line in table.splitlines() if line]
    words = [line.split() for line in lines]
    assert words[0] == ["images", "3"]
    assert ["bar", "1", "25.0", "%"] in words
    assert ["instances", "50.0", "%", "0.0", "%", "25.0", "%", "25.0", "%"] in words
    assert "\n  without instances  " in table
    assert "masks of all 2 images, 4 instances" in table
    for bins in (CONTACT, ELONGATION):
        assert any(line.endswith(bins.labels[-1]) and bins.labels[1] in line for line in lines)
    assert "√area of box < 16 px, half the smallest anchor" in table
    numbers = [line for line in lines if line[0] != " " and len(line) > 70]
    assert len({len(line) for line in numbers}) == 1  # their last columns end below each other


def test_many_categories_are_cut_short(content):
    content["categories"] += [{"id": 10 + i, "name": f"more {i}"} for i in range(40)]
    lines = format_statistics(describe(content)).splitlines()
    assert any(line.startswith("  the other 23 ") for line in lines)
    assert [line.split()[-1] for line in lines if line.startswith("categories")] == ["43"]
    assert any(line.split() == ["without", "instances", "41"] for line in lines)


def test_a_spread():
    assert Spread.of(range(101)) == Spread(0, 5, 50, 95, 100)
    assert math.isnan(Spread.of([]).median)
