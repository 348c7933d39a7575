import math

import pytest
import torch

from semiconv_d2.ops import mask_weights, seed_embedding, seed_weights


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


def test_hard_seed_is_the_embedding_at_the_largest_logit():
    logits = torch.zeros(2, 3, 4)
    logits[0, 1, 2] = 1.0
    logits[1, 2, 0] = 0.5
    embedding = torch.randn(2, 5, 3, 4)
    seed = seed_embedding(seed_weights(logits, "hard"), embedding)
    assert torch.equal(seed[0], embedding[0, :, 1, 2])
    assert torch.equal(seed[1], embedding[1, :, 2, 0])


def test_soft_seed_of_sure_logits_is_the_hard_one():
    logits = torch.randn(3, 4, 4) * 1000
    embedding = torch.randn(3, 8, 4, 4)
    soft, hard = (seed_embedding(seed_weights(logits, s), embedding) for s in ("soft", "hard"))
    torch.testing.assert_close(soft, hard)


def test_mean_over_a_mask_against_loops():
    logits = 3 * torch.randn(2, 3, 4, dtype=torch.float64)
    weights = mask_weights(logits)
    for r in range(2):
        probabilities = [1 / (1 + math.exp(-s)) for s in logits[r].flatten().tolist()]
        expected = [p / sum(probabilities) for p in probabilities]
        assert weights[r].flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_mean_over_a_mask_that_is_empty_or_full():
    logits = torch.full((3, 4, 4), -500.0)
    logits[1] = 500.0
    logits[2, 0, 0] = -400.0
    weights = mask_weights(logits.requires_grad_())
    torch.testing.assert_close(weights[:2], torch.full((2, 4, 4), 1 / 16))
    assert weights[2, 0, 0] == 1
    weights.square().sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("weights", [seed_weights, mask_weights])
def test_gradcheck(weights):
    logits = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, psi: seed_embedding(weights(s), psi), (logits, embedding)
    )


@pytest.mark.parametrize("seed", ["soft", "hard"])
def test_no_regions(seed):
    weights = seed_weights(torch.zeros(0, 3, 3), seed)
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


def test_unknown_seed_names_the_choices():
    with pytest.raises(ValueError, match="'soft', 'hard'"):
        seed_weights(torch.zeros(1, 2, 2), "random")
