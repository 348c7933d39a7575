"""Section 3.5: seed, kernel, rescored logits and losses."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.structures import BitMasks
from torch.nn import functional as F

from semiconv_d2 import Competition, SeedKernel, SemiConvMaskBranch
from semiconv_d2.config import read_preset

EPSILON = 1e-4


# --- The paper's preset against a transcription of the section, in float64 and loops.


class Transcription:
    """Regions of one image, as section 3.5 has them."""

    def __init__(self, heads, features):
        self.heads, self.branch = heads, heads.mask_branch
        self.sigma = self.branch.seed_kernel.sigma.item()
        self.phi = {  # one subnet for all levels
            int(name[1:]): self.subnet(features[name].double())[0]
            for name in heads.mask_in_features
        }
        self.features = features

    def subnet(self, x):
        head = self.branch.embedding_head
        first, second = ([p.double() for p in c.kernel()] for c in (head.hidden, head.embedding))
        return F.conv2d(F.relu(F.conv2d(x, *first)), *second, padding=1)

    def psi(self, box):
        """At the M × M sample points: rows of columns of D numbers. Equation (6)."""
        x0, y0, x1, y1 = box.tolist()
        level = math.floor(4 + math.log2(math.sqrt((x1 - x0) * (y1 - y0)) / 224 + 1e-8))
        level = min(max(level, 2), 5)
        phi, stride, side = (
            self.phi[level],
            2**level,
            self.branch.region_embedding.pooler.output_size[0],
        )
        grid = []
        for i in range(side):
            row = []
            for j in range(side):
                x = (x0 + (j + 0.5) * (x1 - x0) / side) / stride
                y = (y0 + (i + 0.5) * (y1 - y0) / side) / stride
                value = bilinear(phi, x - 0.5, y - 0.5)
                row.append([value[0] + x, value[1] + y, *value[2:]])
            grid.append(row)
        return grid

    def log_kernel(self, logits, psi):
        """Soft seed and equation (9)."""
        side = len(psi)
        total = sum(math.exp(s) for row in logits.tolist() for s in row)
        seed = [
            sum(
                math.exp(logits[i, j]) / total * psi[i][j][d]
                for i in range(side)
                for j in range(side)
            )
            for d in range(len(psi[0][0]))
        ]
        return [[-norm(pixel, seed) / self.sigma for pixel in row] for row in psi]

    def embedding_loss(self, boxes, masks):
        """Equation (5), the mean over instances."""
        losses = []
        for box, mask in zip(boxes, masks, strict=True):
            psi = self.psi(box)
            own = [psi[i][j] for i, j in mask.nonzero().tolist()]
            mean = [sum(p[d] for p in own) / len(own) for d in range(len(own[0]))]
            losses.append(sum(norm(p, mean) for p in own) / len(own))
        return sum(losses) / len(losses)


def norm(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) + EPSILON)


def bilinear(phi, x, y):
    """Of a map (D, H, W) at (x, y), in indices; as ROIAlign does at the border."""
    height, width = phi.shape[1:]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1 - a) * phi[:, top, left] + a * phi[:, top, right]
    lower = (1 - a) * phi[:, bottom, left] + a * phi[:, bottom, right]
    return ((1 - b) * upper + b * lower).tolist()


def cross_entropy(log_p, log_not_p, mask, pixels):
    """Mean over those pixels of a region that count; with how many they are."""
    terms = [
        -(log_p[i][j] if mask[i, j] else log_not_p[i][j]) for i, j in pixels.nonzero().tolist()
    ]
    return sum(terms), len(terms)


@pytest.fixture
def paper(make_model):
    preset = [x for pair in read_preset("paper").items() for x in pair]
    model = make_model(
        *preset,
        *("MODEL.SEMICONV.SIGMA_INIT", 3.0),  # at 100 the kernel would hardly matter
        *(
            "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION",
            4,
            "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO",
            1,
        ),
    )
    torch.nn.init.normal_(model.roi_heads.mask_branch.embedding_head.embedding.weight, std=0.1)
    torch.nn.init.normal_(model.roi_heads.mask_head.predictor.weight, std=0.3)
    return model


def watch(model):
    """Features, regions and masks of each rescoring, as they come."""
    seen, original = [], model.roi_heads.rescore_masks

    def spy(features, instances):
        seen.append((features, instances, original(features, instances)))
        return seen[-1][-1]

    model.roi_heads.rescore_masks = spy
    return seen


def test_the_paper_s_losses_are_those_of_section_3_5(paper, make_batch, losses_of):
    seen, batch = watch(paper), make_batch(3)
    losses = losses_of(paper, batch)
    [(features, [regions], masks)] = seen
    transcribed = Transcription(paper.roi_heads, features)
    truth = batch[0]["instances"]
    bits = truth.gt_masks.tensor
    shared = BitMasks((bits.sum(dim=0) > 1).expand(len(regions), -1, -1))
    boxes = regions.proposal_boxes.tensor
    own, shared = regions.gt_masks.crop_and_resize(boxes, 8), shared.crop_and_resize(boxes, 8)
    totals = {"loss_mask": [0.0, 0], "loss_kernel": [0.0, 0]}
    assert len(regions) > 2
    for r, box in enumerate(boxes):
        logits = masks.logits[r].detach().double()
        log_k = transcribed.log_kernel(logits, transcribed.psi(box))
        rescored = logits + torch.tensor(log_k, dtype=torch.float64)
        torch.testing.assert_close(masks.rescored[r].double(), rescored, rtol=1e-4, atol=1e-4)
        every = torch.ones(8, 8, dtype=torch.bool)
        log_not_k = [[math.log(-math.expm1(x)) for x in row] for row in log_k]
        log_not = F.logsigmoid(-rescored).tolist()
        for name, terms in (
            ("loss_mask", (F.logsigmoid(rescored).tolist(), log_not, own[r], every)),
            ("loss_kernel", (log_k, log_not_k, own[r], ~(own[r] & shared[r]))),
        ):
            total, count = cross_entropy(*terms)
            totals[name][0] += total
            totals[name][1] += count
    for name, (total, count) in totals.items():
        assert losses[name].item() == pytest.approx(total / count, rel=1e-4)

    instances = truth.gt_boxes.tensor
    shared = (bits.sum(dim=0) > 1).expand(3, -1, -1)
    alone = truth.gt_masks.crop_and_resize(instances, 8) & ~BitMasks(shared).crop_and_resize(
        instances, 8
    )
    expected = transcribed.embedding_loss(instances, alone)
    assert losses["loss_embedding"].item() == pytest.approx(expected, rel=1e-4)


def test_the_paper_s_masks_are_those_of_section_3_5(paper, make_batch):
    seen = watch(paper)
    with torch.no_grad():
        [found] = paper.eval().inference(make_batch(2), do_postprocess=False)
    [(features, [regions], masks)] = seen
    transcribed = Transcription(paper.roi_heads, features)
    for r, box in enumerate(regions.pred_boxes.tensor):
        logits = masks.logits[r].double()
        log_k = torch.tensor(transcribed.log_kernel(logits, transcribed.psi(box)))
        torch.testing.assert_close(
            found.pred_masks[r, 0], (logits + log_k).sigmoid().float(), rtol=1e-4, atol=1e-5
        )


# --- Seed and kernel alone.


@pytest.mark.parametrize("gain", ["fixed", "learned"])
def test_rescored_logits_against_loops(gain):
    kernel = SeedKernel(sigma_init=2.0, gain=gain)
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
                log_k = -norm(embedding[r, :, i, j].tolist(), seed.tolist()) / 2.0
                expected = logits[r, i, j].item() + factor * log_k
                assert masks.rescored[r, i, j].item() == pytest.approx(expected, abs=1e-4)
                odds = log_k - math.log(-math.expm1(log_k))
                assert masks.odds[r, i, j].item() == pytest.approx(odds, abs=1e-4)
    assert torch.equal(masks.logits, logits)
    torch.testing.assert_close(masks.seed_weights.sum(dim=(1, 2)), torch.ones(2))


def test_the_paper_s_evidence_only_lowers_and_a_share_raises_near_the_seed():
    logits, embedding = torch.randn(4, 7, 7), 0.1 * torch.randn(4, 8, 7, 7)
    lowered, raised = (
        SeedKernel(gain="fixed", competition=competition)(logits, embedding).rescored
        for competition in (None, Competition())
    )
    assert (lowered < logits).all()
    assert (raised > logits).all()


def test_sigma_starts_where_it_is_told():
    assert SeedKernel(sigma_init=12.5).sigma.item() == pytest.approx(12.5)


def test_without_rescoring_logits_stay_and_there_is_no_gain():
    kernel = SeedKernel(gain="learned", rescore=False)
    logits = torch.randn(2, 3, 3)
    assert kernel(logits, torch.randn(2, 4, 3, 3)).rescored is logits
    assert [name for name, _ in kernel.named_parameters()] == ["log_sigma_ratio.value"]


def test_no_regions():
    masks = SeedKernel(competition=Competition())(torch.zeros(0, 7, 7), torch.zeros(0, 8, 7, 7))
    assert masks.rescored.shape == (0, 7, 7)


@pytest.mark.parametrize("competition", [None, Competition()])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits(dtype, competition):
    logits, embedding = torch.randn(2, 7, 7).to(dtype), torch.randn(2, 8, 7, 7)
    kernel = SeedKernel(competition=competition)
    with torch.autocast("cpu", dtype=dtype):
        masks = kernel(logits, embedding)
    reference = kernel(logits.float(), embedding)
    assert masks.rescored.dtype == torch.float32
    torch.testing.assert_close(masks.log_kernel, reference.log_kernel, atol=1e-4, rtol=1e-4)


def test_logits_and_embedding_of_different_resolution_are_refused():
    with pytest.raises(
        ValueError,
        match=r"have the size \(28, 28\), and its embedding \(14, 14\): set the output_size",
    ):
        SeedKernel()(torch.zeros(2, 28, 28), torch.zeros(2, 8, 14, 14))


def test_parts_without_a_purpose_are_refused(make_model):
    branch = make_model().roi_heads.mask_branch
    parts = {
        "embedding_head": branch.embedding_head,
        "region_embedding": branch.region_embedding,
    }
    with pytest.raises(ValueError, match="needs a kernel_loss_weight above 0"):
        SemiConvMaskBranch(**parts, seed_kernel=SeedKernel(rescore=False), kernel_loss_weight=0.0)
    with pytest.raises(ValueError, match="Nothing uses the embedding"):
        SemiConvMaskBranch(**parts, seed_kernel=None, embedding_loss_weight=0.0)
