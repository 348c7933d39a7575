import torch

from semiconv_d2.visualization.regions import GAP, MAX_REGIONS, SCALE, draw_regions


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
