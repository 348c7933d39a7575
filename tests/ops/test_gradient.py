import torch

from semiconv_d2.ops import scale_gradient


def test_identity_forward_and_scaled_backward():
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
