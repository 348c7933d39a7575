"""Masks painted over images, in colours that colour-blind people can tell apart."""

import numpy as np

# Okabe and Ito's palette without its black and its yellow, which light images swallow.
PALETTE = (
    np.array(
        [
            (0, 114, 178),
            (230, 159, 0),
            (0, 158, 115),
            (204, 121, 167),
            (213, 94, 0),
            (86, 180, 233),
        ]
    )
    / 255
)


def instance_colours(count: int) -> np.ndarray:
    """RGB in [0, 1] for each of `count` instances, (count, 3). Repeats the palette, lighter."""
    rounds, index = np.divmod(np.arange(count), len(PALETTE))
    lightness = (rounds % 3 * 0.3)[:, None]
    return PALETTE[index] * (1 - lightness) + lightness


def match_masks(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Index of the reference mask with the highest IoU with each mask, −1 where none touches.

    Args:
        masks: (N, H, W) boolean.
        reference: (M, H, W) boolean.

    Returns:
        (N,) integers.
    """
    if not len(masks) or not len(reference):
        return np.full(len(masks), -1)
    iou = overlap(masks, reference)
    return np.where(iou.max(axis=1) > 0, iou.argmax(axis=1), -1)


def match_best(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """As `match_masks`, with each reference mask given to one mask only, the one that fits it best;
    −1 for the others. (N,) integers."""
    iou = overlap(masks, reference)
    matched = match_masks(masks, reference)
    result = np.full(len(masks), -1)
    for k in np.unique(matched[matched >= 0]):
        candidates = np.flatnonzero(matched == k)
        result[candidates[iou[candidates, k].argmax()]] = k
    return result


def overlap(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """IoU of each mask with each reference mask, (N, M).

    Args:
        masks: (N, H, W) boolean.
        reference: (M, H, W) boolean.
    """
    a = masks.reshape(len(masks), int(np.prod(masks.shape[1:]))).astype(np.float32)
    b = reference.reshape(len(reference), a.shape[1]).astype(np.float32)
    shared = a @ b.T
    return shared / np.maximum(a.sum(1)[:, None] + b.sum(1)[None] - shared, 1)


def paint_masks(
    image: np.ndarray, masks: np.ndarray, colours: np.ndarray, opacity: float = 0.65
) -> np.ndarray:
    """Masks over an image; a pixel of several masks gets the mean of their colours.

    Args:
        image: (H, W, 3) uint8.
        masks: (N, H, W) boolean.
        colours: (N, 3) in [0, 1].

    Returns:
        (H, W, 3) in [0, 1].
    """
    painted = image / 255.0
    count = masks.sum(axis=0)
    covered = count > 0
    mean = np.tensordot(masks.astype(np.float64), colours, axes=(0, 0))[covered]
    mean /= count[covered][:, None]
    painted[covered] = (1 - opacity) * painted[covered] + opacity * mean
    return painted
