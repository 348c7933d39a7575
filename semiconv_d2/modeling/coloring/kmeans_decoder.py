"""The decoder `kmeans`, for experiments: it must be told the number of instances.

Shapes: P foreground pixels, D embedding channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .segments import BLOCK, Pixels, Segment, exclusive_segments

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

RANDOM_STARTS = 10  # starts of k-means where groups are not clearly separate


def kmeans(
    pixels: Pixels, *, max_instances: int, min_pixels: int, count: int | None = None
) -> list[Segment]:
    """k-means of scikit-learn with `count` groups, or fewer if there are fewer distinct embeddings.

    All pixels are assigned. The first start is a set of pixels, each of them the farthest from the
    pixels before it. This finds groups that are clearly separate, even small ones, which random
    starts miss. But outliers mislead it. So if groups are not clearly separate, random starts are
    tried too, and the result with the best k-means objective is taken. Score: the mean of
    foreground · K.

    `max_instances` and `min_pixels` are not used.

    Raises:
        ValueError: `count` is None.
        ImportError: scikit-learn is missing.
    """
    if count is None:
        raise ValueError(
            "The decoder 'kmeans' needs the number of instances: pass `count`, or set "
            "'num_instances' in the dict of the image."
        )
    try:
        from scipy.spatial.distance import pdist
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ImportError(
            "The decoder 'kmeans' needs scikit-learn: pip install scikit-learn"
        ) from error

    embedding = pixels.embedding
    starts = _farthest_first(embedding, count)
    if not starts:
        return []
    # In float64: scikit-learn computes distances from products of coordinates, which may be large.
    points = embedding.double().cpu().numpy()
    fit = KMeans(len(starts), init=points[starts], n_init=1).fit(points)
    owner, distance = _groups(embedding, fit)
    # Groups are clearly separate if all pixels are within ρ of their centre and centres are more
    # than 4ρ apart: then each pixel is nearer to all pixels of its group than to any other pixel.
    if 4 * distance.max() >= pdist(fit.cluster_centers_).min(initial=math.inf):
        drawn = KMeans(len(starts), n_init=RANDOM_STARTS, random_state=0).fit(points)
        owner, distance = _groups(embedding, min(fit, drawn, key=lambda f: f.inertia_))
    return exclusive_segments(pixels, owner, distance)


def _farthest_first(embedding: Tensor, count: int) -> list[int]:
    """Up to `count` distinct pixels, each of them the farthest from the pixels before it."""
    chosen: list[int] = []
    distance = _distances(embedding, embedding.mean(dim=0))
    while len(chosen) < count:
        farthest = int(distance.argmax())
        if chosen and distance[farthest] == 0:
            break
        to_it = _distances(embedding, embedding[farthest])
        distance = torch.minimum(distance, to_it) if chosen else to_it
        chosen.append(farthest)
    return chosen


def _distances(embedding: Tensor, point: Tensor) -> Tensor:
    """Distances from each pixel to a point (D,): (P,)."""
    blocks = embedding.split(BLOCK)
    return torch.cat([torch.linalg.vector_norm(b - point, dim=1) for b in blocks])


def _groups(embedding: Tensor, fit: KMeans) -> tuple[Tensor, Tensor]:
    """The group of each pixel, and its distance to the centre of that group: (P,), (P,)."""
    owner = torch.from_numpy(fit.labels_).to(embedding.device, torch.int64)
    centres = torch.from_numpy(fit.cluster_centers_).to(embedding)
    return owner, torch.linalg.vector_norm(embedding - centres.index_select(0, owner), dim=1)
