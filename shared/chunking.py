"""Chunks, the unit of queueing: lines cut into runs, and written as compact ranges. Pure.

A queue message carries ids only. A hundred neighbouring lines are "1-100" there, so a message
stays small whatever the chunk's size; what comes back from a queue is parsed with suspicion.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

_RANGES = re.compile(
    r"[1-9][0-9]{0,9}(?:-[1-9][0-9]{0,9})?(?:,[1-9][0-9]{0,9}(?:-[1-9][0-9]{0,9})?)*"
)
_BYTES_PER_LINE = 22  # "4294967295-4294967295,": nothing longer can be a single line's share


def chunks_of(ids: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """The ids in their order, cut into tuples of `size`, the last one maybe shorter.

    Raises ValueError for a size below 1. Reads as it goes: the ids may be a stream.
    """
    if size < 1:
        raise ValueError("a chunk holds at least one id")
    remaining = iter(ids)
    while chunk := tuple(islice(remaining, size)):
        yield chunk


def ranges_text(lines: Iterable[int]) -> str:
    """Lines as compact text: [1, 2, 3, 7] -> "1-3,7". Order and repetition are not kept."""
    parts: list[str] = []
    first = last = 0
    for line in sorted(set(lines)):
        if line < 1:
            raise ValueError("lines are counted from 1")
        if line == last + 1 and first:
            last = line
            continue
        if first:
            parts.append(_range(first, last))
        first = last = line
    if first:
        parts.append(_range(first, last))
    return ",".join(parts)


def parse_ranges(text: str, *, limit: int) -> tuple[int, ...]:
    """The lines of such a text, rising.

    Raises ValueError for what `ranges_text` would not have written (wrong signs, zeros, falling
    or overlapping ranges) and for more than `limit` lines, before they are spelled out.
    """
    if len(text) > limit * _BYTES_PER_LINE or not _RANGES.fullmatch(text):
        raise ValueError("not a list of line ranges")
    lines: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        first, last = int(low), int(high or low)
        if last < first or (lines and first <= lines[-1]):
            raise ValueError("line ranges must rise")
        if len(lines) + last - first + 1 > limit:
            raise ValueError(f"more than {limit} lines")
        lines.extend(range(first, last + 1))
    return tuple(lines)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
