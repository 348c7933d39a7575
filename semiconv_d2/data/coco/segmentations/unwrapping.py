"""Brings run-length encodings and polygons that are wrapped in something else, or written in
another way, into their right form. Nothing is lost."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ...images import Size
from ...limits import most_pixels
from ..json_values import as_integer
from .error import SegmentationError
from .run_lengths import check_encoding, decode_counts, encode_mask, measure_runs

_LONGEST_TEXT = 10**7  # characters of a segmentation that is text
_SEPARATED = re.compile(r"[\s\[\](),;]*\d+(?:[\s,;]+\d+)+[\s\[\](),;]*")


class Unwrapped(NamedTuple):
    """What a segmentation means."""

    segmentation: object
    how: str
    """How it was written, a clause for people; "" if it was in its right form."""


def unwrap(segmentation: object, size: Size | None) -> Unwrapped:
    """Takes a segmentation out of text and lists around it, and brings the counts of an encoding
    into their right form. Anything unknown stays as it is.

    Args:
        size: of the image, None if not known.
    """
    how = []
    if isinstance(segmentation, str) and (parsed := _parse(segmentation)) is not None:
        segmentation = parsed
        how.append("its segmentation is text around a list or an object")
    if isinstance(segmentation, list) and segmentation and all(map(_is_encoding, segmentation)):
        several = len(segmentation) > 1
        encodings = [_plain(each, size)[0] for each in segmentation]
        joined = _join(encodings, size) if several else encodings[0]
        if joined is not None:
            how.append(f"its run-length encoding{'s stand' if several else ' stands'} in a list")
            segmentation = joined
    if isinstance(segmentation, Mapping):
        segmentation, ways = _plain(segmentation, size)
        how += ways
    return Unwrapped(segmentation, ", and ".join(how))


def _is_encoding(value: object) -> bool:
    return isinstance(value, Mapping) and "counts" in value


def _parse(text: str) -> object:
    """The list or object that a text means in JSON or Python; None if it means none."""
    if len(text) > _LONGEST_TEXT or text.strip()[:1] not in ("[", "{", "("):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return list(value) if isinstance(value, tuple) else value
    return None


def _plain(encoding: Mapping, size: Size | None) -> tuple[Mapping, list[str]]:
    """A run-length encoding in its right form, and how it was written."""
    how = []
    own = encoding.get("size")
    sides = [as_integer(side) for side in own] if isinstance(own, list) else []
    if own is None and size is not None and "counts" in encoding:
        encoding = {**encoding, "size": list(size)}
        how.append("its run-length encoding has no size")
    elif len(sides) == 2 and None not in sides and sides != own:
        encoding = {**encoding, "size": sides}
        how.append(f"the size of its mask is {own}, not whole numbers")
    if not _looks_right(encoding):
        for counts, way in _spellings(encoding.get("counts")):
            other = {**encoding, "counts": counts}
            if _fits(other):
                return other, [*how, way]
    return encoding, how


def _looks_right(encoding: Mapping) -> bool:
    """Whether the counts are surely in their right form, judged without decoding them."""
    try:
        check_encoding(encoding, None)
    except SegmentationError:
        return False
    counts = encoding["counts"]
    if isinstance(counts, str):
        return "\\\\" not in counts
    return sum(counts) == encoding["size"][0] * encoding["size"][1]


def _fits(encoding: Mapping) -> bool:
    """Whether a run-length encoding is valid and its runs add up."""
    try:
        check_encoding(encoding, None)
    except SegmentationError:
        return False
    runs, numbers = decode_counts([encoding["counts"]])
    return bool(measure_runs(runs, numbers, np.array([encoding["size"]])).valid[0])


def _spellings(counts: object) -> Iterator[tuple[object, str]]:
    """Right forms that counts may have, each with how the counts were written."""
    if isinstance(counts, list) and len(counts) == 1 and isinstance(counts[0], str | list):
        yield counts[0], "the counts of its mask stand in a list of one"
        yield from _spellings(counts[0])
    if isinstance(counts, str):
        text = counts.strip()
        if text[:2] in ("b'", 'b"'):
            with contextlib.suppress(ValueError, SyntaxError, UnicodeDecodeError):
                yield ast.literal_eval(text).decode("ascii"), "Python's b'…' is around its counts"
        if text != counts:
            yield text, "there are spaces around the counts of its mask"
        if len(text) <= _LONGEST_TEXT and _SEPARATED.fullmatch(text):
            yield list(map(int, re.findall(r"\d+", text))), "the counts of its mask are text"
        if "\\" in text:
            yield text.replace("\\\\", "\\"), "the backslashes in its counts are doubled"
    if isinstance(counts, list) and counts:
        numbers = [as_integer(each) for each in counts]
        if None not in numbers:
            yield numbers, "the counts of its mask are text or have a point"
            if all(n is not None and 48 <= n <= 111 for n in numbers):
                text = "".join(chr(n) for n in numbers if n is not None)
                yield text, "the counts of its mask are the bytes of compressed ones"


def _join(encodings: list[Mapping], size: Size | None) -> dict | None:
    """The encoding of all pixels of several encodings; None if one of them is not valid."""
    sizes = {tuple(e["size"]) for e in encodings if _fits(e)}
    if not all(map(_fits, encodings)) or len(sizes) != 1 or size not in (None, *sizes):
        return None
    ((height, width),) = sizes
    if height * width > most_pixels():
        return None
    mask = np.zeros(height * width, dtype=bool)
    for encoding in encodings:
        runs, _ = decode_counts([encoding["counts"]])
        mask |= np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return encode_mask(mask.reshape(width, height).T) if mask.any() else None
