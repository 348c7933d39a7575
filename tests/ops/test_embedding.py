import pytest
import torch
from torchvision.ops import roi_align

from semiconv_d2.ops import map_coordinates, mix, region_coordinates, sample_map, scale_gradient

BOXES = torch.tensor([[10.0, 20.0, 42.0, 36.0], [-8.0, 3.5, 9.25, 3.75]], dtype=torch.float64)


# --- Coordinates.


def test_map_coordinates_are_pixel_centres():
    coordinates = map_coordinates(3, 5, stride=8.0, unit=4.0, dtype=torch.float64)
    assert coordinates.shape == (2, 3, 5)
    for row in range(3):
        for column in range(5):
            x, y = coordinates[:, row, column].tolist()
            assert x == (column + 0.5) * 8 / 4
            assert y == (row + 0.5) * 8 / 4


@pytest.mark.parametrize("unit", [4.0, torch.tensor([4.0, 32.0], dtype=torch.float64)])
def test_region_coordinates_are_sample_points(unit):
    side = 7
    coordinates = region_coordinates(BOXES, side, unit)
    units = unit.tolist() if isinstance(unit, torch.Tensor) else [unit, unit]
    for region, (x0, y0, x1, y1) in enumerate(BOXES.tolist()):
        for row in range(side):
            for column in range(side):
                x = x0 + (column + 0.5) * (x1 - x0) / side
                y = y0 + (row + 0.5) * (y1 - y0) / side
                expected = torch.tensor([x, y], dtype=torch.float64) / units[region]
                torch.testing.assert_close(coordinates[region, :, row, column], expected)


def test_region_coordinates_lie_where_aligned_roi_align_samples():
    """Inside the image, pooling the map of coordinates gives the same."""
    stride, side = 4.0, 6
    boxes = torch.tensor([[17.0, 9.0, 71.5, 40.25], [8.0, 8.0, 9.0, 60.0]])
    rois = torch.cat([torch.zeros(2, 1), boxes], dim=1)
    whole = map_coordinates(24, 32, stride=stride, unit=stride)
    expected = roi_align(whole[None], rois, side, 1 / stride, sampling_ratio=0, aligned=True)
    torch.testing.assert_close(region_coordinates(boxes, side, stride), expected, atol=1e-4, rtol=0)


def test_coordinates_of_no_regions():
    assert region_coordinates(torch.zeros(0, 4), 5, torch.zeros(0)).shape == (0, 2, 5, 5)


# --- Mixing.


def test_additive_changes_the_geometric_channels_alone():
    features = torch.randn(3, 8, 4, 6)
    coordinates = map_coordinates(4, 6)
    mixed = mix(features, coordinates)
    torch.testing.assert_close(mixed[:, :2], features[:, :2] + coordinates)
    assert torch.equal(mixed[:, 2:], features[:, 2:])


def test_two_channels_are_geometric_only():
    assert torch.equal(mix(torch.zeros(2, 4, 6), map_coordinates(4, 6)), map_coordinates(4, 6))


def test_none_is_convolutional():
    features = torch.randn(3, 8, 4, 6)
    assert mix(features, map_coordinates(4, 6), "none") is features


def test_bad_options_name_their_choices():
    with pytest.raises(ValueError, match="'additive', 'none'"):
        mix(torch.zeros(8, 4, 6), map_coordinates(4, 6), "multiplicative")
    with pytest.raises(ValueError, match="at least 2 embedding channels, not 1"):
        mix(torch.zeros(1, 4, 6), map_coordinates(4, 6))


def test_one_dimensional_dilemma():
    """Section 1's signal: x_u = min(1 − u, 1 + u) on [−1, 1], periodic; segments [−1, 1] + 2k.

    A convolutional colouring gives all segments the same colour, whatever its weights; the
    semi-convolutional Φ_u = u + (1 − x_u)·ẋ_u gives 2k all over the interior of segment k.
    """
    cells, segments = 64, 5  # cells to a segment
    step = 2 / cells
    u = torch.arange(-cells // 2, cells * segments - cells // 2, dtype=torch.float64)
    u = (u + 0.5) * step  # pixel centres from −1; none lies on a peak or a border
    k = torch.div(u + 1, 2, rounding_mode="floor")
    x = 1 - (u - 2 * k).abs()

    # A convolutional colouring: any network of translation-invariant, local filters.
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(4, 1, 9, generator=generator, dtype=torch.float64)
    second = torch.randn(1, 4, 5, generator=generator, dtype=torch.float64)
    hidden = torch.conv1d(x[None, None], first).relu()
    colours = torch.conv1d(hidden, second)[0, 0]  # no padding: 6 cells less at either end
    interior = colours[cells - 6 : -(cells - 6)].view(segments - 2, cells)
    assert interior.std() > 0.1  # not constant, so it could have told them apart
    torch.testing.assert_close(interior[0], interior[1])
    torch.testing.assert_close(interior[1], interior[2])

    # The semi-convolutional one: Φ is convolutional, a function of x and of its derivative.
    slope = torch.conv1d(x[None, None], torch.tensor([[[-0.5, 0.0, 0.5]]], dtype=x.dtype) / step)
    phi = (1 - x[1:-1]) * slope[0, 0]
    psi = phi + u[1:-1]
    # A cell at a border or at a peak, where the derivative jumps, sees both its sides.
    smooth = (x[1:-1] > step) & (x[1:-1] < 1 - step)
    torch.testing.assert_close(psi[smooth], 2 * k[1:-1][smooth])
    assert smooth.sum() == segments * (cells - 4)


# --- Sampling.


def naive_sample(feature_map, x, y, stride):
    """Bilinear between the four centres around a point, the outermost ones repeated."""
    height, width = feature_map.shape[-2:]
    column, row = x / stride - 0.5, y / stride - 0.5
    left, top = int(column // 1), int(row // 1)
    value = 0.0
    for j in (left, left + 1):
        for i in (top, top + 1):
            weight = (1 - abs(column - j)) * (1 - abs(row - i))
            inside = feature_map[:, min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
            value = value + weight * inside
    return value


@pytest.mark.parametrize("stride", [1.0, 4.0])
def test_sampling_against_loops(stride):
    feature_map = torch.randn(3, 5, 7, dtype=torch.float64)
    size = torch.tensor([7.0, 5.0], dtype=torch.float64) * stride
    points = torch.rand(4, 6, 2, dtype=torch.float64) * size
    sampled = sample_map(feature_map, points, stride)
    assert sampled.shape == (3, 4, 6)
    for i in range(4):
        for j in range(6):
            expected = naive_sample(feature_map, *points[i, j].tolist(), stride)
            torch.testing.assert_close(sampled[:, i, j], expected)


def test_sampling_at_centres_of_cells_gives_the_map_itself():
    feature_map = torch.randn(2, 6, 9)
    points = map_coordinates(6, 9, stride=4.0).permute(1, 2, 0)
    torch.testing.assert_close(sample_map(feature_map, points, stride=4.0), feature_map)


def test_sampling_a_map_of_coordinates_gives_the_points_where_centres_surround_them():
    coordinates = map_coordinates(10, 10, stride=4.0)
    points = 2 + 36 * torch.rand(50, 2)
    torch.testing.assert_close(sample_map(coordinates, points, stride=4.0).T, points)


def test_sampling_at_no_points_keeps_a_graph():
    feature_map = torch.randn(3, 5, 7, requires_grad=True)
    sampled = sample_map(feature_map, torch.zeros(0, 2))
    assert sampled.shape == (3, 0)
    assert torch.autograd.grad(sampled.sum(), feature_map)[0].eq(0).all()


def test_sampling_gradcheck():
    feature_map = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    points = torch.rand(5, 2, dtype=torch.float64) * 3
    assert torch.autograd.gradcheck(lambda x: sample_map(x, points), feature_map)


# --- The gradient.


def test_scale_gradient_is_the_identity_forward_and_scales_backward():
    x = torch.randn(4, 5, requires_grad=True)
    y = scale_gradient(x, 0.1)
    assert torch.equal(y, x)
    gradient = torch.randn(4, 5)
    [scaled] = torch.autograd.grad(y, x, gradient)
    assert torch.equal(scaled, gradient * 0.1)


def test_with_scale_zero_no_gradient_flows():
    x = torch.randn(3, requires_grad=True)
    y = scale_gradient(x, 0.0)
    assert torch.equal(y, x)
    assert not y.requires_grad


def test_second_derivative_is_scaled_once_more():
    x = torch.tensor(3.0, requires_grad=True)
    [first] = torch.autograd.grad(scale_gradient(x, 0.5) ** 2, x, create_graph=True)
    assert first.item() == 3.0
    [second] = torch.autograd.grad(first, x)
    assert second.item() == 0.5
