import math

import pytest
import torch

from semiconv_d2.ops import EPSILON, kernel_cross_entropy, segment_embedding_loss


def naive_embedding_loss(embedding, masks, epsilon, reduction):
    """Equation (5), pixel by pixel."""
    total, segments = 0.0, 0
    for psi, mask in zip(embedding, masks, strict=True):
        pixels = [psi[:, i, j].tolist() for i, j in mask.nonzero().tolist()]
        if not pixels:
            continue
        segments += 1
        dim = len(pixels[0])
        mean = [sum(p[d] for p in pixels) / len(pixels) for d in range(dim)]
        for p in pixels:
            distance = math.sqrt(sum((p[d] - mean[d]) ** 2 for d in range(dim)) + epsilon)
            total += distance / len(pixels)
    return total / max(segments, 1) if reduction == "mean" else total


@pytest.mark.parametrize("epsilon", [0.0, EPSILON])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_embedding_loss_against_loops(reduction, epsilon):
    embedding = torch.randn(5, 3, 6, 7, dtype=torch.float64)
    masks = torch.rand(5, 6, 7) > 0.6
    masks[1] = False  # an empty segment
    masks[2] = False
    masks[2, 3, 3] = True  # a segment of one pixel
    loss = segment_embedding_loss(embedding, masks, reduction=reduction, epsilon=epsilon)
    expected = naive_embedding_loss(embedding, masks, epsilon, reduction)
    assert math.isclose(loss.item(), expected, rel_tol=1e-12)


def test_embedding_loss_of_weights_is_a_weighted_mean():
    """A pixel of weight 1/2 beside one of weight 1, as soft masks have them."""
    embedding = torch.tensor([[[[0.0, 3.0]]]], dtype=torch.float64)
    loss = segment_embedding_loss(embedding, torch.tensor([[[1.0, 0.5]]]), epsilon=0.0)
    assert math.isclose(loss.item(), (1.0 * 1.0 + 0.5 * 2.0) / 1.5, rel_tol=1e-12)


def test_embedding_loss_gradcheck():
    embedding = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(3, 3, 3) > 0.4
    assert torch.autograd.gradcheck(lambda x: segment_embedding_loss(x, masks), embedding)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("kind", ["empty", "one pixel", "full"])
def test_embedding_loss_is_finite(kind, scale):
    embedding = (scale * torch.randn(2, 8, 5, 5)).requires_grad_()
    masks = torch.zeros(2, 5, 5, dtype=torch.bool)
    if kind == "one pixel":
        masks[:, 2, 2] = True
    elif kind == "full":
        masks[:] = True
    loss = segment_embedding_loss(embedding, masks)
    [gradient] = torch.autograd.grad(loss, embedding)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    if kind == "empty":
        assert loss == 0
    if kind == "one pixel":
        assert loss.item() == pytest.approx(math.sqrt(EPSILON))


def test_losses_without_regions_keep_a_graph():
    embedding = torch.zeros(0, 8, 5, 5, requires_grad=True)
    loss = segment_embedding_loss(embedding, torch.zeros(0, 5, 5, dtype=torch.bool))
    assert loss == 0
    assert loss.requires_grad
    log_k = torch.zeros(0, 5, 5, requires_grad=True)
    loss = kernel_cross_entropy(log_k, torch.zeros(0, 5, 5, dtype=torch.bool))
    assert loss == 0
    assert loss.requires_grad


def test_kernel_cross_entropy_against_loops():
    log_k = -torch.rand(2, 3, 4, dtype=torch.float64) * 3 - 1e-3
    target = torch.rand(2, 3, 4) > 0.5
    weights = torch.rand(2, 3, 4) > 0.3
    total, count = 0.0, 0
    for value, y, w in zip(
        log_k.flatten().tolist(), target.flatten().tolist(), weights.flatten().tolist(), strict=True
    ):
        if w:
            k = math.exp(value)
            total -= math.log(k) if y else math.log(1 - k)
            count += 1
    loss = kernel_cross_entropy(log_k, target, weights)
    assert math.isclose(loss.item(), total / count, rel_tol=1e-9)


def test_kernel_cross_entropy_equals_the_library_s_where_that_is_accurate():
    log_k = -torch.rand(2, 3, 4) * 3 - 0.1
    target = torch.rand(2, 3, 4)  # soft targets too
    expected = torch.nn.functional.binary_cross_entropy(log_k.exp(), target)
    torch.testing.assert_close(kernel_cross_entropy(log_k, target), expected)


def test_kernel_cross_entropy_gradcheck():
    log_k = (-torch.rand(2, 3, 3, dtype=torch.float64) - 0.1).requires_grad_()
    target = torch.rand(2, 3, 3) > 0.5
    assert torch.autograd.gradcheck(lambda x: kernel_cross_entropy(x, target), log_k)


@pytest.mark.parametrize("value", [-1e-7, -1e-3, -1.0, -50.0, -1e6, -1e30])
def test_kernel_cross_entropy_is_finite(value):
    log_k = torch.full((1, 2, 2), value, requires_grad=True)
    target = torch.tensor([[[True, False], [True, False]]])
    loss = kernel_cross_entropy(log_k, target)
    [gradient] = torch.autograd.grad(loss, log_k)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_no_pixel_counts():
    log_k = torch.full((1, 2, 2), -1.0, requires_grad=True)
    loss = kernel_cross_entropy(log_k, torch.ones(1, 2, 2), torch.zeros(1, 2, 2))
    assert loss == 0
    assert torch.autograd.grad(loss, log_k)[0].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_cross_entropy_of_half_precision(dtype):
    log_k = torch.tensor([[[-0.001, -1.0], [-20.0, -1000.0]]]).to(dtype).requires_grad_()
    target = torch.tensor([[[False, True], [False, True]]])
    with torch.autocast("cpu", dtype=dtype):
        loss = kernel_cross_entropy(log_k, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, kernel_cross_entropy(log_k.detach().float(), target))
    assert torch.isfinite(torch.autograd.grad(loss, log_k)[0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_under_autocast(dtype):
    embedding = (300 * torch.randn(2, 8, 14, 14)).to(dtype).requires_grad_()
    masks = torch.rand(2, 14, 14) > 0.5
    with torch.autocast("cpu", dtype=dtype):
        loss = segment_embedding_loss(embedding, masks)
    expected = segment_embedding_loss(embedding.detach().double(), masks)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    [gradient] = torch.autograd.grad(loss, embedding)
    assert torch.isfinite(gradient).all()
