"""How fast the plugin's parameters learn, with whatever optimizer a trainer has."""

import pytest
import torch
from detectron2.utils.events import EventStorage

from semiconv_d2 import EmbeddingHead, LearnedKernel, SeedKernel
from semiconv_d2.modeling.learned_scalar import LearnedScalar


def gradients(model, batch) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)  # the same sampled proposals
    with EventStorage():
        losses = model.train()(batch)
    model.zero_grad()
    sum(losses.values()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_the_plugin_s_gradients_alone_are_multiplied(make_model, make_batch, scale):
    scaled = ("MODEL.SEMICONV.GRADIENT_SCALE", scale)
    slow = make_model(*scaled, "MODEL.SEMICONV.LR_FACTOR", 1.0)
    fast = make_model(*scaled, "MODEL.SEMICONV.LR_FACTOR", 7.0, like=slow)
    for model in (slow, fast):
        model.roi_heads.seed_kernel.gain.set(0.5)
        torch.nn.init.normal_(model.roi_heads.embedding_head.embedding.weight, std=0.1)
    fast.load_state_dict(slow.state_dict())
    expected, found = gradients(slow, make_batch(2)), gradients(fast, make_batch(2))
    own = [name for name in expected if "embedding_head" in name or "seed_kernel" in name]
    assert {name.split(".")[-1] for name in own} == {"units", "weight", "bias"}
    for name, gradient in expected.items():
        factor = 7.0 if name in own else 1.0
        bound = 1e-5 + 1e-4 * factor * gradient.abs().max().item()
        torch.testing.assert_close(found[name], factor * gradient, rtol=1e-3, atol=bound)
    assert all(expected[name].abs().max() > 0 for name in own)


def test_steps_with_momentum_are_those_of_a_larger_learning_rate():
    x = [torch.randn(1, 4, 5, 5)]

    def train(lr_factor: float, lr: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        head = EmbeddingHead(in_channels=4, hidden_dim=6, embedding_dim=2, lr_factor=lr_factor)
        optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            (head(x)[0] - 1).square().mean().backward()
            optimizer.step()
        return [p.detach() for p in head.parameters()]

    torch.testing.assert_close(train(10.0, 0.01), train(1.0, 0.1))


def three_steps(optimizer_of, lr_factor: float) -> torch.Tensor:
    """Where a scalar that wants to be larger gets to."""
    scalar = LearnedScalar(lr_factor)
    assert scalar() == 0
    optimizer = optimizer_of(scalar.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        (-0.2 * scalar()).backward()
        optimizer.step()
    return scalar().detach()


def test_gradient_descent_moves_a_scalar_by_its_gradient_times_the_factor():
    moved = three_steps(lambda p: torch.optim.SGD(p, lr=0.01), lr_factor=10.0)
    assert moved.item() == pytest.approx(3 * 0.01 * 10 * 0.2)


@pytest.mark.parametrize("lr_factor", [1.0, 10.0])
def test_adam_moves_a_scalar_far_enough_to_matter(lr_factor):
    moved = three_steps(lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.0), lr_factor)
    assert moved.item() == pytest.approx(3 * 1e-4 * 30, rel=1e-3)


def test_a_scalar_can_be_set():
    scalar = LearnedScalar(10.0)
    scalar.set(-1.25)
    assert scalar().item() == pytest.approx(-1.25)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(factor):
    for build in (lambda **x: EmbeddingHead(in_channels=4, **x), LearnedKernel, SeedKernel):
        with pytest.raises(ValueError, match=r"LR_FACTOR is .*; it must be positive and finite"):
            build(lr_factor=factor)


def test_clipping_takes_it_back_and_that_is_said(make_model, caplog):
    make_model()
    assert "CLIP_GRADIENTS" not in caplog.text
    make_model("SOLVER.CLIP_GRADIENTS.ENABLED", True, "MODEL.SEMICONV.LR_FACTOR", 1.0)
    assert "CLIP_GRADIENTS" not in caplog.text
    make_model("SOLVER.CLIP_GRADIENTS.ENABLED", True)
    assert "SOLVER.CLIP_GRADIENTS cuts gradients down to 1" in caplog.text
