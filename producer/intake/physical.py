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
    number = 0
    open_line = _OpenLine(max_line_bytes)
    for piece in _pieces(source):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            number += 1
            content = open_line.ended_by(end) if open_line.begun else end
            yield from _unless_blank(number, content, max_line_bytes)
        open_line.add(rest)
    if open_line.begun:
        yield from _unless_blank(number + 1, open_line.ended_by(b""), max_line_bytes)


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


def _pieces(source: Source) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    pieces: Iterable[bytes] = iter(lambda: read(_READ_BYTES), b"") if read else source
    head = b""
    started = False
    for piece in pieces:
        if started:
            yield piece
            continue
        head += piece
        if len(head) >= len(BOM):
            started = True
            yield head.removeprefix(BOM)
    if not started:
        yield head.removeprefix(BOM)


def _unless_blank(
    number: int, content: bytes | None, max_line_bytes: int
) -> Iterator[tuple[int, bytes | None]]:
    if content is None:
        yield number, None
        return
    content = content.removesuffix(b"\r")
    if content.strip(BLANKS):
        yield number, content if len(content) <= max_line_bytes else None
