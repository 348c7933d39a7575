import warnings

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rendered import seen

from semiconv_d2.visualization.masks import instance_colours
from semiconv_d2.visualization.regions import (
    GAP,
    MAX_REGIONS,
    SCALE,
    InstanceView,
    draw_instance_views,
    draw_regions,
    place_beside,
)


def test_each_column_shows_its_values_scaled_to_its_largest():
    weights = torch.zeros(2, 3, 3)
    weights[0, 1, 2], weights[0, 0, 0] = 0.02, 0.01
    masks = torch.zeros(2, 3, 3, dtype=torch.bool)
    masks[1, 2, 0] = True
    picture = draw_regions(weights, masks)
    tile = 3 * SCALE + GAP
    assert picture.shape == (3, 2 * tile - GAP, 2 * tile - GAP)
    assert picture.dtype == torch.uint8

    def at(region, column, row, col):
        return picture[0, region * tile + row * SCALE, column * tile + col * SCALE].item()

    assert at(0, 0, 1, 2) == 255
    assert at(0, 0, 0, 0) == 128
    assert at(0, 0, 2, 2) == 0
    assert at(1, 1, 2, 0) == 255
    assert picture[0, 0, 3 * SCALE].item() == 255  # the gap is white


def test_no_more_regions_than_can_be_read():
    picture = draw_regions(torch.rand(50, 3, 3))
    assert picture.shape[1] == MAX_REGIONS * (3 * SCALE + GAP) - GAP


def instance_view(**changes) -> InstanceView:
    """A region of 4 × 4 sample points over the box (20, 10, 60, 30) of an image 80 × 50."""
    weights = np.zeros((4, 4))
    weights[1, 2], weights[3, 0] = 0.9, 0.1
    kernel = np.full((4, 4), -4.0)
    kernel[1, 2] = 0.0
    logits = np.full((4, 4), -8.0)
    logits[:2, 2:] = 8.0
    mask = np.zeros((50, 80), dtype=bool)
    mask[10:20, 40:60] = True
    values = {
        "label": "worm 97 %",
        "box": np.array([20.0, 10.0, 60.0, 30.0]),
        "seed": np.array([43.5, 18.5]),
        "seed_weights": weights,
        "log_kernel": kernel,
        "logits": logits,
        "rescored": -logits,
        "mask": mask,
    }
    return InstanceView(**(values | changes))


IMAGE = np.full((50, 80, 3), 255, dtype=np.uint8)


def rendered(views, image=IMAGE):
    figure = draw_instance_views(image, views, instance_colours(len(views)))
    FigureCanvasAgg(figure).draw()
    panels = [ax for ax in figure.axes if len(ax.images) and ax.get_facecolor()[0] != 1]
    return figure, [panels[i : i + 6] for i in range(0, len(panels), 6)]


def test_arrays_lie_where_their_samples_are_in_the_image():
    figure, [row] = rendered([instance_view()])
    _, seed, kernel, logits, rescored, mask = row
    at = [(45.0, 11.0), (25.0, 28.5), (55.0, 22.5)]  # x and y within three samples
    expected = {
        seed: colormaps["viridis"](np.sqrt([0, 1 / 9, 0])),
        logits: colormaps["PuOr_r"]([1.0, 0.0, 0.0]),
        rescored: colormaps["PuOr_r"]([0.0, 1.0, 1.0]),
    }
    for ax, colours in expected.items():
        for (x, y), colour in zip(at, colours, strict=True):
            np.testing.assert_allclose(seen(figure, ax, x, y), colour[:3], atol=0.02)
    np.testing.assert_allclose(
        seen(figure, seed, 41, 15.5), colormaps["viridis"](1.0)[:3], atol=0.02
    )
    np.testing.assert_allclose(
        seen(figure, kernel, 41, 15.5), colormaps["cividis"](1.0)[:3], atol=0.02
    )
    np.testing.assert_allclose(
        seen(figure, kernel, 25, 22), colormaps["cividis"](0.0)[:3], atol=0.02
    )
    painted = 0.35 + 0.65 * instance_colours(1)[0]
    np.testing.assert_allclose(seen(figure, mask, 55, 16), painted, atol=0.02)
    np.testing.assert_allclose(seen(figure, mask, 30, 16), 1, atol=0.02)
    for ax in row[1:5]:  # grey around the region
        np.testing.assert_allclose(seen(figure, ax, 40, 35), 0.9, atol=0.01)


def test_the_seed_is_marked_in_every_panel():
    _, rows = rendered([instance_view(), instance_view(seed=np.array([25.0, 12.0]))])
    for row, seed in zip(rows, ((43.5, 18.5), (25.0, 12.0)), strict=True):
        assert len(row) == 6
        for ax in row:
            crosses = [line for line in ax.lines if line.get_marker() == "+"]
            assert {line.get_color() for line in crosses} == {"black", "white"}
            for line in crosses:
                assert line.get_xydata().tolist() == [list(seed)]


def test_both_logits_have_one_symmetric_scale_in_all_rows():
    _, rows = rendered([instance_view(), instance_view(logits=np.full((4, 4), 3.0))])
    norms = {id(ax.images[0].norm) for row in rows for ax in row[3:5]}
    norm = rows[0][3].images[0].norm
    assert len(norms) == 1
    assert -norm.vmin == norm.vmax == 6


def test_columns_are_named_once_and_rows_by_their_instance():
    figure, rows = rendered(
        [instance_view(), instance_view(label="a very long name of a class 8 %")]
    )
    assert all(ax.get_title() for ax in rows[0])
    assert not any(ax.get_title() for ax in rows[1])
    assert rows[0][0].get_ylabel().replace("\N{NO-BREAK SPACE}", " ") == "worm 97 %"
    for row in rows:
        assert row[0].yaxis.label.get_window_extent().x0 >= 0
    assert len([ax for ax in figure.axes if ax.get_xlabel()]) == 3  # colour bars


def test_colour_bars_have_the_colours_of_the_panels_above_them():
    figure, [row] = rendered([instance_view()])
    bars = [ax for ax in figure.axes if ax.get_xlabel()]
    values = [(0.02, 0.1, 0.3, 0.8), (-3.5, -2.0, -1.0, -0.1), (-5.0, -1.0, 2.0, 5.5)]
    for bar, panels, some in zip(bars, (row[1:2], row[2:3], row[3:5]), values, strict=True):
        extent, above = bar.get_window_extent(), [p.get_window_extent() for p in panels]
        assert above[0].x0 < extent.x0 < extent.x1 < above[-1].x1
        assert extent.y1 < above[0].y0
        for panel in panels:
            [picture] = panel.images
            assert bar.get_xlim() == (picture.norm.vmin, picture.norm.vmax)
            for value in some:
                colour = picture.cmap(picture.norm(value))[:3]
                y = sum(bar.get_ylim()) / 2
                np.testing.assert_allclose(seen(figure, bar, value, y), colour, atol=0.04)


def test_the_box_is_outlined_in_the_first_panel():
    box = np.array([20.0, 10.0, 60.0, 30.0])
    _, rows = rendered([instance_view(), instance_view(box=box + (3, 2, 9, 4))])
    corners = {(20, 10), (60, 10), (60, 30), (20, 30)}, {(23, 12), (69, 12), (69, 34), (23, 34)}
    for (first, *others), expected in zip(rows, corners, strict=True):
        lines = [line for line in first.lines if line.get_marker() != "+"]
        assert [line.get_color() for line in lines] == ["black", "white"]  # the thin one on top
        assert lines[0].get_linewidth() > lines[1].get_linewidth()
        for line in lines:
            points = line.get_xydata()
            assert {tuple(p) for p in points} == expected
            assert len(points) == 5
            assert ((np.diff(points, axis=0) != 0).sum(axis=1) == 1).all()  # along its sides
        assert all(line.get_marker() == "+" for ax in others for line in ax.lines)


def test_the_box_is_whole_and_in_the_middle_of_square_panels():
    _, [row] = rendered([instance_view(box=np.array([-30.0, 20.0, 10.0, 70.0]))])  # partly outside
    for ax in row:
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert right - left == pytest.approx(bottom - top)
        assert left < -30 < 10 < right
        assert top < 20 < 70 < bottom
        assert (left + right) / 2 == pytest.approx(-10)
        extent = ax.get_window_extent()
        assert extent.width == pytest.approx(extent.height)


def test_values_without_a_range_are_drawn():
    flat = instance_view(
        seed_weights=np.full((4, 4), 1 / 16),
        log_kernel=np.zeros((4, 4)),
        logits=np.zeros((4, 4)),
        rescored=np.zeros((4, 4)),
        mask=np.zeros((50, 80), dtype=bool),
    )
    broken = flat._replace(log_kernel=np.full((4, 4), -np.inf), logits=np.full((4, 4), np.nan))
    warnings.simplefilter("error")
    for view in (flat, broken, flat._replace(box=np.array([5.0, 5.0, 5.0, 5.0]))):
        figure, [row] = rendered([view])
        assert len(row) == 6
    figure, [row] = rendered([flat])
    middle = colormaps["PuOr_r"](0.5)[:3]
    np.testing.assert_allclose(seen(figure, row[3], 25, 25), middle, atol=0.02)


def test_no_instance_is_said():
    figure = draw_instance_views(IMAGE, [], instance_colours(0))
    assert "no instance" in [ax.get_title() for ax in figure.axes]


def test_every_instance_has_its_row_and_colour():
    _, rows = rendered([instance_view(label=f"{i}") for i in range(12)])
    assert [row[0].get_ylabel() for row in rows] == [f"{i}" for i in range(12)]
    for row, colour in zip(rows, instance_colours(12), strict=True):
        (picture,) = row[5].images
        left, _, _, top = picture.get_extent()
        painted = picture.get_array()
        inside, outside = (painted[y - int(top), x - int(left)] for x, y in ((50, 15), (30, 30)))
        np.testing.assert_allclose(inside, 0.35 + 0.65 * colour)
        assert outside.tolist() == [1, 1, 1]


def test_a_mask_at_the_border_has_a_closed_outline():
    mask = np.zeros((50, 80), dtype=bool)
    mask[:10, :15] = True
    view = instance_view(mask=mask, box=np.array([0.0, 0.0, 15.0, 10.0]))
    _, [row] = rendered([view])
    outlines = [c for c in row[0].collections if len(c.get_paths())]
    assert len(outlines) == 2
    for outline in outlines:
        vertices = np.concatenate([p.vertices for p in outline.get_paths()])
        assert vertices.min(axis=0).tolist() == [0, 0]
        assert vertices.max(axis=0).tolist() == [15, 10]


def test_pictures_are_placed_beside_each_other_on_white():
    low, high = torch.zeros(3, 4, 5, dtype=torch.uint8), torch.full((3, 9, 6), 7, dtype=torch.uint8)
    for left, right in ((low, high), (high, low)):
        picture = place_beside(left, right)
        assert picture.shape == (3, 9, 11 + GAP)
        assert picture.dtype == torch.uint8
        width = left.shape[2]
        assert torch.equal(picture[:, : left.shape[1], :width], left)
        assert torch.equal(picture[:, : right.shape[1], width + GAP :], right)
        assert (picture[:, :, width : width + GAP] == 255).all()
        assert (picture == 255).sum() == 3 * (9 * GAP + 5 * 5)
