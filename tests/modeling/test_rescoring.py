import math

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from semiconv_d2 import RegionEmbedding, SeedKernel


def region_embedding(**options) -> RegionEmbedding:
    scales = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
    pooler = ROIPooler(output_size=7, scales=scales, sampling_ratio=0, pooler_type="ROIAlignV2")
    return RegionEmbedding(pooler=pooler, **options)


@pytest.mark.parametrize("evidence", ["log", "logit"])
@pytest.mark.parametrize("gain", ["fixed", "learned"])
def test_rescored_logits_against_loops(evidence, gain):
    options = {"gain": gain, "evidence": evidence, "competition": False, "seed_rounds": 1}
    kernel = SeedKernel(sigma_init=2.0, **options)
    factor = 1.0
    if gain == "learned":
        factor = 0.7
        kernel.gain.set(factor)
    logits, embedding = torch.randn(2, 3, 3), torch.randn(2, 4, 3, 3)
    masks = kernel(logits, embedding)
    for r in range(2):
        p = logits[r].flatten().softmax(0)
        seed = (embedding[r].flatten(1) * p).sum(dim=1)
        for i in range(3):
            for j in range(3):
                distance = math.sqrt(((embedding[r, :, i, j] - seed) ** 2).sum().item() + 1e-4)
                k = math.exp(-distance / 2.0)
                term = math.log(k) if evidence == "log" else math.log(k / (1 - k))
                expected = logits[r, i, j].item() + factor * term
                assert masks.rescored[r, i, j].item() == pytest.approx(expected, abs=1e-4)
    assert torch.equal(masks.logits, logits)
    torch.testing.assert_close(masks.seed_weights.sum(dim=(1, 2)), torch.ones(2))


def test_log_evidence_only_lowers_and_the_logit_raises_near_the_seed():
    logits, embedding = torch.randn(4, 7, 7), 0.1 * torch.randn(4, 8, 7, 7)
    lowered, raised = (
        SeedKernel(gain="fixed", evidence=evidence, competition=False)(logits, embedding).rescored
        for evidence in ("log", "logit")
    )
    assert (lowered < logits).all()
    assert (raised > logits).all()


def test_hard_seed_at_test_soft_seed_in_training():
    kernel = SeedKernel(seed="hard", seed_rounds=1)
    logits, embedding = torch.randn(2, 3, 3), torch.randn(2, 4, 3, 3)
    assert kernel.train()(logits, embedding).seed_weights.max() < 1
    weights = kernel.eval()(logits, embedding).seed_weights
    assert torch.equal(weights.flatten(1).argmax(1), logits.flatten(1).argmax(1))
    assert torch.equal(weights.unique(), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("gain", [1.0, 0.7])
@pytest.mark.parametrize("rounds", [2, 3])
def test_later_seeds_are_the_means_over_the_last_masks(rounds, gain):
    """No rivals: each round rescores the same logits from another seed."""

    def kernel(rounds: int) -> SeedKernel:
        kernel = SeedKernel(sigma_init=2.0, competition=False, seed_rounds=rounds)
        kernel.gain.set(gain)
        return kernel

    logits, embedding = torch.randn(2, 3, 3), torch.randn(2, 4, 3, 3)
    last = kernel(1)(logits, embedding)
    for _ in range(rounds - 1):
        mask = last.rescored.sigmoid()
        mean = (embedding * mask[:, None]).sum((2, 3)) / mask.sum((1, 2))[:, None]
        odds = kernel(1).compare(embedding, mean)
        last = last._replace(odds=odds, rescored=logits + gain * odds)
    masks = kernel(rounds)(logits, embedding)
    assert torch.equal(masks.logits, logits)
    torch.testing.assert_close(masks.rescored, last.rescored)
    torch.testing.assert_close(masks.odds, last.odds)
    torch.testing.assert_close(masks.seed_weights.sum(dim=(1, 2)), torch.ones(2))


def test_sigma_starts_where_it_is_told():
    assert SeedKernel(sigma_init=12.5).sigma.item() == pytest.approx(12.5)


def test_without_rescoring_logits_stay_and_there_is_no_gain():
    kernel = SeedKernel(gain="learned", rescore=False, competition=False)
    logits = torch.randn(2, 3, 3)
    assert kernel(logits, torch.randn(2, 4, 3, 3)).rescored is logits
    assert [name for name, _ in kernel.named_parameters()] == ["log_sigma_ratio.value"]


@pytest.mark.parametrize("mixing", ["additive", "none"])
def test_a_region_sees_its_own_coordinates(mixing):
    """Φ = 0: what is left is where the sample points are, or nothing."""
    maps = [torch.zeros(2, 8, 256 // s, 256 // s) for s in (4, 8, 16, 32)]
    boxes = [Boxes(torch.tensor([[8.0, 16, 64, 44]])), Boxes(torch.tensor([[-20.0, 0, 8, 28]]))]
    psi = region_embedding(mixing=mixing, coord_unit="pixel")(maps, boxes)
    assert psi.shape == (2, 8, 7, 7)
    if mixing == "none":
        assert not psi.any()
        return
    assert psi[0, 0, 0].tolist() == pytest.approx([8 * (j - 3) for j in range(7)])
    assert psi[0, 1, :, 0].tolist() == pytest.approx([4 * (i - 3) for i in range(7)])
    assert psi[1, 0, 0].tolist() == pytest.approx([4 * (j - 3) for j in range(7)])
    assert not psi[:, 2:].any()


def test_no_regions():
    maps = [torch.zeros(1, 8, 256 // s, 256 // s) for s in (4, 8, 16, 32)]
    psi = region_embedding()(maps, [Boxes(torch.zeros(0, 4))])
    masks = SeedKernel()(torch.zeros(0, 7, 7), psi)
    assert masks.rescored.shape == (0, 7, 7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_and_logits(dtype):
    ramp = torch.arange(64.0).expand(64, 64)  # exact in both precisions
    maps = [(ramp[: 256 // s, : 256 // s].expand(1, 8, -1, -1)).to(dtype) for s in (4, 8, 16, 32)]
    # Corners that half precision would round.
    boxes = [Boxes(torch.tensor([[3.37, 5.21, 250.13, 240.77], [10.9, 20.3, 60.7, 44.1]]))]
    logits = torch.randn(2, 7, 7).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        masks = SeedKernel()(logits, region_embedding()(maps, boxes))
    reference = SeedKernel()(logits.float(), region_embedding()([m.float() for m in maps], boxes))
    assert masks.rescored.dtype == torch.float32
    torch.testing.assert_close(masks.log_kernel, reference.log_kernel, atol=1e-4, rtol=1e-4)
