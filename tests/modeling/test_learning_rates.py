"""How fast the plugin's parameters learn, with whatever optimizer a trainer has."""

from functools import partial

import pytest
import torch
from detectron2.utils.events import EventStorage

from semiconv_d2 import EmbeddingHead, LearnedKernel, SeedKernel
from semiconv_d2.modeling.learning_rate import FastConv2d, LearnedScalar

SGD = partial(torch.optim.SGD, lr=0.01)
ADAM = partial(torch.optim.AdamW, lr=1e-4, eps=1e-20, weight_decay=0.0)


def computed_with(model) -> dict[str, torch.Tensor]:
    """Parameters, without the units that they count in."""
    return {
        f"{prefix}.{name}": parameter.detach() * getattr(module, "unit", 1.0)
        for prefix, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
    }


def movements(model, batch, optimizer_of) -> dict[str, torch.Tensor]:
    """How far one step moves what a model computes with."""
    torch.manual_seed(3)  # the same sampled proposals
    before = computed_with(model)
    optimizer = optimizer_of(model.parameters())
    with EventStorage():
        sum(model.train()(batch).values()).backward()
    optimizer.step()
    return {name: after - before[name] for name, after in computed_with(model).items()}


@pytest.mark.parametrize("scale", [0.1, 1.0])
@pytest.mark.parametrize("optimizer_of", [SGD, ADAM])
def test_the_plugin_alone_learns_faster(make_model, make_batch, optimizer_of, scale):
    scaled = ("MODEL.SEMICONV.GRADIENT_SCALE", scale)
    slow = make_model(*scaled, "MODEL.SEMICONV.LR_FACTOR", 1.0)
    fast = make_model(*scaled, "MODEL.SEMICONV.LR_FACTOR", 7.0)
    slow.roi_heads.mask_branch.seed_kernel.gain.set(0.5)
    torch.nn.init.normal_(slow.roi_heads.mask_branch.embedding_head.embedding.weight, std=0.1)
    fast.load_state_dict(slow.state_dict())
    batch = make_batch(2)
    expected, found = (movements(m, batch, optimizer_of) for m in (slow, fast))
    own = [name for name in expected if "mask_branch" in name]
    assert {name.split(".")[-1] for name in own} == {"value", "weight", "bias"}
    for name, movement in expected.items():
        wanted = movement * (7.0 if name in own else 1.0)
        if optimizer_of is ADAM:  # a gradient of next to nothing has either sign
            far = [x.abs().median().item() for x in (found[name], wanted)]
            assert far[0] == pytest.approx(far[1], rel=0.01)
        else:
            bound = 1e-6 + 1e-3 * wanted.abs().max().item()
            torch.testing.assert_close(found[name], wanted, rtol=1e-2, atol=bound)
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
        return list(computed_with(head).values())

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
    moved = three_steps(SGD, lr_factor=10.0)
    assert moved.item() == pytest.approx(3 * 0.01 * 10 * 0.2)


@pytest.mark.parametrize("lr_factor", [1.0, 10.0])
def test_adam_moves_a_scalar_far_enough_to_matter(lr_factor):
    moved = three_steps(ADAM, lr_factor)
    assert moved.item() == pytest.approx(3 * 1e-4 * 30 * lr_factor, rel=1e-3)


def test_a_scalar_can_be_set():
    scalar = LearnedScalar(10.0)
    scalar.set(-1.25)
    assert scalar().item() == pytest.approx(-1.25)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(factor):
    for build in (lambda **x: EmbeddingHead(in_channels=4, **x), LearnedKernel, SeedKernel):
        with pytest.raises(ValueError, match=r"LR_FACTOR is .*; it must be positive and finite"):
            build(lr_factor=factor)


@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_gradients_are_as_large_as_without(factor):
    """So that clipping them does to the plugin what it does to the rest of a model."""
    layer = FastConv2d(2, 3, 3, padding=1)
    layer.learn_faster(factor)
    x = torch.randn(1, 2, 5, 5)
    torch.nn.functional.mse_loss(layer(x), torch.zeros(1, 3, 5, 5)).backward()
    weight, bias = (p.detach().requires_grad_() for p in layer.kernel())
    y = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    torch.nn.functional.mse_loss(y, torch.zeros(1, 3, 5, 5)).backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    torch.testing.assert_close(layer.bias.grad, bias.grad)


def test_checkpoints_are_read_whatever_the_factor():
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(2, 3, 3, padding=1)
    fast, faster = (FastConv2d(2, 3, 3, padding=1) for _ in range(2))
    fast.learn_faster(10.0)
    faster.learn_faster(30.0)
    missing, unexpected = fast.load_state_dict(plain.state_dict())  # of a layer without units
    assert not missing
    assert not unexpected
    faster.load_state_dict(fast.state_dict())
    x = torch.randn(1, 2, 5, 5)
    for layer in (fast, faster):
        torch.testing.assert_close(layer(x), plain(x))
    assert (fast.unit, faster.unit) == (10.0, 30.0)
    scalar, other = LearnedScalar(1.0), LearnedScalar(10.0)
    scalar.set(-1.25)
    other.load_state_dict(scalar.state_dict())
    assert other().item() == pytest.approx(-1.25)


def test_a_checkpoint_of_the_same_factor_is_read_bit_for_bit(make_model):
    model, again = make_model(), make_model()
    torch.nn.init.normal_(model.roi_heads.mask_branch.embedding_head.embedding.weight)
    again.load_state_dict(model.state_dict())
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items()
    )


def test_averages_of_weights_reach_the_plugin(make_model):
    """Written into the tensors of a state dictionary, as trainers do that average models."""
    model, average = make_model(), make_model()
    model.roi_heads.mask_branch.seed_kernel.gain.set(0.8)
    torch.nn.init.normal_(model.roi_heads.mask_branch.embedding_head.embedding.weight)
    with torch.no_grad():
        for mean, value in zip(
            average.state_dict().values(), model.state_dict().values(), strict=True
        ):
            mean.copy_(value)
    assert (
        average.roi_heads.mask_branch.seed_kernel.gain()
        == model.roi_heads.mask_branch.seed_kernel.gain()
    )
    heads = [m.roi_heads.mask_branch.embedding_head.embedding for m in (average, model)]
    assert torch.equal(*(head.kernel()[0] for head in heads))
