"""Which custom_ids a file has used, in constant memory however long the file is.

The first ids are kept as 128-bit hashes in a set; beyond that they go to a temporary SQLite file,
which the system removes with its last handle. Two different ids of one file share a hash with a
chance of about 10^-27 in a million lines; the second would be refused as a duplicate.
"""

import sqlite3
from hashlib import blake2b
from typing import Final, Self

_IN_MEMORY: Final = 65_536  # about 7 MB


class CustomIds:
    """The ids seen so far. Use it as a context manager: it may hold a file."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: set[bytes] = set()
        self._file: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def is_new(self, custom_id: str) -> bool:
        """Remember an id; False where it was there before."""
        digest = blake2b(custom_id.encode(), digest_size=16).digest()
        if self._file is not None:
            return self._insert(self._file, digest)
        if digest in self._recent:
            return False
        self._recent.add(digest)
        if len(self._recent) >= self._in_memory:
            self._file = self._spilled()
        return True

    @staticmethod
    def _insert(file: sqlite3.Connection, digest: bytes) -> bool:
        return file.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def _spilled(self) -> sqlite3.Connection:
        # An empty name is a private file that SQLite deletes; nothing in it must survive a crash.
        # The lines may be read by another thread than the one that began, never by two at once.
        file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA cache_size = -8000")
        file.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        file.execute("BEGIN")
        file.executemany("INSERT INTO seen VALUES (?)", ((d,) for d in self._recent))
        self._recent = set()
        return file
