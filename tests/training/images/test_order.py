from __future__ import annotations

import random
from itertools import islice

import numpy as np
import torch

from semiconv_d2.training.images.order import (
    ImageOrder,
    MappedImages,
    Progress,
    random_numbers_of,
)


class Endless:
    def __iter__(self):
        while True:
            yield from (3, 0, 4, 1, 2)


def first(order, number):
    return list(islice(order, number))


def test_what_is_resumed_is_the_rest_of_the_order():
    for group in (None, lambda place: place % 2):
        whole = first(ImageOrder(Endless(), 2, Progress(0), group), 9)
        rest = first(ImageOrder(Endless(), 2, Progress(0, start=4), group), 5)
        assert rest == whole[4:]


def test_images_of_a_batch_are_of_one_group():
    batches = first(ImageOrder(Endless(), 2, Progress(0), lambda place: place % 2), 5)
    places = [[place for _, place in batch] for batch in batches]
    assert places == [[0, 4], [3, 1], [2, 0], [3, 1], [4, 2]]
    assert [position for batch in batches for position, _ in batch] == list(range(10))


def draw(_=None):
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_an_image_has_random_numbers_of_its_own():
    images = MappedImages([{}, {}], draw, Progress(5))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    drawn = images[0, 1]
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after
    draw()
    assert images[0, 1] == drawn
    others = [images[1, 1], MappedImages([{}, {}], draw, Progress(6))[0, 1]]
    others.append(MappedImages([{}, {}], draw, Progress(5, rank=1))[0, 1])
    for other in others:
        assert not set(other) & set(drawn)


def test_random_numbers_go_on_after_an_error():
    random.seed(0)
    expected = random.random()
    random.seed(0)
    try:
        with random_numbers_of(3):
            raise KeyError
    except KeyError:
        assert random.random() == expected
