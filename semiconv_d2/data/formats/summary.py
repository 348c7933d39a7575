"""The messages of a conversion: what was written, what was left out, and how to train with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..datasets.prepared import Summary, images_path, json_path

NAMED = 10
"""Greatest number of problems of each kind that are named."""


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun, such as "1 box" or "2 boxes"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


class LeftOut(NamedTuple):
    """What was wrong and is not in the prepared dataset, one message each."""

    images: Sequence[str]
    instances: Sequence[str]
    """Instances of images that are kept; they become background."""

    def total(self) -> int:
        return len(self.images) + len(self.instances)

    def __str__(self) -> str:
        parts = []
        if self.images:
            parts.append(count(len(self.images), "image or file", "images or files"))
        if self.instances:
            parts.append(f"{count(len(self.instances), 'instance')}, which become background")
        return " and ".join(parts)

    def lines(self) -> list[str]:
        """The first ones of both kinds, for people."""
        lines = []
        for problems, what in (
            (self.images, "left out images or files"),
            (self.instances, "left out instances, which become background"),
        ):
            if problems:
                lines += [f"{what}: {len(problems):,}", *(f"  {p}" for p in problems[:NAMED])]
            if len(problems) > NAMED:
                lines.append(f"  … and {len(problems) - NAMED:,} more")
        return lines


NOTHING = LeftOut((), ())


@dataclass(frozen=True)
class OwnSummary(Summary):
    """What was written, what to know about it, and how to train with it."""

    remarks: Sequence[str] = ()
    left_out: LeftOut = NOTHING

    def __str__(self) -> str:
        images = shlex.quote(str(images_path(self.folder)))
        keys = []
        held_out = next((split for split in ("val", "test") if split in self.images), None)
        for key, split in (("TRAIN", "train"), ("TEST", held_out)):
            if split is not None:
                path = shlex.quote(str(json_path(self.folder, split)))
                keys.append(f"OWN_DATA.{key}_JSON {path} OWN_DATA.{key}_IMAGES {images}")
        lines = [super().__str__(), *self.remarks, *self.left_out.lines()]
        lines += [
            "train a small model with it, also on a CPU (docs/tutorials/own_data.md has others):",
            " ".join(["semiconv train --config-file own_small_semiconv", *keys]),
        ]
        if self.left_out.total():
            lines.append(f"left out, because something is wrong: {self.left_out}; see above")
        return "\n".join(lines)
