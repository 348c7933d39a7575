import pytest
import torch

from semiconv_d2.ops import map_coordinates, mix


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
