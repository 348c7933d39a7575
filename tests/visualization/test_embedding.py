import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rendered import seen

from semiconv_d2.visualization.embedding import (
    draw_coloring,
    draw_embedding,
    draw_map,
    principal_axes,
    principal_colours,
    thin_arrows,
)
from semiconv_d2.visualization.masks import PALETTE, instance_colours


def test_strongest_direction_is_red_and_the_next_is_green():
    y, x = torch.meshgrid(torch.linspace(0, 1, 20), torch.linspace(0, 1, 30), indexing="ij")
    features = torch.zeros(8, 20, 30)
    features[5], features[2] = 10 * x, y
    colours = principal_colours(features)
    assert colours.shape == (20, 30, 3)
    assert torch.corrcoef(torch.stack([colours[..., 0].flatten(), x.flatten()]))[0, 1] > 0.99
    assert torch.corrcoef(torch.stack([colours[..., 1].flatten(), y.flatten()]))[0, 1] > 0.99
    assert (colours[..., 2] == 0.5).all()  # nothing is left
    assert colours.min() >= 0
    assert colours.max() <= 1


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_a_constant_map_is_grey(dim):
    assert (principal_colours(torch.full((dim, 4, 5), 3.0)) == 0.5).all()


def test_the_same_map_has_the_same_colours():
    features = torch.randn(8, 10, 10)
    assert torch.equal(principal_colours(features), principal_colours(features.clone()))
    torch.testing.assert_close(  # wherever its origin is
        principal_colours(features), principal_colours(features + 7), atol=1e-4, rtol=0
    )


def test_shared_axes_give_the_same_colour_in_every_image():
    generator = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(8, *size, generator=generator) * s for size, s in (((9, 7), 1), ((4, 5), 9))
    ]
    maps[1][:, 2, 3] = maps[0][:, 5, 1]
    axes = principal_axes(maps)
    first, second = (axes.colours(m) for m in maps)
    assert torch.equal(first[5, 1], second[2, 3])
    assert first.shape == (9, 7, 3)
    alone = principal_colours(maps[0])
    assert (alone - first).abs().max() > 0.1


def test_axes_of_many_maps_are_those_of_their_pixels_in_one():
    maps = [torch.randn(4, 6, 5), torch.randn(4, 3, 8), torch.randn(4, 7)]
    together = torch.cat([m.flatten(1) for m in maps], dim=1)[:, None]
    for several, one in zip(principal_axes(maps), principal_axes([together]), strict=True):
        torch.testing.assert_close(several, one)


def test_a_single_map_has_the_colours_of_its_own_axes():
    features = torch.randn(5, 6, 7)
    assert torch.equal(principal_axes([features]).colours(features), principal_colours(features))


def test_pixels_that_are_not_finite_are_grey_and_change_no_other():
    features = torch.randn(4, 6, 6)
    broken = features.clone()
    broken[:, 0, 0] = float("nan")
    broken[1, 0, 1] = float("inf")
    colours = principal_colours(broken)
    assert colours.isfinite().all()
    assert (colours[0, 0] == 0.5).all()
    axes = principal_axes([features[:, 1:]])
    torch.testing.assert_close(principal_axes([broken[:, 1:]]).colours(broken)[1:],
                               axes.colours(features)[1:])  # fmt: skip
    assert (principal_colours(torch.full((3, 2, 2), float("nan"))) == 0.5).all()


def test_maps_of_more_pixels_than_quantiles_can_be_taken_of():
    large = torch.arange(6_000_000.0).view(1, 2000, 3000)  # torch.quantile refuses 2^24 values
    axes = principal_axes([large, large, large])
    colours = axes.colours(large[:, :1, :2])
    assert (colours[..., 0] == 0).all()
    assert axes.low.item() < axes.high.item()


def test_maps_for_tensorboard_are_enlarged():
    features = torch.zeros(3, 5, 6)
    features[0, 2, 3] = features[0, 0, 0] = 1.0
    picture = draw_map(features)
    assert picture.shape == (3, 20, 24)
    assert picture.dtype == torch.uint8
    assert (picture[:, 8:12, 12:16] == picture[:, :1, :1]).all()
    assert (picture[:, 8, 12] != picture[:, 8, 16]).any()


def test_arrows_start_on_the_grid_within_the_mask_and_end_where_pixels_point():
    rng = np.random.default_rng(0)
    votes, mask = rng.random((2, 12, 20)) * 50, np.zeros((12, 20), dtype=bool)
    mask[2:10, 3:17] = True
    starts, ends = thin_arrows(votes, mask, 4, most=25)
    columns, rows = (starts - 0.5).astype(int).T
    assert mask[rows, columns].all()
    assert set(rows % 4) == set(columns % 4) == {2}
    assert len(starts) == mask[2::4, 2::4].sum()
    for (x, y), end in zip(starts, ends, strict=True):
        np.testing.assert_array_equal(end, votes[:, int(y), int(x)])


def test_a_large_instance_has_no_more_arrows_than_can_be_read():
    labels = np.full((120, 160), -1)
    labels[:100, :100] = 0
    labels[105:117, 105:135] = 1
    columns, rows = np.meshgrid(np.arange(160), np.arange(120))
    starts, ends = thin_arrows(np.stack([columns, rows]), labels, 5, most=16)
    owner = labels[(starts[:, 1] - 0.5).astype(int), (starts[:, 0] - 0.5).astype(int)]
    assert (owner == 0).sum() == 16
    x, y = starts[owner == 0].T
    assert set(x) == set(y) == {12.5, 37.5, 62.5, 87.5}  # evenly over all of it
    assert (owner == 1).sum() == 12  # 30 × 12 pixels, every fifth both ways
    np.testing.assert_array_equal(ends, starts - 0.5)


def test_every_instance_has_an_arrow():
    labels = np.full((40, 40), -1)
    labels[20:40, 20:40] = 0
    labels[1:4, 1:4] = 7
    labels[0, 30] = 3
    votes = np.zeros((2, 40, 40))
    starts, ends = thin_arrows(votes, labels, 10, most=25)
    columns, rows = (starts - 0.5).astype(int).T
    found = labels[rows, columns]
    assert sorted(found) == [0, 0, 0, 0, 3, 7]
    assert starts[found == 7].tolist() == [[2.5, 2.5]]  # the middle of it
    assert ends.shape == starts.shape
    starts, ends = thin_arrows(votes, np.full((40, 40), -1), 10, most=25)
    assert starts.shape == ends.shape == (0, 2)


@pytest.fixture
def arrow_picture():
    image = np.full((60, 90, 3), 255, dtype=np.uint8)
    colours = np.full((15, 23, 3), 0.25)
    starts, ends = np.array([[20.5, 30.5], [80.0, 10.0]]), np.array([[60.5, 30.5], [80.0, 50.0]])
    figure = draw_embedding(image, colours, starts, ends, PALETTE[[0, 4]])
    FigureCanvasAgg(figure).draw()
    return figure


def test_arrows_lie_between_their_ends(arrow_picture):
    left, right = arrow_picture.axes
    for x, y, colour in ((40.5, 30.5, PALETTE[0]), (80.0, 30.0, PALETTE[4])):
        np.testing.assert_allclose(seen(arrow_picture, left, x, y), colour, atol=0.02)
    for x, y in ((66.0, 30.5), (40.5, 36.0), (80.0, 54.0), (80.0, 6.0)):  # past the ends, beside
        np.testing.assert_allclose(seen(arrow_picture, left, x, y), 1, atol=0.02)
    for x, y in ((2, 2), (88, 58)):  # stretched over the whole image
        np.testing.assert_allclose(seen(arrow_picture, right, x, y), 0.25, atol=0.02)


def test_heads_are_at_the_ends(arrow_picture):
    """The arrow is wide just before its end and gone just after it."""
    left = arrow_picture.axes[0]

    def width(x):
        ys = np.linspace(25, 36, 200)
        return np.mean(
            [np.abs(seen(arrow_picture, left, x, y) - PALETTE[0]).max() < 0.1 for y in ys]
        )

    assert width(59.3) > 1.5 * width(40) > 0
    assert width(62) == 0


def test_no_arrows_and_narrow_images_are_drawn():
    none = np.zeros((0, 2))
    figure = draw_embedding(
        np.zeros((90, 10, 3), np.uint8), np.zeros((9, 1, 3)), none, none, np.zeros((0, 3))
    )
    FigureCanvasAgg(figure).draw()
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert boxes[0].x1 < boxes[1].x0


def test_image_embedding_and_instances_lie_side_by_side():
    image = torch.zeros(3, 40, 40)
    image[:, :20] = 200.0
    embedding = torch.zeros(4, 40, 40)
    embedding[0, :, 20:] = 5.0
    masks = torch.zeros(1, 40, 40, dtype=torch.bool)
    masks[:, 20:30, 20:30] = True
    picture = draw_coloring(image, embedding, masks)
    assert picture.dtype == torch.uint8
    assert picture.shape == (3, 40, 120)
    grey, colours, painted = picture.split(40, dim=2)
    assert (grey[:, :20] == 200).all()
    assert (grey[:, 20:] == 0).all()
    assert len({tuple(c) for c in colours.flatten(1).T.tolist()}) == 2
    assert (colours[:, 5, 5] != colours[:, 5, 35]).any()
    expected = np.round(255 * 0.65 * instance_colours(1)[0])
    np.testing.assert_allclose(painted[:, 25, 25], expected, atol=1)
    assert (painted[:, 35, 5] == 0).all()
