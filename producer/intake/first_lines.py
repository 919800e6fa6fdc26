"""On which line of a file something stood first, in constant memory however long the file is.

Things are known by 128-bit hashes. The newest ones are kept in memory; those before them lie in a
temporary file without a name, which the system removes with its last handle: in sorted runs, each
written at once (a tree on the disk was a third of reading a long file, docs/performance.md).
Nearly everything is new, so a bitmap tells first whether the file needs to be read: it says yes
for all that is there and, in a million lines, for one in a thousand that is not. Two different
things of one file share a hash with a chance of about 10^-27 in a million lines.
"""

import os
import struct
import tempfile
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import IO, Final, Self

_IN_MEMORY: Final = 32_768  # about 5 MB
_MARKS_BYTES: Final = 1 << 23  # 2^26 bits, for files that are long enough to need them
_LINE_BYTES: Final = 5
_RECORD_BYTES: Final = 16 + _LINE_BYTES
_RECORDS_APART: Final = 64
_PLACES: Final = struct.Struct("<8xII")
"""Of a hash in the bitmap, by other bytes than those that runs are sorted by: of each number the
upper 23 bits are a byte and the lower 3 its bit.
"""
_two_places: Final = _PLACES.unpack


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted records in the file. fences: the first 8 bytes of every 64th of them, as numbers."""

    offset: int
    size: int
    fences: "array[int]"


class FirstLines:
    """What was seen so far. Use it as a context manager: it may hold a file."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[bytes, int] = {}
        self._marks = bytearray()
        self._runs: list[_Run] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    def first(self, digest: bytes, line: int) -> int:
        """The first line that had this, which is the given one where none had it before."""
        if self._file is not None and digest not in self._recent:
            one, other = _two_places(digest)
            marks = self._marks
            if marks[one >> 9] & 1 << (one & 7) and marks[other >> 9] & 1 << (other & 7):
                # Kept again as a recent one, since what came twice may come more often.
                line = self._found(self._file, digest) or line
        earlier = self._recent.setdefault(digest, line)
        if len(self._recent) >= self._in_memory:
            self._spill()
        return earlier

    def _found(self, file: IO[bytes], digest: bytes) -> int | None:
        start = int.from_bytes(digest[:8])
        for run in self._runs:
            # Between the last fence below it and the next but one: its own may be equal to it.
            at = max(0, bisect_left(run.fences, start) - 1) * _RECORDS_APART * _RECORD_BYTES
            size = min(2 * _RECORDS_APART * _RECORD_BYTES, run.size - at)
            records = os.pread(file.fileno(), size, run.offset + at)
            place = records.find(digest)
            while place % _RECORD_BYTES:  # by chance across two records; -1 leaves a rest, too
                if place < 0:
                    break
                place = records.find(digest, place + 1)
            if place >= 0:
                return int.from_bytes(records[place + 16 : place + _RECORD_BYTES])
        return None

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            self._marks = bytearray(_MARKS_BYTES)
        marks = self._marks
        for one, other in _PLACES.iter_unpack(b"".join(self._recent)):
            marks[one >> 9] |= 1 << (one & 7)
            marks[other >> 9] |= 1 << (other & 7)
        records = sorted(d + line.to_bytes(_LINE_BYTES) for d, line in self._recent.items())
        fences = array("Q", (int.from_bytes(r[:8]) for r in records[::_RECORDS_APART]))
        written = b"".join(records)
        offset = self._runs[-1].offset + self._runs[-1].size if self._runs else 0
        self._file.write(written)
        self._file.flush()
        self._runs.append(_Run(offset, len(written), fences))
        self._recent = {}
