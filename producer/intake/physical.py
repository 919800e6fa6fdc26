"""The physical lines of a byte stream, none of them ever held in memory beyond the limit.

A line ends at a line feed; a carriage return before it is the line's whitespace. A byte order mark
before the first line is taken off. Line numbers count every line, blank ones too, from 1.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

BLANKS: Final = b" \t\r\n"
BOM: Final = b"\xef\xbb\xbf"
_READ_BYTES: Final = 256 * 1024

Source = BinaryIO | Iterable[bytes]
"""A binary file, or its bytes in pieces of any size."""


def physical_lines(source: Source, max_line_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """(number, content without its end) of each line that is not blank; the content is None where
    it is longer than `max_line_bytes`, a carriage return at its end not counted.
    """
    lines = PhysicalLines(max_line_bytes)
    for piece in pieces_of(source):
        yield from lines.ended_in(piece)
    yield from lines.rest()


class PhysicalLines:
    """The same for bytes that come by and by: each iterator is to be read to its end."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._open = _OpenLine(max_line_bytes)
        self._number = 0
        self._head: bytes | None = b""  # until it is known whether a byte order mark is there

    def ended_in(self, piece: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in the next piece."""
        if self._head is not None:
            piece = self._head + piece
            self._head = piece if len(piece) < len(BOM) else None
            if self._head is not None:
                return
            piece = piece.removeprefix(BOM)
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._number += 1
            content = self._open.ended_by(end) if self._open.begun else end
            yield from _unless_blank(self._number, content, self._max)
        self._open.add(rest)

    def rest(self) -> Iterator[tuple[int, bytes | None]]:
        """Nothing more comes: the lines that were not told yet."""
        if self._head:
            head, self._head = self._head, None
            yield from self.ended_in(head)
        if self._open.begun:
            yield from _unless_blank(self._number + 1, self._open.ended_by(b""), self._max)


class _OpenLine:
    """A line whose end has not come yet; forgets its content once that is too long."""

    def __init__(self, max_line_bytes: int) -> None:
        self._limit = max_line_bytes + 1  # a carriage return may still come off
        self._content = bytearray()
        self._too_long = False
        self.begun = False

    def add(self, piece: bytes) -> None:
        if not piece:
            return
        self.begun = True
        if self._too_long:
            return
        self._content += piece
        if len(self._content) > self._limit:
            self._too_long = True
            self._content = bytearray()

    def ended_by(self, piece: bytes) -> bytes | None:
        self.add(piece)
        content = None if self._too_long else bytes(self._content)
        self._content = bytearray()
        self._too_long = self.begun = False
        return content


def pieces_of(source: Source) -> Iterable[bytes]:
    """The bytes of a source in pieces."""
    read = getattr(source, "read", None)
    return iter(lambda: read(_READ_BYTES), b"") if read else source


def _unless_blank(
    number: int, content: bytes | None, max_line_bytes: int
) -> Iterator[tuple[int, bytes | None]]:
    if content is None:
        yield number, None
        return
    content = content.removesuffix(b"\r")
    if content.strip(BLANKS):
        yield number, content if len(content) <= max_line_bytes else None
