import pytest
import torch

from semiconv_d2.visualization.embedding import principal_colours


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
