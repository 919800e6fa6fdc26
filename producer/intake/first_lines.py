"""On which line of a file something stood first, in constant memory however long the file is.

Things are known by 128-bit hashes. The newest ones are kept in memory; those before them lie in a
temporary SQLite file, which the system removes with its last handle. Nearly everything is new, so a
bitmap tells first whether the file needs to be asked: it says yes for all that is there and, in a
million lines, for one in 67 that is not. Two different things of one file share a hash with a
chance of about 10^-27 in a million lines.
"""

import sqlite3
from typing import Final, Self

_IN_MEMORY: Final = 65_536  # about 10 MB
_MARKS_BYTES: Final = 1 << 23  # 2^26 bits, for files that are long enough to need them


class FirstLines:
    """What was seen so far. Use it as a context manager: it may hold a file."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[bytes, int] = {}
        self._marks = bytearray()
        self._file: sqlite3.Connection | None = None

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
        if self._file is not None:
            byte, bit = _place(digest)
            if self._marks[byte] & bit:
                query = "SELECT line FROM seen WHERE digest = ?"
                row = self._file.execute(query, (digest,)).fetchone()
                if row is not None:
                    return int(row[0])
        first = self._recent.setdefault(digest, line)
        if len(self._recent) >= self._in_memory:
            self._spill()
        return first

    def _spill(self) -> None:
        if self._file is None:
            self._file = _made()
            self._marks = bytearray(_MARKS_BYTES)
        # In order, so that each page of the tree is visited once.
        rows = sorted(self._recent.items())
        self._file.executemany("INSERT INTO seen VALUES (?, ?)", rows)
        for digest, _ in rows:
            byte, bit = _place(digest)
            self._marks[byte] |= bit
        self._recent = {}


def _place(digest: bytes) -> tuple[int, int]:
    number = int.from_bytes(digest[:4], "little")
    return number >> 9, 1 << (number & 7)


def _made() -> sqlite3.Connection:
    # An empty name is a private file that SQLite deletes; nothing in it must survive a crash.
    # The lines may be read by another thread than the one that began, never by two at once.
    file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    file.execute("PRAGMA journal_mode = OFF")
    file.execute("PRAGMA synchronous = OFF")
    file.execute("PRAGMA cache_size = -8000")
    file.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
    file.execute("BEGIN")
    return file
