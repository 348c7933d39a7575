"""Shards: every N-th input is the part of one process, on this machine or on another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from ...errors import ConfigError

Item = TypeVar("Item")


class Shard(NamedTuple):
    """One of several parts of the inputs.

    >>> Shard.parse("2/3").of("abcdefg")
    ['b', 'e']
    """

    number: int = 1
    """From 1 to `total`."""
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads "3/16", the third of sixteen.

        Raises:
            ConfigError: the text is something else.
        """
        number, slash, count = text.partition("/")
        if not (number.isdecimal() and slash and count.isdecimal()):
            raise ConfigError(f"--shard {text}: it must be NUMBER/COUNT, such as 3/16.")
        if not 1 <= int(number) <= int(count):
            raise ConfigError(f"--shard {text}: the number must be from 1 to {count}.")
        return cls(int(number), int(count))

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Shard:
        """The part of a process that torchrun has started; everything without torchrun.

        Raises:
            ConfigError: torchrun's variables are not a number and a count.
        """
        rank, count = environment.get("RANK"), environment.get("WORLD_SIZE")
        if rank is None and count is None:
            return cls()
        if not (
            rank and count and rank.isdecimal() and count.isdecimal() and int(rank) < int(count)
        ):
            raise ConfigError(
                f"The environment variables RANK and WORLD_SIZE are {rank!r} and {count!r}, but "
                "torchrun sets a number from 0 on and a larger count: unset both, or give --shard."
            )
        return cls(int(rank) + 1, int(count))

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this part."""
        return list(items[self.number - 1 :: self.total])

    def split(self, count: int) -> list[Shard]:
        """This part in so many parts of its own."""
        return [Shard(self.number + k * self.total, self.total * count) for k in range(count)]

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"
