import math

import pytest
import torch

from semiconv_d2.ops import (
    EPSILON,
    expected_iou,
    kernel_cross_entropy,
    log_odds,
    margin_loss,
    pixel_embedding_loss,
    pixel_kernel_loss,
    segment_embedding_loss,
    segment_means,
)


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
    loss = kernel_cross_entropy(log_odds(log_k), torch.zeros(0, 5, 5, dtype=torch.bool))
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
    loss = kernel_cross_entropy(log_odds(log_k), target, weights)
    assert math.isclose(loss.item(), total / count, rel_tol=1e-9)


def test_kernel_cross_entropy_equals_the_library_s_where_that_is_accurate():
    log_k = -torch.rand(2, 3, 4) * 3 - 0.1
    target = torch.rand(2, 3, 4)  # soft targets too
    expected = torch.nn.functional.binary_cross_entropy(log_k.exp(), target)
    torch.testing.assert_close(kernel_cross_entropy(log_odds(log_k), target), expected)


def test_kernel_cross_entropy_gradcheck():
    log_k = (-torch.rand(2, 3, 3, dtype=torch.float64) - 0.1).requires_grad_()
    target = torch.rand(2, 3, 3) > 0.5
    assert torch.autograd.gradcheck(lambda x: kernel_cross_entropy(log_odds(x), target), log_k)


@pytest.mark.parametrize("value", [-1e-7, -1e-3, -1.0, -50.0, -1e6, -1e30])
def test_kernel_cross_entropy_is_finite(value):
    log_k = torch.full((1, 2, 2), value, requires_grad=True)
    target = torch.tensor([[[True, False], [True, False]]])
    loss = kernel_cross_entropy(log_odds(log_k), target)
    [gradient] = torch.autograd.grad(loss, log_k)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_no_pixel_counts():
    log_k = torch.full((1, 2, 2), -1.0, requires_grad=True)
    loss = kernel_cross_entropy(log_odds(log_k), torch.ones(1, 2, 2), torch.zeros(1, 2, 2))
    assert loss == 0
    assert torch.autograd.grad(loss, log_k)[0].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_cross_entropy_of_half_precision(dtype):
    odds = torch.tensor([[[7.0, -0.5], [-20.0, -1000.0]]]).to(dtype).requires_grad_()
    target = torch.tensor([[[False, True], [False, True]]])
    with torch.autocast("cpu", dtype=dtype):
        loss = kernel_cross_entropy(odds, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, kernel_cross_entropy(odds.detach().float(), target))
    assert torch.isfinite(torch.autograd.grad(loss, odds)[0]).all()


def test_kernel_cross_entropy_keeps_its_precision_where_k_is_almost_one():
    """As close as ε lets a pixel come to the seed, for σ = 100."""
    log_k = torch.tensor([[[-1e-4, -1e-3]]])
    target = torch.tensor([[[True, False]]])
    results = []
    for dtype in (torch.float32, torch.float64):
        x = log_k.to(dtype).requires_grad_()
        loss = kernel_cross_entropy(log_odds(x), target)
        results.append((loss.float(), torch.autograd.grad(loss, x)[0].float()))
    torch.testing.assert_close(results[0], results[1], rtol=2e-3, atol=0.0)


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


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_lists_of_pixels_give_what_masks_give(reduction):
    embedding = torch.randn(3, 6, 7, dtype=torch.float64)
    masks = torch.rand(5, 6, 7) > 0.6
    masks[1] = False  # an empty segment
    expected = naive_embedding_loss(embedding.expand(5, -1, -1, -1), masks, EPSILON, reduction)
    segments, rows, columns = masks.nonzero().unbind(dim=1)
    pixels = embedding[:, rows, columns].T
    loss = pixel_embedding_loss(pixels, segments, 5, reduction=reduction)
    assert math.isclose(loss.item(), expected, rel_tol=1e-12)


def test_segment_means_against_loops():
    values = torch.randn(20, 3, dtype=torch.float64)
    segments = torch.randint(0, 4, (20,))
    segments[segments == 2] = 1
    means = segment_means(values, segments, 4)
    for k in range(4):
        own = values[segments == k]
        expected = own.sum(dim=0) / len(own) if len(own) else torch.zeros(3)
        torch.testing.assert_close(means[k], expected.double())


def test_segment_means_of_millions_of_pixels():
    pixels = 3_000_000
    values = torch.arange(pixels, dtype=torch.float32)[:, None] % 1000
    [mean] = segment_means(values, torch.zeros(pixels, dtype=torch.long), 1)
    torch.testing.assert_close(mean, torch.tensor([499.5]), rtol=1e-6, atol=0)


def members_of(labels):
    """(N, P) boolean of labels; -1 belongs to none, "both" to 0 and 1."""
    return torch.tensor(
        [[label == k or (label == "both" and k < 2) for label in labels] for k in range(3)]
    )


def test_pixel_kernel_loss_against_loops():
    members = members_of([0, 0, 0, 1, "both", 1, 0])  # the third segment has no pixel
    log_k = -torch.rand(3, 7, dtype=torch.float64) * 3 - 1e-3
    per_segment = []
    for k in range(2):
        total = 0.0
        for value, own in zip(log_k[k].tolist(), members[k].tolist(), strict=True):
            total -= math.log(math.exp(value)) if own else math.log(1 - math.exp(value))
        per_segment.append(total / members[k].sum().item())
    loss = pixel_kernel_loss(log_odds(log_k), members)
    assert math.isclose(loss.item(), sum(per_segment) / 2, rel_tol=1e-9)


def test_far_pixels_of_others_do_not_dilute_the_kernel_loss():
    own = torch.tensor([[-1.0, -2.0]])
    crowd = torch.cat([own, torch.full((1, 1000), -200.0)], dim=1)
    alone = pixel_kernel_loss(log_odds(own), torch.tensor([[True, True]]))
    crowded = pixel_kernel_loss(log_odds(crowd), torch.arange(1002)[None] < 2)
    torch.testing.assert_close(alone, crowded)


def test_margin_loss_against_loops():
    members = members_of([0, 1, "both", 2, 2, 0])
    embedding = torch.randn(6, 4, dtype=torch.float64)
    total, pairs = 0.0, 0
    for u in range(6):
        for v in range(6):
            if not (members[:, u] & members[:, v]).any():
                pairs += 1
                total += max(0.0, 1 + 0.7 - math.dist(embedding[u].tolist(), embedding[v].tolist()))
    loss = margin_loss(embedding, members, margin=0.7)
    assert math.isclose(loss.item(), total / pairs, rel_tol=1e-9)


def test_losses_of_pixels_gradcheck():
    members = members_of([0, 1, "both", 2, 2, 0])
    embedding = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    segments = torch.tensor([0, 0, 1, 1, 1, 3])
    assert torch.autograd.gradcheck(lambda x: pixel_embedding_loss(x, segments, 4), embedding)
    assert torch.autograd.gradcheck(lambda x: margin_loss(x, members, 0.5), embedding)
    log_k = (-torch.rand(3, 6, dtype=torch.float64) - 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pixel_kernel_loss(log_odds(x), members), log_k)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_losses_of_identical_or_absent_pixels_are_finite(count):
    embedding = torch.zeros(count, 3, requires_grad=True)
    members = torch.arange(count)[None] % 2 == torch.arange(2)[:, None]
    segments = torch.arange(count) % 2
    log_k = (embedding.sum(dim=1) - 1e-6).expand(2, -1)
    losses = [
        pixel_embedding_loss(embedding, segments, 2),
        margin_loss(embedding, members, 0.5),
        pixel_kernel_loss(log_odds(log_k), members),
    ]
    for loss in losses:
        assert torch.isfinite(loss)
        assert count or loss == 0
        assert torch.isfinite(torch.autograd.grad(loss, embedding, retain_graph=True)[0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_pixels_under_autocast(dtype):
    embedding = (30 * torch.randn(40, 8)).to(dtype)
    segments = torch.randint(0, 3, (40,))
    members = segments == torch.arange(3)[:, None]
    odds = embedding[:, 0].expand(3, -1)
    for run in (
        lambda x: pixel_embedding_loss(x, segments, 3),
        lambda x: margin_loss(x, members, 50.0),
        lambda x: pixel_kernel_loss(odds.to(x.dtype), members),
    ):
        with torch.autocast("cpu", dtype=dtype):
            loss = run(embedding)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss.double(), run(embedding.double()), rtol=1e-5, atol=0)


# --- The expected IoU.


def test_expected_iou_against_loops():
    p = torch.rand(5, 6, 7, dtype=torch.float64)
    p[4] *= 0.4  # an empty mask
    for r, expected in enumerate(expected_iou(p).tolist()):
        intersection = union = 0.0
        for value in p[r].flatten().tolist():
            inside = value >= 0.5
            intersection += value if inside else 0
            union += 1 if inside else value
        assert expected == pytest.approx(intersection / max(union, 1))


def test_sure_masks_have_an_expected_iou_of_1_and_no_others():
    sure = (torch.rand(1, 9, 9) > 0.5).float()
    assert expected_iou(sure).item() == 1
    assert expected_iou(sure * 0.8).item() == pytest.approx(0.8)
    assert expected_iou(sure + (1 - sure) * 0.2) < 1
    assert expected_iou(torch.zeros(2, 9, 9)).tolist() == [0, 0]
    assert expected_iou(torch.zeros(0, 9, 9)).shape == (0,)


def test_expected_iou_of_half_precision_is_summed_in_full():
    p = torch.full((1, 112, 112), 0.75)
    assert expected_iou(p.half()).item() == pytest.approx(0.75)


def test_expected_iou_is_calibrated_on_what_it_says():
    """Instances drawn from the probabilities: the mean IoU is close to what is expected."""
    torch.manual_seed(0)
    p = torch.rand(20, 20)
    drawn = torch.rand(500, 20, 20) < p
    mask = p >= 0.5
    iou = (drawn & mask).sum(dim=(1, 2)) / (drawn | mask).sum(dim=(1, 2))
    assert expected_iou(p[None]).item() == pytest.approx(iou.mean().item(), abs=0.01)
