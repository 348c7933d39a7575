import math

import pytest
import torch
from naive import naive_kernel

from semiconv_d2.ops import (
    EPSILON,
    KERNELS,
    bilateral_embedding,
    kernels,
    log_kernel,
    log_odds,
    log_one_minus_exp,
    map_coordinates,
    seed_embedding,
    seed_log_kernel,
    seed_weights,
    share_odds,
    softened_distance,
)

# --- Kernels.


@pytest.mark.parametrize("kernel", KERNELS)
def test_seed_log_kernel_against_loops(kernel):
    embedding = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    seed = torch.randn(3, 4, dtype=torch.float64)
    sigma = 1.7
    log_k = seed_log_kernel(embedding, seed, sigma, kernel)
    for r in range(3):
        for row in range(5):
            for column in range(6):
                expected = naive_kernel(embedding[r, :, row, column], seed[r], sigma, kernel)
                assert math.isclose(log_k[r, row, column].exp().item(), expected, rel_tol=1e-12)


def test_softening_is_the_only_deviation_from_the_paper():
    a, b = torch.randn(2, 100, 8, dtype=torch.float64)
    exact = (a - b).norm(dim=1)
    softened = softened_distance(a, b, dim=1)
    assert (softened >= exact).all()
    assert (softened - exact).max() <= math.sqrt(EPSILON)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(kernel):
    embedding = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    seed = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    log_sigma = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def evidence(embedding, seed, log_sigma):
        return log_odds(seed_log_kernel(embedding, seed, log_sigma.exp(), kernel))

    assert torch.autograd.gradcheck(evidence, (embedding, seed, log_sigma))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("distance", [0.0, 1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 20.0, 1000.0])
def test_finite_at_every_distance(kernel, distance, sigma):
    embedding = torch.zeros(1, 8, 1, 1, requires_grad=True)
    seed = torch.zeros(1, 8)
    seed[0, 0] = distance
    log_sigma = torch.tensor(math.log(sigma), requires_grad=True)
    log_k = seed_log_kernel(embedding, seed, log_sigma.exp(), kernel)
    for value in (log_k, log_one_minus_exp(log_k), log_odds(log_k)):
        assert torch.isfinite(value).all()
        gradients = torch.autograd.grad(value.sum(), (embedding, log_sigma), retain_graph=True)
        assert all(torch.isfinite(g).all() for g in gradients)


def test_gradient_of_log_one_minus_k_is_bounded():
    """By 1 / (2√ε) for the Laplacian, whatever σ."""
    x = torch.logspace(-6, 3, 500, dtype=torch.float64).view(-1, 1, 1, 1).requires_grad_()
    log_k = seed_log_kernel(x, torch.zeros(500, 1), 20.0)
    [gradient] = torch.autograd.grad(log_one_minus_exp(log_k).sum(), x)
    bound = 1 / (2 * math.sqrt(EPSILON))
    assert 0.9 * bound < gradient.abs().max() <= bound


def test_log_one_minus_exp_is_accurate():
    log_k = -torch.logspace(-7, 2, 200, dtype=torch.float64)
    exact = [
        math.log(-math.expm1(v)) if v > -0.5 else math.log1p(-math.exp(v)) for v in log_k.tolist()
    ]
    expected = torch.tensor(exact, dtype=torch.float64)
    found = log_one_minus_exp(log_k.float()).double()
    torch.testing.assert_close(found, expected, rtol=3e-6, atol=1e-37)


def test_log_odds_is_the_logit_of_k():
    log_k = -torch.rand(50, dtype=torch.float64) * 5 - 1e-3
    torch.testing.assert_close(torch.sigmoid(log_odds(log_k)), log_k.exp())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_to_float32(dtype):
    embedding = torch.randn(2, 8, 3, 3).to(dtype)
    seed = torch.randn(2, 8).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        log_k = seed_log_kernel(embedding, seed, torch.tensor(20.0))
        odds = log_odds(log_k)
    assert log_k.dtype == odds.dtype == torch.float32
    torch.testing.assert_close(log_k, seed_log_kernel(embedding.float(), seed.float(), 20.0))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_of_half_precision_inputs_are_finite(dtype, kernel, scale):
    embedding = (scale * torch.randn(2, 8, 3, 3)).to(dtype).requires_grad_()
    seed = embedding.detach()[:, :, 1, 1].clone().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        odds = log_odds(seed_log_kernel(embedding, seed, torch.tensor(20.0), kernel))
    gradients = torch.autograd.grad(odds.mean(), (embedding, seed))
    assert all(torch.isfinite(g).all() for g in gradients)


def test_bilateral_against_the_direct_implementation():
    """Two images at once, each compared with a pixel of its own."""
    images = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    grid = map_coordinates(6, 7, dtype=torch.float64)
    psi = bilateral_embedding(images, grid, sigma_space=3.0, sigma_range=0.2)
    seeds = [(2, 5), (0, 0)]
    seed = torch.stack([p[:, r, c] for p, (r, c) in zip(psi, seeds, strict=True)])
    log_k = seed_log_kernel(psi, seed, 1.0, "gaussian", epsilon=0.0)
    for n, (row, column) in enumerate(seeds):
        for i in range(6):
            for j in range(7):
                space = ((i - row) ** 2 + (j - column) ** 2) / (2 * 3.0**2)
                difference = images[n, :, i, j] - images[n, :, row, column]
                colour = (difference**2).sum().item() / (2 * 0.2**2)
                expected = math.exp(-space) * math.exp(-colour)
                assert math.isclose(log_k[n, i, j].exp().item(), expected, rel_tol=1e-9)


def test_gaussian_factors_into_steered_space_and_appearance():
    """Equation (8)."""
    psi = torch.randn(8, dtype=torch.float64)
    other = torch.randn(8, dtype=torch.float64)

    def log_gaussian(a, b):
        return log_kernel(softened_distance(a, b, dim=0, epsilon=0.0), 1.0, "gaussian")

    whole = log_gaussian(psi, other)
    parts = log_gaussian(psi[:2], other[:2]) + log_gaussian(psi[2:], other[2:])
    torch.testing.assert_close(whole, parts)


def test_unknown_kernel_names_the_choices():
    with pytest.raises(ValueError, match=r"kernel is 'cauchy'.*'laplacian', 'gaussian'"):
        log_kernel(torch.ones(1), 1.0, "cauchy")


# --- Seeds.


def test_soft_seed_against_loops():
    logits = torch.randn(2, 3, 4, dtype=torch.float64)
    embedding = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    seed = seed_embedding(seed_weights(logits), embedding)
    for r in range(2):
        total = sum(math.exp(s) for s in logits[r].flatten().tolist())
        for d in range(5):
            expected = 0.0
            for row in range(3):
                for column in range(4):
                    p = math.exp(logits[r, row, column]) / total
                    expected += p * embedding[r, d, row, column].item()
            assert math.isclose(seed[r, d].item(), expected, rel_tol=1e-12)


def test_the_seed_of_sure_logits_is_the_embedding_at_the_largest():
    logits = torch.randn(3, 4, 4) * 1000
    embedding = torch.randn(3, 8, 4, 4)
    largest = logits.flatten(1).argmax(dim=1)
    seed = seed_embedding(seed_weights(logits), embedding)
    torch.testing.assert_close(seed, embedding.flatten(2)[torch.arange(3), :, largest])


def test_gradcheck_of_seeds():
    logits = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, psi: seed_embedding(seed_weights(s), psi), (logits, embedding)
    )


def test_seeds_of_no_regions():
    weights = seed_weights(torch.zeros(0, 3, 3))
    assert seed_embedding(weights, torch.zeros(0, 8, 3, 3)).shape == (0, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_seeds_are_float32_under_autocast(dtype):
    logits = torch.randn(2, 14, 14).to(dtype).requires_grad_()
    embedding = (100 * torch.randn(2, 8, 14, 14)).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        seed = seed_embedding(seed_weights(logits), embedding)
    expected = seed_embedding(seed_weights(logits.double()), embedding.double())
    assert seed.dtype == torch.float32
    torch.testing.assert_close(seed.double(), expected, rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(seed.sum(), (logits, embedding))
    assert all(torch.isfinite(g).all() for g in gradients)


# --- Shares.


def some_seeds(regions=2, channels=4, others=3, side=3, dtype=torch.float64, **options):
    """Embedding, seeds and weights of regions."""
    return (
        torch.randn(regions, channels, side, side, dtype=dtype, **options),
        torch.randn(regions, 1 + others, channels, dtype=dtype, **options),
        torch.rand(regions, others, dtype=dtype, **options),
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_share_odds_against_loops(kernel):
    embedding, seeds, weights = some_seeds()
    odds = share_odds(embedding, seeds, weights, 0.3, 1.5, kernel)
    for r in range(2):
        for row in range(3):
            for column in range(3):
                psi = embedding[r, :, row, column]
                own, *others = (naive_kernel(psi, seed, 1.5, kernel) for seed in seeds[r])
                total = 0.3 + sum(w * x for w, x in zip(weights[r].tolist(), others, strict=True))
                assert odds[r, row, column].item() == pytest.approx(math.log(own / total))


def test_without_competitors_there_is_the_background():
    embedding, seeds, weights = some_seeds()
    odds = share_odds(embedding, seeds[:, :1], weights[:, :0], 0.3, 1.5)
    expected = seed_log_kernel(embedding, seeds[:, 0], 1.5) - math.log(0.3)
    torch.testing.assert_close(odds, expected)


def test_shares_are_right_close_to_seeds_far_from_the_origin():
    """In float32 within 1e-3 of float64, at seeds and a little off, with embeddings as large as
    trained ones and an image of 4,000 pixels."""
    embedding = 10 * torch.randn(3, 8, 20, 20, dtype=torch.float64)
    embedding[:, :2] += 1000 * torch.rand(3, 2, 1, 1)
    places = embedding[:, :, ::7, ::7].flatten(2).transpose(1, 2)
    for seeds in (places, places + 1e-2 * torch.randn_like(places)):
        weights = torch.rand(3, seeds.shape[1] - 1, dtype=torch.float64)
        exact = share_odds(embedding, seeds, weights, 0.3, 1.0)
        found = share_odds(embedding.float(), seeds.float(), weights.float(), 0.3, 1.0)
        assert (found.sigmoid() - exact.sigmoid()).abs().max() < 1e-3
        assert exact.sigmoid().max() > 0.7


def test_shares_in_blocks_are_those_of_all_regions(monkeypatch):
    embedding, seeds, weights = some_seeds(regions=7)
    whole = share_odds(embedding, seeds, weights, 0.3, 1.5)
    monkeypatch.setattr(kernels, "_BYTES_ON_CPU", 2 * 4 * 4 * 4 * 3 * 3)  # two regions at once
    torch.testing.assert_close(share_odds(embedding, seeds, weights, 0.3, 1.5), whole)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck_of_shares(kernel):
    inputs = some_seeds(side=2, requires_grad=True)
    scalars = torch.tensor([0.3, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *x: share_odds(*x[:3], *x[3].unbind(), kernel), (*inputs, scalars)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_shares_are_float32_under_autocast(dtype):
    inputs = some_seeds(dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        found = share_odds(*inputs, 0.3, 2.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, share_odds(*inputs, 0.3, 2.0))
