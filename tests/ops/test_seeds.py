import math

import pytest
import torch

from semiconv_d2.ops import seed_embedding, seed_weights


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


def test_gradcheck():
    logits = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, psi: seed_embedding(seed_weights(s), psi), (logits, embedding)
    )


def test_no_regions():
    weights = seed_weights(torch.zeros(0, 3, 3))
    assert seed_embedding(weights, torch.zeros(0, 8, 3, 3)).shape == (0, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_computes_in_float32(dtype):
    logits = torch.randn(2, 14, 14).to(dtype).requires_grad_()
    embedding = (100 * torch.randn(2, 8, 14, 14)).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        seed = seed_embedding(seed_weights(logits), embedding)
    expected = seed_embedding(seed_weights(logits.double()), embedding.double())
    assert seed.dtype == torch.float32
    torch.testing.assert_close(seed.double(), expected, rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(seed.sum(), (logits, embedding))
    assert all(torch.isfinite(g).all() for g in gradients)
