"""The registry of decoders, and `decode`, which calls one of them.

A decoder groups the foreground pixels of an image into instances by their embeddings.
"""

from __future__ import annotations

import torch
from detectron2.utils.registry import Registry

from ...ops.checks import check_choice
from .kmeans_decoder import kmeans
from .seed_decoders import greedy, mean_shift
from .segments import Pixels, Segment

DECODER_REGISTRY = Registry("SEMICONV_DECODER")
DECODER_REGISTRY.__doc__ = """
Registry for decoders, which group the foreground pixels of an image by their embeddings.

The registered function will be called with
`obj(pixels, max_instances=..., min_pixels=..., count=...)` as `decode` is, on at least one pixel,
and returns a list of `Segment`, in any order.
"""
for _decoder in (greedy, mean_shift, kmeans):
    DECODER_REGISTRY.register(_decoder)


def decoder_names() -> list[str]:
    """The names of all decoders, in the order of registration."""
    return [name for name, _ in DECODER_REGISTRY]


@torch.no_grad()
def decode(
    pixels: Pixels,
    decoder: str,
    *,
    max_instances: int,
    min_pixels: int = 1,
    count: int | None = None,
) -> list[Segment]:
    """Groups pixels into instances, the highest score first. Deterministic.

    Args:
        decoder: name in `DECODER_REGISTRY`.
        max_instances: at most so many instances are kept, those with the highest scores.
        min_pixels: smaller segments are dropped. Empty segments are always dropped.
        count: number of instances, for "kmeans".

    Raises:
        ValueError: embedding or foreground is not finite, the decoder is unknown, or the decoder
            needs `count` and it is None.
    """
    check_choice("decoder", decoder, decoder_names())
    total = len(pixels.embedding)
    for name, values in (
        ("embedding", pixels.embedding),
        ("foreground", pixels.foreground[:, None]),
    ):
        wrong = total - int(values.isfinite().all(dim=1).sum())
        if wrong:
            raise ValueError(f"The {name} of {wrong:,} of {total:,} pixels is not finite.")
    if not total:
        return []
    min_pixels = max(min_pixels, 1)
    segments = DECODER_REGISTRY.get(decoder)(
        pixels, max_instances=max_instances, min_pixels=min_pixels, count=count
    )
    large = [s for s in segments if len(s.pixels) >= min_pixels]
    return sorted(large, key=lambda s: s.score, reverse=True)[:max_instances]
