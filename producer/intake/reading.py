"""A file's lines one after another, as a whole or as they come: what each says is `lines`' affair.

Every physical line that is not blank gives exactly one ValidLine or RejectedLine, in order,
whatever bytes it holds; reading never raises for what a line says. Memory is bounded by the longest
line allowed.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Self

from producer.intake import fields
from producer.intake.first_lines import FirstLines
from producer.intake.json_line import parse_line
from producer.intake.lines import (
    ROUTING_WORDS,
    Fill,
    IntakeLimits,
    Line,
    RejectedLine,
    ValidLine,
    asked_by,
    without_template,
)
from producer.intake.physical import PhysicalLines, Source, pieces_of
from producer.intake.refusal import Refusal
from producer.intake.templates import Templates, no_templates
from producer.intake.usual import plain_request
from shared.domain.batch import Endpoint
from shared.domain.inference import Request

_TOO_LONG = "the line is longer than {limit} bytes; shorten it or raise PROMPTMILL_MAX_LINE_BYTES"


def read_lines(
    source: Source,
    limits: IntakeLimits,
    known_models: Collection[str],
    templates: Templates = no_templates,
    endpoint: Endpoint | None = None,
) -> Iterator[Line]:
    """Each line that is not blank as a ValidLine or a RejectedLine, in order.

    source: a binary file or its bytes in pieces. known_models: the catalog's names. templates:
    finds those that lines name. endpoint: the only one that OpenAI lines may name; None: any. An
    empty file gives nothing: the caller refuses it.
    """
    with LineReader(limits, known_models, templates, endpoint) as reader:
        for piece in pieces_of(source):
            yield from reader.ended_in(piece)
        yield from reader.rest()


class LineReader:
    """The same for a file that comes by and by. A context manager; each iterator is to be read to
    its end, by one thread at a time.
    """

    def __init__(
        self,
        limits: IntakeLimits,
        known_models: Collection[str],
        templates: Templates = no_templates,
        endpoint: Endpoint | None = None,
    ) -> None:
        self._max = limits.max_line_bytes
        self._physical = PhysicalLines(self._max)
        self._words = frozenset((*ROUTING_WORDS, *known_models))
        self._known = known_models
        self._fill = partial(without_template, templates, self._max)
        self._endpoint = endpoint
        self._taken = FirstLines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ended_in(self, piece: bytes) -> Iterator[Line]:
        """The lines that end in the next piece."""
        return self._lines(self._physical.ended_in(piece))

    def rest(self) -> Iterator[Line]:
        """Nothing more comes: the line that had no end, if any."""
        return self._lines(self._physical.rest())

    def close(self) -> None:
        """Give back what it remembers."""
        self._taken.close()

    def _lines(self, physical: Iterable[tuple[int, bytes | None]]) -> Iterator[Line]:
        words, known, taken, fill = self._words, self._known, self._taken, self._fill
        for number, content in physical:
            if content is None:
                message = _TOO_LONG.format(limit=self._max)
                yield RejectedLine(number, None, None, "line_too_long", message)
            else:
                line = _read(number, content, words, known, taken, fill)
                yield line if self._endpoint is None else _only(self._endpoint, line)


def _read(
    number: int,
    content: bytes,
    words: frozenset[str],
    known_models: Collection[str],
    taken: FirstLines,
    fill: Fill,
) -> Line:
    name: str | None = None
    try:
        raw = parse_line(content)
        if raw.get("custom_id") is not None:
            name = fields.custom_id(raw["custom_id"])
        asked = plain_request(raw, words, Endpoint.CHAT) or asked_by(raw, words, known_models, fill)
        if name is not None and taken.first(_digest(name), number) != number:
            message = "an earlier line has the same custom_id; give each line its own"
            return RejectedLine(number, name, "custom_id", "duplicate_custom_id", message)
    except Refusal as refusal:
        return RejectedLine(number, name, refusal.field, refusal.code, refusal.message)
    return ValidLine(number, name, asked)


def _only(endpoint: Endpoint, line: Line) -> Line:
    """A line that asks for what its batch is for."""
    if isinstance(line, RejectedLine):
        return line
    embeds = isinstance(line.asked, Request) and line.asked.embed is not None
    if embeds == (endpoint is Endpoint.EMBEDDINGS):
        return line
    return RejectedLine(
        line.line, line.custom_id, "url", "url_mismatch", f"must be {endpoint.value}"
    )


def _digest(custom_id: str) -> bytes:
    return blake2b(custom_id.encode(), digest_size=16).digest()
