import pytest
import torch
from torchvision.ops import roi_align

from semiconv_d2.ops import map_coordinates, region_coordinates

BOXES = torch.tensor([[10.0, 20.0, 42.0, 36.0], [-8.0, 3.5, 9.25, 3.75]], dtype=torch.float64)


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


def test_no_regions():
    assert region_coordinates(torch.zeros(0, 4), 5, torch.zeros(0)).shape == (0, 2, 5, 5)
