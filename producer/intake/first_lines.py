"""On which line of a file something stood first, in constant memory however long the file is.

Things are known by 128-bit hashes. The first ones are kept in memory; beyond that they go to a
temporary SQLite file, which the system removes with its last handle. Two different things of one
file share a hash with a chance of about 10^-27 in a million lines.
"""

import sqlite3
from typing import Final, Self

_IN_MEMORY: Final = 65_536  # about 10 MB


class FirstLines:
    """What was seen so far. Use it as a context manager: it may hold a file."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def first(self, digest: bytes, line: int) -> int:
        """The first line that had this, which is the given one where none had it before."""
        if self._file is not None:
            return self._first_in(self._file, digest, line)
        first = self._recent.setdefault(digest, line)
        if len(self._recent) >= self._in_memory:
            self._file = self._spilled()
        return first

    @staticmethod
    def _first_in(file: sqlite3.Connection, digest: bytes, line: int) -> int:
        if file.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, line)).rowcount:
            return line
        row = file.execute("SELECT line FROM seen WHERE digest = ?", (digest,)).fetchone()
        return int(row[0])

    def _spilled(self) -> sqlite3.Connection:
        # An empty name is a private file that SQLite deletes; nothing in it must survive a crash.
        # The lines may be read by another thread than the one that began, never by two at once.
        file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA cache_size = -8000")
        file.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        file.execute("BEGIN")
        file.executemany("INSERT INTO seen VALUES (?, ?)", self._recent.items())
        self._recent = {}
        return file
