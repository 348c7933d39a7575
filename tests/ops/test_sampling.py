import pytest
import torch

from semiconv_d2.ops import map_coordinates, sample_map


def naive(feature_map, x, y, stride):
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
def test_against_loops(stride):
    feature_map = torch.randn(3, 5, 7, dtype=torch.float64)
    size = torch.tensor([7.0, 5.0], dtype=torch.float64) * stride
    points = torch.rand(4, 6, 2, dtype=torch.float64) * size
    sampled = sample_map(feature_map, points, stride)
    assert sampled.shape == (3, 4, 6)
    for i in range(4):
        for j in range(6):
            expected = naive(feature_map, *points[i, j].tolist(), stride)
            torch.testing.assert_close(sampled[:, i, j], expected)


def test_centres_of_cells_give_the_map_itself():
    feature_map = torch.randn(2, 6, 9)
    points = map_coordinates(6, 9, stride=4.0).permute(1, 2, 0)
    torch.testing.assert_close(sample_map(feature_map, points, stride=4.0), feature_map)


def test_a_map_of_coordinates_gives_the_points_where_centres_surround_them():
    coordinates = map_coordinates(10, 10, stride=4.0)
    points = 2 + 36 * torch.rand(50, 2)
    torch.testing.assert_close(sample_map(coordinates, points, stride=4.0).T, points)


def test_no_points_keep_a_graph():
    feature_map = torch.randn(3, 5, 7, requires_grad=True)
    sampled = sample_map(feature_map, torch.zeros(0, 2))
    assert sampled.shape == (3, 0)
    assert torch.autograd.grad(sampled.sum(), feature_map)[0].eq(0).all()


def test_gradcheck():
    feature_map = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    points = torch.rand(5, 2, dtype=torch.float64) * 3
    assert torch.autograd.gradcheck(lambda x: sample_map(x, points), feature_map)
