"""Seeds that share pixels out among them."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.structures import Boxes, Instances

from semiconv_d2 import Competition, SeedKernel
from semiconv_d2.modeling import competition
from semiconv_d2.modeling.competition import (
    MAX_COMPETITORS,
    NUMBER,
    CompetingSeeds,
    DetectionCompetitors,
    InstanceSeeds,
    TrueCompetitors,
    choose_competitors,
    number_instances,
    overlaps,
)
from semiconv_d2.modeling.regions import index_boxes

ALONE = ("MODEL.SEMICONV.COMPETITION", False)


class Given:
    """Competitors that are known."""

    def __init__(self, seeds: torch.Tensor, weights: torch.Tensor):
        self.found = CompetingSeeds(seeds, weights)

    def seeds_against(self, seeds, sigma, kernel):
        return self.found


def competing_kernel(sigma_init: float, log_background_ratio: float, **options) -> SeedKernel:
    kernel = SeedKernel(sigma_init=sigma_init, gain="fixed", competition=Competition(), **options)
    kernel.competition.log_background_ratio.set(log_background_ratio)
    return kernel


def distance(a, b) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) + 1e-4)


def test_shares_against_loops():
    kernel = competing_kernel(2.0, 0.4)
    logits, embedding = torch.randn(2, 3, 3), torch.randn(2, 4, 3, 3)
    seeds, weights = torch.randn(2, 3, 4), torch.tensor([[1.0, 0.5, 0.0], [0.25, 0.0, 0.0]])
    masks = kernel(logits, embedding, Given(seeds, weights))
    for r in range(2):
        psi = embedding[r].flatten(1).t().tolist()
        p = logits[r].flatten().softmax(0).tolist()
        seed = [sum(w * x[d] for w, x in zip(p, psi, strict=True)) for d in range(4)]
        shares, rescored = [], []
        for pixel, logit in zip(psi, logits[r].flatten().tolist(), strict=True):
            own = math.exp(-distance(pixel, seed) / 2)
            rest = math.exp(-1 + 0.4)
            for weight, other in zip(weights[r].tolist(), seeds[r].tolist(), strict=True):
                rest += weight * math.exp(-distance(pixel, other) / 2)
            shares.append(own / (own + rest))
            rescored.append(logit + math.log(own / rest))
        assert masks.log_kernel[r].exp().flatten().tolist() == pytest.approx(shares, abs=1e-4)
        assert masks.rescored[r].flatten().tolist() == pytest.approx(rescored, abs=1e-4)


def test_a_pixel_goes_to_the_nearer_seed():
    """Two seeds on a line of pixels: the logit of the share changes its sign half-way."""
    kernel = competing_kernel(1.0, -20.0)
    x = torch.arange(11.0)
    embedding = torch.stack([x, torch.zeros(11)])[None, :, None].expand(1, 2, 11, 11)
    logits = torch.where(x == 2, 50.0, 0.0).expand(1, 11, 11)  # the seed is at 2
    competitor = Given(torch.tensor([[[8.0, 0.0]]]), torch.ones(1, 1))
    evidence = kernel(logits, embedding, competitor).evidence
    assert (evidence[0, :, :5] > 0).all()
    assert (evidence[0, :, 6:] < 0).all()
    assert evidence[0, :, 5].abs().max() < 1e-3
    alone = kernel(logits, embedding).evidence
    assert (alone > 0).all(), "nothing but a background that is far away"


def test_gradients_are_finite_and_reach_the_competitors():
    kernel = competing_kernel(3.0, 0.0)
    embedding = torch.randn(2, 4, 3, 3, requires_grad=True)
    seeds = torch.randn(2, 2, 4, requires_grad=True)
    with torch.no_grad():
        seeds[0, 0] = embedding[0].flatten(1).mean(dim=1)  # as near as can be
    competitors = Given(seeds, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    kernel(torch.zeros(2, 3, 3), embedding, competitors).rescored.sum().backward()
    assert embedding.grad.isfinite().all()
    assert seeds.grad[0, 0].any()
    assert not seeds.grad[0, 1].any()
    assert kernel.competition.log_background_ratio.value.grad.isfinite()


def test_mean_seeds_are_those_of_own_pixels_in_the_image():
    embedding = torch.randn(3, 4, 5, 5)
    masks = torch.rand(3, 5, 5) > 0.5
    masks[2] = False
    regions = index_boxes([Boxes(torch.rand(2, 4)), Boxes(torch.rand(1, 4))])
    seeds = InstanceSeeds.of(embedding, masks, regions)
    for i in range(2):
        mean = embedding[i][:, masks[i]].mean(dim=1)
        torch.testing.assert_close(seeds.embedding[i], mean)
    assert torch.equal(seeds.regions[:3], regions)
    assert seeds.known[:3].tolist() == [1, 1, 0], "the last has no pixel to make a seed of"
    assert all(len(x) == 3 + MAX_COMPETITORS for x in seeds)
    assert not seeds.known[3:].any()


def chosen(competitors, seeds=None) -> CompetingSeeds:
    return competitors.seeds_against(seeds, torch.tensor(2.0), "laplacian")


def boxes_in_a_row(*starts: float, length: float = 10.0) -> Boxes:
    return Boxes(torch.tensor([[x, 0.0, x + length, 10.0] for x in starts]))


def test_overlaps_are_within_an_image():
    first, second = boxes_in_a_row(0, 100), boxes_in_a_row(4)
    regions = index_boxes([first, second])
    expected = torch.tensor([[100.0, 0, 0], [0, 100, 0], [0, 0, 100]])
    assert torch.equal(overlaps(regions, regions), expected)
    together = index_boxes([boxes_in_a_row(0, 100, 4)])
    assert overlaps(together, together)[0].tolist() == [100, 0, 60]


def test_instances_compete_with_all_but_themselves():
    """Three instances of one image on each other, and one of another image in the same place."""
    instances = index_boxes([boxes_in_a_row(0, 1, 2), boxes_in_a_row(0)])
    masks = torch.ones(4, 3, 3, dtype=torch.bool)
    masks[2] = False
    embedding = torch.randn(4, 2, 3, 3)
    seeds = InstanceSeeds.of(embedding, masks, instances)
    proposals = index_boxes([boxes_in_a_row(0, 0), boxes_in_a_row(0)])
    competitors = chosen(TrueCompetitors(proposals, torch.tensor([1, 0, 3]), seeds))
    assert competitors.seeds.shape == (3, MAX_COMPETITORS, 2)
    assert competitors.weights.sum(dim=1).tolist() == [1, 1, 0], "one has no pixels, one is alone"
    means = embedding.mean(dim=(2, 3))
    torch.testing.assert_close(competitors.seeds[0][competitors.weights[0] > 0][0], means[0])
    torch.testing.assert_close(competitors.seeds[1][competitors.weights[1] > 0][0], means[1])


def test_detections_compete_by_score_and_not_with_their_doubles():
    seeds = torch.tensor([[0.0, 0.0], [0.0, 0.01], [50.0, 0.0], [50.0, 0.0]])
    regions = index_boxes([boxes_in_a_row(0, 1, 2), boxes_in_a_row(0)])

    def weights(scores):
        """(4, 4), by which competitor it is."""
        found = chosen(DetectionCompetitors(regions, scores), seeds)
        matrix = torch.zeros(4, 4)
        for i in range(4):
            for seed, weight in zip(found.seeds[i], found.weights[i].tolist(), strict=True):
                if weight:
                    [same] = (seeds[:3] == seed).all(dim=1).nonzero()[0].tolist()
                    matrix[i, same] = weight
        return matrix

    by_score = weights(torch.tensor([0.9, 0.8, 0.5, 0.7]))
    assert not by_score.diagonal().any()
    assert by_score[0, 1] < 0.01
    assert by_score[1, 0] < 0.01
    assert by_score[0, 2].item() == pytest.approx(0.25)
    assert by_score[2, 0].item() == pytest.approx(0.81)
    assert not by_score[3].any(), "it is alone in its image"
    assert weights(None)[2, 0].item() == pytest.approx(1.0)


def test_competitors_are_those_that_reach_into_the_region(monkeypatch):
    monkeypatch.setattr(competition, "MAX_COMPETITORS", 2)
    seeds = torch.arange(8.0).view(4, 2)
    overlap = torch.tensor([[100.0, 50.0, 20.0, 10.0], [0.0, 0.0, 0.0, 0.0]])
    weights = torch.tensor([[0.0, 1.0, 0.1, 0.9], [0.0, 0.0, 0.0, 0.0]])
    competitors = choose_competitors(seeds, weights, overlap)
    # By weight 50, 2 and 9; and into the second region none reaches.
    assert torch.equal(competitors.weights, torch.tensor([[1.0, 0.9], [0.0, 0.0]]))
    assert torch.equal(competitors.seeds[0], torch.tensor([[2.0, 3.0], [6.0, 7.0]]))


def test_no_instances_have_competitors_without_weight():
    none = InstanceSeeds.of(torch.zeros(0, 2, 3, 3), torch.zeros(0, 3, 3), torch.zeros(0, 5))
    assert isinstance(none, InstanceSeeds)
    regions, numbers = torch.zeros(0, 5), torch.zeros(0)
    competitors = chosen(TrueCompetitors(regions, numbers, none))
    assert competitors.seeds.shape == (0, MAX_COMPETITORS, 2)
    competitors = DetectionCompetitors(regions, None)
    assert chosen(competitors, torch.zeros(0, 2)).weights.shape == (0, MAX_COMPETITORS)


def test_numbers_are_given_to_copies():
    first = Instances((9, 9), gt_boxes=Boxes(torch.rand(3, 4)))
    empty = Instances((9, 9), gt_boxes=Boxes(torch.rand(0, 4)))
    numbered, none, last = number_instances([first, empty, first[:1]])
    assert numbered.get(NUMBER).tolist() == [0, 1, 2]
    assert last.get(NUMBER).tolist() == [3]
    assert not first.has(NUMBER)
    assert not none.has(NUMBER)


# --- In a model.


@pytest.mark.parametrize("counts", [(3, 1), (2, 0), (0,)])
@pytest.mark.parametrize("masks", ["bitmask", "polygon"])
def test_every_parameter_learns(make_model, make_batch, losses_of, counts, masks):
    model = make_model("INPUT.MASK_FORMAT", masks)
    losses = losses_of(model, make_batch(*counts, masks=masks))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    own = [p for n, p in model.named_parameters() if "mask_branch" in n]
    assert len(own) == 7
    assert all(p.grad is not None and p.grad.isfinite().all() for p in own)
    if sum(counts) > 1:
        assert (
            model.roi_heads.mask_branch.seed_kernel.competition.log_background_ratio.value.grad != 0
        )


def test_regions_have_their_own_instances_as_no_competitors(make_model, make_batch, losses_of):
    """What each sampled proposal competes with, through the losses."""
    model = make_model()
    seen = []
    original = model.roi_heads.mask_branch.seed_kernel.forward

    def spy(logits, embedding, competitors):
        seen.append(competitors.chosen.weights)
        return original(logits, embedding, competitors)

    model.roi_heads.mask_branch.seed_kernel.forward = spy
    losses_of(model, make_batch(3))
    [weights] = seen
    # Three squares along the diagonal that overlap each other: two competitors of every one.
    assert (weights.sum(dim=1) == 2).all()
    seen.clear()
    losses_of(model, make_batch(1))
    assert not seen[0].any()


def test_attached_it_is_the_stock_model_and_trained_it_depends_on_the_others(
    make_model, make_batch, predict
):
    stock = make_model("MODEL.ROI_HEADS.NAME", "StandardROIHeads")
    model = make_model(like=stock)
    batch = make_batch(2)
    expected, found = predict(stock, batch), predict(model, batch)
    assert torch.equal(found[0].pred_masks, expected[0].pred_masks)

    model.roi_heads.mask_branch.seed_kernel.gain.set(1.0)
    batch_image = model.preprocess_image(batch)
    with torch.no_grad():
        features = model.backbone(batch_image.tensor)
        boxes = torch.tensor([[10.0, 10, 60, 60], [30.0, 30, 80, 80]])
        regions = Instances(
            (96, 96),
            pred_boxes=Boxes(boxes),
            pred_classes=torch.zeros(2, dtype=torch.long),
            scores=torch.tensor([0.9, 0.9]),
        )
        together = model.roi_heads.rescore_masks(features, [regions])
        alone = model.roi_heads.rescore_masks(features, [regions[:1]])
    torch.testing.assert_close(together.logits[:1], alone.logits)
    change = together.rescored[0] - alone.rescored[0]
    assert (change < 0).all(), "a competitor takes its share of every pixel"
    assert change[-1, -1] < change[0, 0], "and most of it where it is near"


def test_levels_of_their_own_are_refused(make_cfg):
    from detectron2.modeling import build_model

    message = r"COMPETITION compares.*EMBEDDING_LEVELS to 'summed', or COMPETITION to False"
    with pytest.raises(ValueError, match=message):
        build_model(make_cfg("MODEL.SEMICONV.EMBEDDING_LEVELS", "assigned"))


def test_a_share_stays_below_one_however_far_the_background_is():
    kernel = competing_kernel(10.0, -40.0)
    embedding = torch.zeros(1, 2, 3, 3, requires_grad=True)
    masks = kernel(torch.zeros(1, 3, 3), embedding)
    assert (masks.log_kernel <= 0).all()
    assert masks.rescored.isfinite().all()
    masks.rescored.sum().backward()
    assert embedding.grad.isfinite().all()
