"""Compares what an exported model computes with what PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .networks import Network, Output


class Comparison(NamedTuple):
    """The difference for one image."""

    size: tuple[int, int]
    """Height and width of the image."""
    found: int | None
    """Number of instances in PyTorch; None: the network does not look for instances."""
    differences: dict[str, float]
    """For each output, see `Output.difference`; infinite if the shapes differ."""
    passed: bool
    """Whether all differences are within their tolerances."""


def compare(
    network: Network, exported: Callable[[np.ndarray], Sequence[np.ndarray]], image: Tensor
) -> Comparison:
    """Runs both on an image, (3, H, W) as the network takes it."""
    with torch.no_grad():
        expected = [x.numpy() for x in network(image)]
    got = in_order(network.outputs, expected, exported(image.numpy()))
    found = len(expected[0]) if network.outputs[0].name == "boxes" else None
    differences = {
        output.name: output.difference(a, b) if a.shape == b.shape else float("inf")
        for output, a, b in zip(network.outputs, expected, got, strict=True)
    }
    passed = all(differences[x.name] <= x.tolerance for x in network.outputs)
    height, width = image.shape[1:]
    return Comparison((height, width), found, differences, passed)


def tell(comparison: Comparison, outputs: Sequence[Output]) -> str:
    """A line about the largest differences."""
    height, width = comparison.size
    found = "" if comparison.found is None else f", {comparison.found} instances"
    told = ", ".join(
        f"{output.name} {_show(comparison.differences[output.name])} {output.unit}".rstrip()
        for output in outputs
    )
    return f"{width} × {height} pixels{found}: {told}"


def _show(difference: float) -> str:
    return f"{difference:.1g}" if np.isfinite(difference) else "of another shape,"


def in_order(
    outputs: Sequence[Output], expected: Sequence[np.ndarray], got: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """What was got, in the order of what was expected: instances with almost the same score may
    change places. For each expected instance, this takes the one with the nearest box of its
    class. Without instances, or if their numbers differ, nothing changes."""
    names = [output.name for output in outputs]
    if "boxes" not in names or not len(expected[0]) or len(expected[0]) != len(got[0]):
        return list(got)
    boxes, classes = names.index("boxes"), names.index("classes")
    distance = np.abs(expected[boxes][:, None] - got[boxes]).max(axis=2)
    other = expected[classes][:, None] != got[classes]
    order = np.where(other, np.inf, distance).argmin(axis=1)
    return [x[order] for x in got]
