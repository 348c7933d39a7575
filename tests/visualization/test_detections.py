"""Masks with names, seeds, and where labels stand."""

from __future__ import annotations

import numpy as np
import pytest

from semiconv_d2.visualization.detections import (
    draw_detections,
    draw_seeds,
    following_colours,
    place_labels,
)
from semiconv_d2.visualization.figures import pixels
from semiconv_d2.visualization.masks import instance_colours
from semiconv_d2.visualization.regions import InstanceView

HEIGHT, WIDTH = 500, 1000  # drawn one to one


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


MASKS = np.array([rectangle(100, 300, 300, 400), rectangle(500, 200, 900, 300)])
BOXES = np.array([[100, 300, 300, 400], [500, 200, 900, 300]])
IMAGE = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)


def test_colours_are_where_the_masks_are():
    colours = instance_colours(2)
    picture = pixels(draw_detections(IMAGE, MASKS, BOXES, ["worm 9%", "cell 8%"], colours, 0.5))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    for mask, colour in zip(MASKS, colours, strict=True):
        rows, columns = mask.nonzero()
        inside = picture[rows.min() + 10 : rows.max() - 10, columns.min() + 10 : columns.max() - 10]
        np.testing.assert_allclose(
            inside.reshape(-1, 3), [20 + 127.5 * colour] * inside[..., 0].size, atol=2
        )
    np.testing.assert_array_equal(picture[450:, :], 40)


def test_labels_have_the_colour_of_their_instance_and_are_there():
    colours = instance_colours(2)
    figure = draw_detections(IMAGE, MASKS, BOXES, ["worm 9%", "cell 8%"], colours)
    [ax] = figure.axes
    assert [t.get_text() for t in ax.texts] == ["worm 9%", "cell 8%"]
    for text, colour, mask in zip(ax.texts, colours, MASKS, strict=True):
        np.testing.assert_allclose(text.get_bbox_patch().get_facecolor()[:3], colour)
        x, y = text.get_position()
        rows, columns = mask.nonzero()
        gap = max(columns.min() - x, x - columns.max(), rows.min() - y, y - rows.max())
        assert 0 < gap < 60  # beside it


def test_outlines_run_around_instances_in_their_colours():
    colours = instance_colours(2)
    view = [
        InstanceView("", b, b[:2], *[np.zeros((2, 2))] * 4, mask)
        for b, mask in zip(BOXES.astype(float), MASKS, strict=True)
    ]
    for figure in (
        draw_detections(IMAGE, MASKS, BOXES, ["a", "b"], colours),
        draw_seeds(IMAGE, view, ["a", "b"], colours),
    ):
        lines = [c for c in figure.axes[0].collections if len(c.get_paths()[0].vertices)]
        assert len(lines) == 2
        for line, colour, box in zip(lines, colours, BOXES, strict=True):
            np.testing.assert_allclose(line.get_edgecolor()[0][:3], colour)
            points = line.get_paths()[0].vertices
            assert [*points.min(axis=0), *points.max(axis=0)] == box.tolist()


@pytest.mark.parametrize("label", ["cost $x_{$ 9%", "$\\foo$", "", " "])
def test_labels_are_drawn_letter_by_letter(label):
    figure = draw_detections(IMAGE, MASKS[:1], BOXES[:1], [label], instance_colours(1))
    assert pixels(figure).shape == (HEIGHT, WIDTH, 3)
    assert figure.axes[0].texts[0].get_text().replace("\\$", "$") == label


def test_very_flat_images_are_drawn():
    image = np.zeros((1, 3000, 3), dtype=np.uint8)
    none = np.zeros((0, 1, 3000), dtype=bool)
    figure = draw_detections(image, none, np.zeros((0, 4)), [], instance_colours(0))
    assert pixels(figure).shape == (1, 1600, 3)


def test_many_labels_are_smaller_and_few_are_not():
    image = np.full((300, 400, 3), 255, dtype=np.uint8)

    def font_sizes(count):
        masks = np.zeros((count, 300, 400), dtype=bool)
        for number, mask in enumerate(masks):
            mask[10 * (number % 28) : 10 * (number % 28) + 8, 20 * (number // 28) :][:, :9] = True
        boxes = np.zeros((count, 4))
        figure = draw_detections(image, masks, boxes, ["worm 94%"] * count, instance_colours(count))
        return {text.get_fontsize() for text in figure.axes[0].texts}

    (few,), (several,), (many,), (most,) = map(font_sizes, (1, 100, 200, 500))
    assert few == pytest.approx(0.013 * 1000 * 0.72)
    assert few > several > many
    assert most == pytest.approx(0.6 * few)  # and never smaller


def test_text_is_light_on_dark_and_dark_on_light():
    colours = np.array([[0.0, 0.0, 0.4], [1.0, 0.9, 0.6]])
    figure = draw_detections(IMAGE, MASKS, BOXES, ["a", "b"], colours)
    assert [t.get_color() for t in figure.axes[0].texts] == ["white", "black"]


def test_boxes_alone_are_drawn_as_boxes():
    colours = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    picture = pixels(draw_detections(IMAGE, None, BOXES, ["a", "b"], colours)).astype(int)
    assert picture[350, 100, 0] > 200 > 60 > picture[350, 100, 2]
    assert picture[250, 900, 2] > 200 > 60 > picture[250, 900, 0]
    np.testing.assert_array_equal(picture[350, 200], 40)


def test_nothing_found_is_the_image_itself():
    picture = pixels(draw_detections(IMAGE, MASKS[:0], BOXES[:0], [], instance_colours(0)))
    np.testing.assert_array_equal(picture, IMAGE)


@pytest.mark.parametrize("size", [(60, 90), (3000, 2000)])
def test_small_and_large_images_become_pictures_to_look_at(size):
    image = np.zeros((*size, 3), dtype=np.uint8)
    picture = pixels(draw_detections(image, None, np.zeros((0, 4)), [], instance_colours(0)))
    assert max(picture.shape) == (1000 if max(size) < 1000 else 1600)
    assert picture.shape[0] / picture.shape[1] == pytest.approx(size[0] / size[1], rel=0.01)


def seed_view(box: tuple[int, ...], mask: np.ndarray, peak: tuple[int, int]) -> InstanceView:
    weights = np.zeros((10, 10))
    weights[peak] = 1
    seed = np.array([box[0] + (peak[1] + 0.5) / 10 * (box[2] - box[0]),
                     box[1] + (peak[0] + 0.5) / 10 * (box[3] - box[1])])  # fmt: skip
    empty = np.zeros((10, 10))
    return InstanceView("", np.array(box, float), seed, weights, empty, empty, empty, mask)


def test_the_distribution_of_the_seed_is_where_it_is():
    colours = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    views = [
        seed_view((100, 300, 300, 400), MASKS[0], (2, 7)),
        seed_view((500, 200, 900, 300), MASKS[1], (5, 1)),
    ]
    figure = draw_seeds(IMAGE, views, ["a", "b"], colours)
    picture = pixels(figure).astype(int)
    for view, colour in zip(views, colours, strict=True):
        x, y = view.seed
        # Beside the cross, inside the cell of the grid.
        np.testing.assert_allclose(picture[int(y) + 3, int(x) + 6], 255 * colour, atol=25)
        crosses = [line for line in figure.axes[0].lines if line.get_marker() == "+"]
        assert any(np.allclose(line.get_xydata(), view.seed) for line in crosses)
    grey = picture[380, 150]
    assert np.ptp(grey) == 0  # no weight there


def test_labels_keep_off_each_other_and_off_instances():
    anchors = np.array([[[50, 40], [50, 60], [40, 50], [60, 50]]] * 3, dtype=float)
    sizes = np.full((3, 2), (20.0, 10.0))
    covered = np.zeros((100, 100), dtype=bool)
    covered[40:60, 40:60] = True
    covered[25:40, 30:70] = True  # above: somebody else
    corners = place_labels(anchors, sizes, covered)
    boxes = np.concatenate([corners, corners + sizes], axis=1).astype(int)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        assert not covered[y0:y1, x0:x1].any()
        for a0, b0, a1, b1 in boxes[:number]:
            assert min(x1, a1) <= max(x0, a0) or min(y1, b1) <= max(y0, b0)


def test_labels_stay_in_the_image():
    anchors = np.array([[[0, 0], [5, 99], [0, 50], [99, 50]]], dtype=float)
    covered = np.ones((100, 100), dtype=bool)
    [(x, y)] = place_labels(anchors, np.array([[30.0, 10.0]]), covered)
    assert 0 <= x <= 70
    assert 0 <= y <= 90


def test_colours_follow_instances_from_frame_to_frame():
    first = following_colours(MASKS)
    new = rectangle(0, 0, 50, 50)
    second = following_colours(np.array([new, MASKS[1], MASKS[0]]), MASKS, first)
    np.testing.assert_array_equal(second[1:], first[::-1])
    assert not any(np.allclose(second[0], c) for c in first)
    np.testing.assert_array_equal(following_colours(MASKS, MASKS[:0], first[:0]), first)
    assert following_colours(MASKS[:0], MASKS, first).shape == (0, 3)


def test_more_instances_than_colours_share_them_evenly():
    stripes = np.array([rectangle(10 * i, 0, 10 * i + 8, 20) for i in range(40)])
    first = following_colours(stripes[:1])
    colours = following_colours(stripes, stripes[:1], first)
    _, counts = np.unique(colours.round(6), axis=0, return_counts=True)
    assert counts.max() - counts.min() <= 1
