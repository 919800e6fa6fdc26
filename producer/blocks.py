"""Lines become blocks: what of a file is written in one transaction, as it is stored."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from producer.intake import FirstLines, Line, RejectedLine, ValidLine
from producer.intake.repeated import asked_once
from producer.planning.plan import Sample
from shared.db.repositories.jobs import TakenLine

LINES_PER_TRANSACTION: Final = 2_000
_BYTES_PER_TRANSACTION: Final = 8 * 1024 * 1024


@dataclass(slots=True)
class Block:
    """Lines as they are stored. rejected: those of them that were refused; repeats: how many of
    them wait for the answer of an earlier line.
    """

    lines: list[TakenLine] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)
    repeats: int = 0


def blocks_of(
    lines: Iterable[Line],
    seen: FirstLines,
    sample: Sample,
    *,
    deduplicate: bool | None,
    after: int,
) -> Iterator[Block]:
    """The lines beyond `after`, in blocks bounded by number and by bytes.

    A line that asks what an earlier one asked has that one as its leader, where the answer does for
    both (deduplicate: see `Filler.fill`); all others that can be asked are shown to the sample.
    """
    block, size = Block(), 0
    for line in lines:
        if isinstance(line, ValidLine):
            number, custom_id, asked = line
            leader = None if deduplicate is False else _leader(line, deduplicate, seen)
            if leader is None:
                sample.add(line)
            if number <= after:
                continue
            request = asked.to_json().decode()
            size += len(request)
            block.repeats += leader is not None
            block.lines.append(TakenLine(number, custom_id, request, None, leader))
        elif line.line > after:
            block.rejected.append(line)
            block.lines.append(_refused(line))
        if len(block.lines) >= LINES_PER_TRANSACTION or size >= _BYTES_PER_TRANSACTION:
            yield block
            block, size = Block(), 0
    if block.lines:
        yield block


def _leader(line: ValidLine, deduplicate: bool | None, seen: FirstLines) -> int | None:
    """The earlier line whose answer does for this one, if there is one."""
    digest = asked_once(line.asked, even_for_variety=deduplicate is True)
    if digest is None:
        return None
    first = seen.first(digest, line.line)
    return None if first == line.line else first


def _refused(line: RejectedLine) -> TakenLine:
    error: Mapping[str, Any] = {"code": line.code, "message": line.message, "field": line.field}
    return TakenLine(line.line, line.custom_id, None, error)
