"""Splits of a download: by lists of names beside the data, or by a rule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from ...errors import DatasetError
from ..files import read_lines

logger = logging.getLogger(__name__)


def split_by_lists(
    lists: Mapping[str, Path], names: Sequence[str], what: str, file_of: Callable[[str], Path]
) -> dict[str, list[str]] | None:
    """Names of each split, from text files with one name in a line; None if there is no such file.

    Args:
        lists: the files, by split.
        names: all names.
        what: what is named, such as "well".
        file_of: the file that is missing if a listed name is not one of `names`.

    Raises:
        DatasetError: one of the lists is missing, or a listed name is not there or is listed twice.
    """
    if not any(path.exists() for path in lists.values()):
        return None
    splits = {split: read_lines(path) for split, path in lists.items()}
    listed = list(chain(*splits.values()))
    for name in listed:
        if name not in names:
            folder = next(iter(lists.values())).parent
            raise DatasetError(f"no {file_of(name)}, but a list in {folder} names it")
        if listed.count(name) > 1:
            places = " and ".join(map(str, lists.values()))
            raise DatasetError(f"{what} {name} is listed more than once in {places}")
    left_out = [name for name in names if name not in listed]
    if left_out:
        logger.warning("%ss in neither list are left out: %s", what, ", ".join(left_out))
    return splits


def train_and_test(
    root: Path, names: Sequence[str], what: str, file_of: Callable[[str], Path]
) -> dict[str, list[str]]:
    """The splits "train" and "test": by train.txt and test.txt in the root, if they are there.
    Otherwise every fifth name is for testing.

    Args:
        names, what, file_of: as in `split_by_lists`.

    Raises:
        DatasetError: see `split_by_lists`.
    """
    lists = {split: root / f"{split}.txt" for split in ("train", "test")}
    splits = split_by_lists(lists, names, what, file_of)
    if splits is not None:
        return splits
    logger.warning("%s has no train.txt and test.txt: every fifth %s is for testing", root, what)
    tested = list(names[4::5])
    return {"train": [name for name in names if name not in tested], "test": tested}
