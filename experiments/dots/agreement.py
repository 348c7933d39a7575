"""Measures how well clusters of pixels agree with instances. P pixels, each of one instance.

Labels are whole numbers. Pixels with the same number belong to the same instance, or cluster.
"""

from __future__ import annotations

import numpy as np


def match_clusters(truth: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The instance that the cluster of each pixel is assigned to, (P,).

    Clusters are assigned to instances one to one, so that as many pixels as possible are right.
    Pixels of an unassigned cluster, and pixels without a cluster, get −1.

    Args:
        truth: instances, (P,) from 0 on.
        clusters: (P,); −1: no cluster.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ImportError("Matching clusters needs SciPy: pip install scipy") from error
    instances, row = np.unique(truth, return_inverse=True)
    names, column = np.unique(clusters, return_inverse=True)
    shared = np.zeros((len(instances), len(names)), dtype=np.int64)
    np.add.at(shared, (row, column), 1)
    rows, columns = linear_sum_assignment(shared * (names >= 0), maximize=True)
    stands_for = np.full(len(names), -1)
    stands_for[columns] = instances[rows]
    return np.where(clusters >= 0, stands_for[column], -1)


def matched_accuracy(truth: np.ndarray, clusters: np.ndarray) -> float:
    """Share of pixels whose cluster is assigned to their instance; see `match_clusters`."""
    return float((match_clusters(truth, clusters) == truth).mean())


def adjusted_rand_index(truth: np.ndarray, clusters: np.ndarray) -> float:
    """Agreement on which pairs of pixels belong together (Hubert and Arabie, 1985): 1 for full
    agreement, 0 on average for random clusters of the same sizes.

    Args:
        truth: instances, (P,).
        clusters: (P,); pixels without a cluster, −1, count as one more cluster.
    """
    try:
        from sklearn.metrics import adjusted_rand_score
    except ImportError as error:
        raise ImportError(
            "The adjusted Rand index needs scikit-learn: pip install scikit-learn"
        ) from error
    return float(adjusted_rand_score(truth, clusters))
