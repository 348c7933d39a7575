"""Decoders: exact where the embedding is, sensible where it is not."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from semiconv_d2.modeling.coloring import DECODER_REGISTRY, Pixels, Segment, decode, radius
from semiconv_d2.modeling.coloring.ball_index import BallIndex
from semiconv_d2.modeling.coloring.seed_decoders import REFINEMENTS, greedy, mean_shift
from semiconv_d2.ops import KERNELS, log_kernel

DECODERS = ("greedy", "kmeans", "mean_shift")
BOTTOM_UP = ("greedy", "mean_shift")
SIGMA = 1 / math.log(2)  # the Laplacian's radius is 1


def as_pixels(embedding, foreground=None, *, sigma=SIGMA, kernel="laplacian") -> Pixels:
    embedding = torch.as_tensor(embedding, dtype=torch.float32)
    if foreground is None:
        foreground = torch.ones(len(embedding))
    return Pixels(embedding, torch.as_tensor(foreground), sigma, kernel)


def on_a_line(*groups: tuple[float, int], foreground=None) -> Pixels:
    """Groups of pixels of one value, (value, number), the others of eight channels being 0."""
    embedding = torch.zeros(sum(number for _, number in groups), 8)
    embedding[:, 0] = torch.cat([torch.full((number,), value) for value, number in groups])
    return as_pixels(embedding, foreground)


def instances(number: int, *, noise: float = 0.0, largest: int = 30) -> tuple[Pixels, set]:
    """Instances of 1 to `largest` pixels each, in no order, four radii apart; and their pixels."""
    side = math.isqrt(number - 1) + 1
    index = torch.arange(number)
    centres = torch.rand(number, 8)
    centres[:, 0], centres[:, 1] = 4.0 * (index % side), 4.0 * (index // side)
    sizes = torch.randint(1, largest + 1, (number,))
    sizes[0] = 1
    owner = index.repeat_interleave(sizes)
    owner = owner[torch.randperm(len(owner))]
    embedding = centres[owner] + noise * torch.randn(len(owner), 8)
    expected = {frozenset((owner == i).nonzero()[:, 0].tolist()) for i in range(number)}
    return as_pixels(embedding), expected


def as_sets(segments: list[Segment]) -> set:
    found = {frozenset(s.pixels.tolist()) for s in segments}
    assert len(found) == len(segments)
    return found


def check_segments(segments: list[Segment], total: int) -> None:
    scores = [s.score for s in segments]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    for segment in segments:
        assert segment.pixels.dtype == torch.int64
        assert len(segment.pixels) > 0
        assert (segment.pixels.diff() > 0).all()
        assert segment.pixels[0] >= 0
        assert segment.pixels[-1] < total


# --- All decoders.


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise", [0, 0.01, 0.1])
@pytest.mark.parametrize("number", [1, 2, 7, 50, 400])
@pytest.mark.parametrize("decoder", DECODERS)
def test_separate_instances_are_found_exactly(decoder, number, noise):
    pixels, expected = instances(number, noise=noise)
    segments = decode(pixels, decoder, max_instances=number, count=number)
    check_segments(segments, len(pixels.embedding))
    assert as_sets(segments) == expected
    if noise == 0:
        assert {s.score for s in segments} == {1.0}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spread", [0.02, 0.5, 20])
@pytest.mark.parametrize("decoder", DECODERS)
def test_pure_noise(decoder, spread):
    pixels = as_pixels(spread * torch.randn(2000, 8), torch.rand(2000))
    segments = decode(pixels, decoder, max_instances=20, count=10)
    check_segments(segments, 2000)
    assert 1 <= len(segments) <= 20
    if decoder == "kmeans":
        assert len(segments) == 10
        assert sum(len(s.pixels) for s in segments) == 2000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_constant_embedding_is_one_segment(decoder, count):
    pixels = as_pixels(torch.full((100, 8), 1000.1))
    [segment] = decode(pixels, decoder, max_instances=10, count=count)
    assert segment.pixels.tolist() == list(range(100))
    assert segment.score == 1


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted(decoder, value):
    pixels = as_pixels(torch.zeros(1200, 8))
    pixels.embedding[5, 2] = pixels.embedding[5, 3] = pixels.embedding[7, 0] = value
    with pytest.raises(ValueError, match=r"embedding of 2 of 1,200 pixels is not finite"):
        decode(pixels, decoder, max_instances=10, count=1)
    pixels = as_pixels(torch.zeros(3, 8), torch.tensor([1.0, value, 1.0]))
    with pytest.raises(ValueError, match=r"foreground of 1 of 3 pixels is not finite"):
        decode(pixels, decoder, max_instances=10, count=1)


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_pixels_no_segments(decoder):
    assert decode(as_pixels(torch.zeros(0, 8)), decoder, max_instances=10, count=3) == []


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_best_are_kept(decoder):
    foreground = torch.cat([torch.full((10,), v) for v in (0.7, 0.9, 0.5, 0.8)])
    pixels = on_a_line((0, 10), (4, 10), (8, 10), (12, 10), foreground=foreground)
    segments = decode(pixels, decoder, max_instances=3, count=4)
    assert [s.score for s in segments] == pytest.approx([0.9, 0.8, 0.7])
    assert [int(s.pixels[0]) for s in segments] == [10, 30, 0]
    assert decode(pixels, decoder, max_instances=0, count=4) == []


@pytest.mark.parametrize("decoder", DECODERS)
def test_small_segments_are_dropped(decoder):
    pixels = on_a_line((0, 10), (4, 3), (8, 4))
    for min_pixels, expected in ((0, 3), (1, 3), (4, 2), (5, 1), (11, 0)):
        segments = decode(pixels, decoder, max_instances=9, min_pixels=min_pixels, count=3)
        assert len(segments) == expected


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_same_again(decoder):
    """Whatever the generators of random numbers are at."""
    pixels = as_pixels(torch.randn(1000, 8), torch.rand(1000))
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        segments = decode(pixels, decoder, max_instances=20, count=10)
        results.append([(s.pixels.tolist(), s.score) for s in segments])
    assert results[0] == results[1]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("scale", [1e-4, 1e6, 1e30])
def test_any_magnitude(decoder, scale):
    pixels, expected = instances(20)
    pixels = as_pixels(scale * pixels.embedding, sigma=scale * SIGMA)
    assert as_sets(decode(pixels, decoder, max_instances=20, count=20)) == expected


@pytest.mark.parametrize("decoder", BOTTOM_UP)
def test_an_outlier_far_out_costs_no_exactness(decoder):
    pixels, expected = instances(20)
    far = torch.full((1, 8), 1e30)
    found = decode(
        as_pixels(torch.cat([pixels.embedding, far, -far])), decoder, max_instances=30, count=22
    )
    total = len(pixels.embedding)
    assert as_sets(found) == expected | {frozenset([total]), frozenset([total + 1])}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("decoder", BOTTOM_UP)
def test_a_segment_ends_where_k_is_one_half(decoder, kernel):
    end = radius(3.0, kernel)
    assert log_kernel(torch.tensor(end), 3.0, kernel).item() == pytest.approx(math.log(0.5))
    embedding = torch.zeros(1002, 8)
    embedding[1000, 4], embedding[1001, 4] = 0.98 * end, -1.02 * end
    segments = decode(as_pixels(embedding, sigma=3.0, kernel=kernel), decoder, max_instances=9)
    assert sorted(map(len, as_sets(segments))) == [1, 1001]
    assert frozenset([1001]) in as_sets(segments)


def test_an_unknown_kernel_names_the_choices():
    with pytest.raises(ValueError, match=r"kernel is 'cauchy'.*'laplacian', 'gaussian'"):
        radius(1.0, "cauchy")


# --- Greedy.


def score_of(pixels):
    [found] = decode(pixels, "greedy", max_instances=9)
    return found.score


def test_segments_share_what_lies_between_two_seeds():
    found = decode(on_a_line((0, 40), (0.8, 10), (1.6, 40)), "greedy", max_instances=9)
    assert as_sets(found) == {frozenset(range(50)), frozenset(range(40, 90))}
    assert found[0].score > found[1].score  # the second has four fifths to itself


def test_a_seed_among_claimed_pixels_is_dropped():
    """And joins the segment that has claimed them, as the pixels around it do."""
    [found] = decode(on_a_line((0, 40), (0.7, 30), (1.4, 10)), "greedy", max_instances=9)
    assert found.pixels.tolist() == list(range(80))
    assert found.score == pytest.approx(score_of(on_a_line((0, 40), (0.7, 30))), abs=1e-6)


def test_a_seed_that_moves_among_claimed_pixels_is_dropped():
    foreground = torch.cat([torch.ones(70), torch.full((10,), 0.5), torch.full((1,), 0.9)])
    pixels = on_a_line((0, 40), (0.7, 30), (1.4, 10), (2.2, 1), foreground=foreground)
    [found] = decode(pixels, "greedy", max_instances=9)
    assert found.pixels.tolist() == list(range(81))


def test_the_limit_keeps_the_best_and_changes_no_mask():
    """The crowded instance comes first and is the more scattered one."""
    loose = 0.8 * torch.rand(60, 2)
    embedding = torch.cat([loose, torch.full((9, 2), 9.0), torch.full((1, 2), 10.9)])
    both = decode(as_pixels(embedding), "greedy", max_instances=9, min_pixels=2)
    [best] = decode(as_pixels(embedding), "greedy", max_instances=1, min_pixels=2)
    assert len(both) == 2
    assert best.pixels.tolist() == both[0].pixels.tolist() == list(range(60, 70))


def test_pixels_that_nobody_has_join_the_nearest_segment_unless_it_is_far():
    """K = 1/2 at 1 of on_a_line, so 0.05 at 4.3."""
    pixels = on_a_line((0, 40), (10, 40), (2, 1), (8, 1), (5, 1), (14, 1), (16, 1))
    found = decode(pixels, "greedy", max_instances=9, min_pixels=2)
    expected = {frozenset([*range(40), 80]), frozenset([*range(40, 80), 81, 83])}
    assert as_sets(found) == expected


def test_seeds_are_the_most_surely_foreground_then_the_most_crowded_then_the_first():
    groups = ((0, 5), (4, 50), (8, 50))
    sure = torch.cat([torch.full((5,), 0.9), torch.full((100,), 0.6)])
    for foreground, first in ((sure, 0), (None, 5)):
        [segment] = decode(on_a_line(*groups, foreground=foreground), "greedy", max_instances=1)
        assert segment.pixels[0] == first


def test_a_seed_moves_to_the_middle_of_its_instance():
    """From the surest pixel, at the border."""
    embedding = torch.rand(500, 2) * 1.2
    embedding[0] = torch.tensor([0.0, 0.6])
    foreground = torch.full((500,), 0.5)
    foreground[0] = 1
    [segment] = decode(as_pixels(embedding, foreground), "greedy", max_instances=1)
    assert len(segment.pixels) == 500


@pytest.mark.parametrize("decoder", [greedy, mean_shift])
def test_only_so_many_seeds_are_tried(decoder, monkeypatch):
    tried = []
    original = BallIndex.ball
    monkeypatch.setattr(BallIndex, "ball", lambda *a: tried.append(a) or original(*a))
    pixels = as_pixels(1000 * torch.randn(500, 8))
    decoder(pixels, max_instances=4, min_pixels=2, seeds_per_instance=3)
    assert 0 < len(tried) <= 4 * 3 * (1 + REFINEMENTS)


# --- Mean shift.


def test_mean_shift_agrees_with_scikit_learn():
    from sklearn.cluster import MeanShift

    centres = 6 * torch.randn(12, 2).mul(2).round()
    owner = torch.randint(0, 12, (600,))
    embedding = centres[owner] + 0.2 * torch.randn(600, 2)
    labels = MeanShift(bandwidth=1.0, bin_seeding=True).fit_predict(embedding.numpy())
    expected = {frozenset(np.flatnonzero(labels == i).tolist()) for i in np.unique(labels)}
    found = decode(as_pixels(embedding), "mean_shift", max_instances=50)
    assert as_sets(found) == expected


def test_a_pixel_goes_to_the_nearest_mode():
    found = decode(on_a_line((0, 50), (0.6, 1), (1.4, 50)), "mean_shift", max_instances=9)
    assert as_sets(found) == {frozenset(range(51)), frozenset(range(51, 101))}


def test_a_pixel_far_from_every_mode_goes_to_none():
    found = decode(on_a_line((0, 100), (0.6, 20), (1.4, 1)), "mean_shift", max_instances=9)
    assert as_sets(found) == {frozenset(range(120))}


# --- K-means.


@pytest.mark.filterwarnings("error")
def test_kmeans_finds_single_pixels_beside_large_instances():
    """Random starts miss them: a pixel weighs nothing against the noise of a thousand."""
    sizes = torch.cat([torch.ones(40), torch.full((360,), 250)]).long()
    owner = torch.arange(400).repeat_interleave(sizes)
    centres = torch.zeros(400, 8)
    centres[:, 0], centres[:, 1] = torch.arange(400) % 20, torch.arange(400) // 20
    pixels = as_pixels(centres[owner] + 0.02 * torch.randn(len(owner), 8))
    found = decode(pixels, "kmeans", max_instances=400, count=400)
    assert as_sets(found) == {
        frozenset(x.tolist()) for x in torch.arange(len(owner)).split(sizes.tolist())
    }


def test_kmeans_far_from_the_origin():
    pixels = on_a_line((4096.0, 20), (4096.01, 20), (4096.02, 20), (0.0, 1))
    found = decode(pixels, "kmeans", max_instances=9, count=4)
    assert as_sets(found) == {
        frozenset(range(0, 20)),
        frozenset(range(20, 40)),
        frozenset(range(40, 60)),
        frozenset([60]),
    }


def test_kmeans_is_not_misled_by_an_outlier():
    pixels = on_a_line(*((4 * i, 50) for i in range(10)))
    embedding = torch.cat([pixels.embedding + 0.1 * torch.randn(500, 8), torch.full((1, 8), 2.0)])
    found = as_sets(decode(as_pixels(embedding), "kmeans", max_instances=20, count=10))
    assert {s - {500} for s in found} == {frozenset(range(50 * i, 50 * i + 50)) for i in range(10)}


def test_kmeans_needs_the_number_of_instances():
    with pytest.raises(ValueError, match=r"'kmeans' needs the number of instances.*num_instances"):
        decode(on_a_line((0, 3)), "kmeans", max_instances=9)
    assert decode(on_a_line((0, 3)), "kmeans", max_instances=9, count=0) == []


def test_kmeans_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        decode(on_a_line((0, 3)), "kmeans", max_instances=9, count=1)


# --- Registry.


def test_an_unknown_decoder_names_those_there_are():
    with pytest.raises(ValueError, match=r"decoder is 'magic'.*'greedy', 'mean_shift', 'kmeans'"):
        decode(on_a_line((0, 3)), "magic", max_instances=9)


def test_a_decoder_of_ones_own(monkeypatch):
    monkeypatch.setattr(DECODER_REGISTRY, "_obj_map", dict(DECODER_REGISTRY._obj_map))

    @DECODER_REGISTRY.register()
    def everything(pixels, *, max_instances, min_pixels, count):
        everyone = torch.arange(len(pixels.embedding))
        return [Segment(everyone[:1], 0.1), Segment(everyone, 0.5), Segment(everyone[1:], 0.9)]

    found = decode(on_a_line((0, 3)), "everything", max_instances=2, min_pixels=2)
    assert [s.score for s in found] == [0.9, 0.5]
