"""The order in which a training sees its images, and the random numbers that each of them gets.

Both depend on the random seed alone. So a training that is interrupted and resumed continues as if
it had not been interrupted, and the number of processes that load images makes no difference.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_train_loader
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

T = TypeVar("T")
Mapper = Callable[[dict], dict]
Key = tuple[int, int]
"""Position of an image in the order, from 0 on, and its index in the dataset."""


@dataclass
class Progress:
    """How far a training is; shared by all objects that depend on it."""

    seed: int
    """The random seed of the training."""
    rank: int = 0
    """Rank of the process."""
    start: int = 0
    """Number of steps before the training was resumed."""


class ImageOrder(Sampler[list[Key]]):
    """Endless batches of one process, starting at the step that the training has reached.

    Args:
        images: endless indices in the dataset, the same ones whenever it is iterated over.
        size: number of images in a batch.
        progress: how far the training is.
        group: gives the group of an index, if all images of a batch must be of the same group.
            Batches then come in the order in which they become full.
    """

    def __init__(
        self,
        images: Iterable[int],
        size: int,
        progress: Progress,
        group: Callable[[int], int] | None = None,
    ):
        self.images = images
        self.size = size
        self.progress = progress
        self.group = group

    def __iter__(self) -> Iterator[list[Key]]:
        batches = enumerate(_batches(self.images, self.size, self.group))
        for number, batch in islice(batches, self.progress.start, None):
            yield [(number * self.size + k, place) for k, place in enumerate(batch)]


def _batches(
    images: Iterable[int], size: int, group: Callable[[int], int] | None
) -> Iterator[list[int]]:
    waiting: dict[int, list[int]] = {}
    for place in images:
        number = group(place) if group is not None else 0
        batch = waiting.setdefault(number, [])
        batch.append(place)
        if len(batch) == size:
            yield waiting.pop(number)


def build_train_loader(cfg: CfgNode, mapper: Mapper, progress: Progress) -> DataLoader:
    """Endless batches of mapped images, with the images and the sampler of Detectron2's own loader;
    see `ImageOrder` and `MappedImages`."""
    plain = cfg.clone()
    plain.defrost()
    plain.DATALOADER.ASPECT_RATIO_GROUPING, plain.DATALOADER.NUM_WORKERS = False, 0
    with random_numbers_of(progress.seed):  # the sampler draws its random seed from these
        parts = build_detection_train_loader(plain, mapper=_as_it_is).dataset
    records = parts.dataset

    @cache
    def is_wide(place: int) -> int:
        return int(records[place]["width"] > records[place]["height"])

    group = is_wide if cfg.DATALOADER.ASPECT_RATIO_GROUPING else None
    size = cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size()
    return DataLoader(
        MappedImages(records, mapper, progress),
        batch_sampler=ImageOrder(parts.sampler, size, progress, group),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # the default one would use up random numbers of a step
    )


def _as_it_is(value: T) -> T:
    return value


class MappedImages(Dataset):
    """A dataset of mapped images; each image is mapped with random numbers of its own.

    Args:
        records: Detectron2's dictionaries.
        mapper: makes the model's input from one of them.
        progress: has the random seed.
    """

    def __init__(self, records: Sequence[dict], mapper: Mapper, progress: Progress):
        self.records = records
        self.mapper = mapper
        self.progress = progress

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key) -> dict:
        position, place = key
        with random_numbers_of(self.progress.seed, self.progress.rank, position):
            return self.mapper(self.records[place])


@contextmanager
def random_numbers_of(*key: int) -> Iterator[None]:
    """Within the context, the random numbers of Python, NumPy and PyTorch (CPU) depend on a key
    alone; afterwards they continue as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_all(*key)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_all(*key: int) -> None:
    """Seeds the random numbers of Python, NumPy and PyTorch with a key of numbers ≥ 0."""
    seeds = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.manual_seed(seeds[2])
