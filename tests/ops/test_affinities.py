import math
import weakref

import pytest
import torch
from naive import naive_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from semiconv_d2.ops import (
    KERNELS,
    bilateral_embedding,
    kernel_filter,
    log_affinities,
    log_affinity_blocks,
    map_coordinates,
    seed_log_kernel,
)


def naive_bilateral(image, sigma_space, sigma_range):
    """exp(−|u − v|² / 2σ_s²) · exp(−|I_u − I_v|² / 2σ_r²) of all pairs of pixels, as lists."""
    _, height, width = image.shape
    pixels = [(i, j, image[:, i, j].tolist()) for i in range(height) for j in range(width)]
    rows = []
    for i, j, colour in pixels:
        row = []
        for k, m, other in pixels:
            space = (i - k) ** 2 + (j - m) ** 2
            difference = sum((a - b) ** 2 for a, b in zip(colour, other, strict=True))
            row.append(
                math.exp(-space / (2 * sigma_space**2))
                * math.exp(-difference / (2 * sigma_range**2))
            )
        rows.append(row)
    return rows


def as_pixels(image):
    """(C, H, W) as (P, C)."""
    return image.flatten(1).T


def all_pairs(embedding, *args, **options):
    """The blocks put together, P × P."""
    return torch.cat([block for _, block in log_affinity_blocks(embedding, *args, **options)])


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made inside it held at any one time."""

    now = peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not func.is_view:
            storage = result.untyped_storage()
            self.count(storage.nbytes())
            weakref.finalize(storage, self.count, -storage.nbytes())
        return result

    def count(self, nbytes):
        self.now += nbytes
        self.peak = max(self.peak, self.now)


@pytest.mark.parametrize("kernel", KERNELS)
def test_seeds_against_loops(kernel):
    embedding = torch.randn(4, 5, 6, dtype=torch.float64)
    seeds = torch.randn(3, 4, dtype=torch.float64)
    k = log_affinities(embedding, seeds, 1.7, kernel).exp()
    of_pixels = log_affinities(as_pixels(embedding), seeds, 1.7, kernel).exp()
    assert k.shape == (3, 5, 6)
    assert of_pixels.shape == (3, 30)
    for s in range(3):
        for i in range(5):
            for j in range(6):
                expected = naive_kernel(embedding[:, i, j], seeds[s], 1.7, kernel)
                assert math.isclose(k[s, i, j].item(), expected, rel_tol=1e-12)
                assert math.isclose(of_pixels[s, 6 * i + j].item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_image_is_a_region_with_several_seeds(kernel):
    embedding, seeds = torch.randn(8, 9, 7), torch.randn(5, 8)
    expected = seed_log_kernel(embedding.expand(5, -1, -1, -1), seeds, 3.0, kernel)
    torch.testing.assert_close(log_affinities(embedding, seeds, 3.0, kernel), expected)


def test_no_seeds():
    assert log_affinities(torch.zeros(8, 4, 5), torch.zeros(0, 8), 1.0).shape == (0, 4, 5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_all_pairs_against_loops(kernel):
    embedding = torch.randn(3, 4, 5, dtype=torch.float64)
    k = all_pairs(embedding, 1.7, kernel, max_bytes=8000).exp()
    pixels = as_pixels(embedding)
    for u in range(20):
        for v in range(20):
            expected = naive_kernel(pixels[u], pixels[v], 1.7, kernel)
            assert math.isclose(k[u, v].item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 10, 21, 42, 1000])
def test_blocks_are_the_rows_of_the_whole(rows):
    """However many at a time; 6 × 7 pixels of 8 channels."""
    embedding = torch.randn(8, 6, 7)
    expected = all_pairs(embedding, 2.0)
    assert expected.shape == (42, 42)
    start = 0
    for block_rows, block in log_affinity_blocks(embedding, 2.0, max_bytes=rows * 18 * 42 * 4):
        assert block_rows == slice(start, min(start + rows, 42))
        torch.testing.assert_close(block, expected[block_rows])
        start = block_rows.stop
    assert start == 42


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_peak_is_within_the_bound(channels, kernel, dtype):
    embedding = torch.randn(channels, 20, 30, dtype=dtype)
    max_bytes = 200_000
    with LiveBytes() as live:
        for _, block in log_affinity_blocks(embedding, 1.0, kernel, max_bytes=max_bytes):
            assert (2 * channels + 2) * block.numel() * block.element_size() <= max_bytes
    assert max_bytes / 2 < live.peak <= max_bytes


def test_peak_of_filtering_is_within_the_bound_but_for_the_result():
    embedding, values = torch.randn(8, 20, 30), torch.randn(3, 20, 30)
    with LiveBytes() as live:
        kernel_filter(values, embedding, 1.0, max_bytes=200_000)
    assert 100_000 < live.peak <= 200_000 + 2 * values.nbytes


@pytest.mark.parametrize("kernel", KERNELS)
def test_small_distances_far_from_the_origin_are_accurate(kernel):
    """As between neighbours in a large image; a² + b² − 2ab would have no digit right."""
    pixels = 4000 + torch.rand(50, 2)
    exact = all_pairs(pixels.double(), 1.0, kernel)
    torch.testing.assert_close(all_pairs(pixels, 1.0, kernel).double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_filter_against_loops(kernel):
    embedding = torch.randn(3, 4, 5, dtype=torch.float64)
    values = torch.randn(2, 4, 5, dtype=torch.float64)
    psi, x = as_pixels(embedding), as_pixels(values)
    of_image = kernel_filter(values, embedding, 0.8, kernel, max_bytes=5000)
    of_pixels = kernel_filter(x, psi, 0.8, kernel, max_bytes=5000)
    assert of_image.shape == (2, 4, 5)
    assert of_pixels.shape == (20, 2)
    for u in range(20):
        weights = [naive_kernel(psi[u], psi[v], 0.8, kernel) for v in range(20)]
        for c in range(2):
            total = sum(w * x[v, c].item() for v, w in enumerate(weights))
            expected = total / sum(weights)
            assert math.isclose(of_image[c, u // 5, u % 5].item(), expected, rel_tol=1e-9)
            assert math.isclose(of_pixels[u, c].item(), expected, rel_tol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_filter_of_far_pixels_is_each_its_own(kernel):
    """Where all other affinities underflow."""
    embedding = 1e6 * torch.randn(2, 4, 5)
    values = torch.randn(3, 4, 5)
    torch.testing.assert_close(kernel_filter(values, embedding, 0.1, kernel), values)


def test_filter_of_a_constant_is_that_constant():
    values = torch.full((1, 4, 5), 7, dtype=torch.uint8)
    filtered = kernel_filter(values, torch.randn(8, 4, 5), 1.0)
    torch.testing.assert_close(filtered, values.float())


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(kernel):
    embedding = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    seeds = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    values = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    log_sigma = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def to_seeds(embedding, seeds, log_sigma):
        return log_affinities(embedding, seeds, log_sigma.exp(), kernel)

    def filtered(values, embedding, log_sigma):
        return kernel_filter(values, embedding, log_sigma.exp(), kernel, max_bytes=1000)

    assert torch.autograd.gradcheck(to_seeds, (embedding, seeds, log_sigma))
    assert torch.autograd.gradcheck(filtered, (values, embedding, log_sigma))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_to_float32(dtype):
    embedding = torch.randn(8, 6, 5).to(dtype).requires_grad_()
    values = torch.randn(3, 6, 5).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        to_seeds = log_affinities(embedding, as_pixels(embedding)[:4], 2.0)
        pairs = all_pairs(embedding, 2.0)
        filtered = kernel_filter(values, embedding, 2.0)
    raised = embedding.detach().float()
    torch.testing.assert_close(to_seeds, pairs[:4].unflatten(1, (6, 5)))
    torch.testing.assert_close(pairs, all_pairs(raised, 2.0))
    torch.testing.assert_close(filtered, kernel_filter(values.float(), raised, 2.0))
    [gradient] = torch.autograd.grad(filtered.sum() + pairs.sum(), embedding)
    assert torch.isfinite(gradient).all()


def test_inputs_need_not_be_contiguous():
    embedding = torch.randn(6, 10, 8).permute(2, 0, 1)[:, :, ::2]
    values = torch.randn(3, 5, 6).transpose(1, 2)
    expected = kernel_filter(values.contiguous(), embedding.contiguous(), 1.0)
    torch.testing.assert_close(kernel_filter(values, embedding, 1.0), expected)
    seeds = torch.randn(8, 4).T
    expected = log_affinities(embedding.contiguous(), seeds.contiguous(), 1.0)
    torch.testing.assert_close(log_affinities(embedding, seeds, 1.0), expected)


def test_bilateral_affinities_are_the_classic_ones():
    """Equation (8) with Φ^g = 0 and Φ^a = RGB, of all pairs of pixels."""
    image = torch.rand(3, 6, 7, dtype=torch.float64)
    grid = map_coordinates(6, 7, dtype=torch.float64)
    psi = bilateral_embedding(image, grid, sigma_space=3.0, sigma_range=0.2)
    k = all_pairs(psi, 1.0, "gaussian", epsilon=0.0).exp()
    expected = torch.tensor(naive_bilateral(image, 3.0, 0.2), dtype=torch.float64)
    torch.testing.assert_close(k, expected, rtol=1e-9, atol=0)


def test_bilateral_filter_is_the_classic_one():
    image = torch.rand(3, 6, 7, dtype=torch.float64)
    grid = map_coordinates(6, 7, dtype=torch.float64)
    psi = bilateral_embedding(image, grid, sigma_space=3.0, sigma_range=0.2)
    filtered = kernel_filter(image, psi, 1.0, "gaussian", max_bytes=20_000)
    for u, weights in enumerate(naive_bilateral(image, 3.0, 0.2)):
        for c in range(3):
            colours = image[c].flatten().tolist()
            expected = sum(w * x for w, x in zip(weights, colours, strict=True)) / sum(weights)
            assert math.isclose(filtered[c, u // 7, u % 7].item(), expected, rel_tol=1e-9)


def test_bilateral_filter_of_a_grey_image_is_that_of_opencv():
    """Away from the border, which OpenCV reflects, and with a window of six σ.

    Colours would differ: OpenCV adds up the absolute differences of the channels.
    """
    cv2 = pytest.importorskip("cv2")
    image, radius, sigma_space, sigma_range = torch.rand(32, 32), 9, 1.5, 0.2
    psi = bilateral_embedding(
        image[None], map_coordinates(32, 32), sigma_space=sigma_space, sigma_range=sigma_range
    )
    [filtered] = kernel_filter(image[None], psi, 1.0, "gaussian")
    expected = cv2.bilateralFilter(image.numpy(), 2 * radius + 1, sigma_range, sigma_space)
    inside = slice(radius, -radius)
    torch.testing.assert_close(
        filtered[inside, inside],
        torch.from_numpy(expected)[inside, inside],
        rtol=0,
        atol=1e-5,  # OpenCV looks exponentials up in a table
    )


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"seeds has shape \(3, 4\); it must be \(S, 8\)"):
        log_affinities(torch.zeros(8, 5, 6), torch.zeros(3, 4), 1.0)
    with pytest.raises(ValueError, match=r"\(1, 8, 5, 6\) is neither that of an image"):
        log_affinities(torch.zeros(1, 8, 5, 6), torch.zeros(3, 8), 1.0)
    with pytest.raises(ValueError, match=r"\(0, 8\) is neither"):
        log_affinity_blocks(torch.zeros(0, 8), 1.0)
    for shape in ((3, 5, 5), (30, 3)):
        with pytest.raises(ValueError, match="the same pixels, in the same layout"):
            kernel_filter(torch.zeros(shape), torch.zeros(8, 5, 6), 1.0)


def test_a_bound_below_one_row_says_what_is_needed():
    """At once, not at the first block."""
    embedding = torch.zeros(8, 30, 40)
    needed = 18 * 1200 * 4
    with pytest.raises(ValueError, match=r"86,399; one row .* 1,200 pixels .* needs 86,400"):
        log_affinity_blocks(embedding, 1.0, max_bytes=needed - 1)
    rows, _ = next(log_affinity_blocks(embedding, 1.0, max_bytes=needed))
    assert rows == slice(0, 1)
