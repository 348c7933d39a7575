"""Augmentation that Detectron2 lacks."""

import numpy as np
from detectron2.data.transforms import Augmentation, NoOpTransform
from fvcore.transforms.transform import Transform


class QuarterTurn(Augmentation):
    """Turns an image by 0, 90, 180 or 270 degrees at random, with equal probabilities; no pixel
    changes its value."""

    def get_transform(self, image: np.ndarray) -> Transform:
        turns = np.random.randint(4)
        return QuarterTurnTransform(turns, *image.shape[:2]) if turns else NoOpTransform()


class QuarterTurnTransform(Transform):
    """Turns an image of `height` and `width` by quarters, anticlockwise."""

    def __init__(self, turns: int, height: int, width: int):
        super().__init__()
        self.turns = turns % 4
        self.height = height
        self.width = width

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, C), of any type."""
        return np.ascontiguousarray(np.rot90(img, self.turns))

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """(P, 2) x and y, from the upper left corner of the image."""
        x, y = coords[:, 0], coords[:, 1]
        turned = [
            (x, y),
            (y, self.width - x),
            (self.width - x, self.height - y),
            (self.height - y, x),
        ]
        return np.stack(turned[self.turns], axis=1)

    def inverse(self) -> Transform:
        size = (self.height, self.width) if self.turns % 2 == 0 else (self.width, self.height)
        return QuarterTurnTransform(-self.turns, *size)
