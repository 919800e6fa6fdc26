"""The spool: an upload kept in a file of the home while it is measured, before anything is created.

A spooled file is removed when it is closed; one that a killed process leaves behind is cleared
away by age.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from producer.intake.physical import BLANKS, BOM
from shared.errors import UsageError

_READ_BYTES: Final = 1024 * 1024


class TooLargeError(UsageError):
    """The file exceeds a limit of this installation (HTTP 413); the message names the setting."""

    code = "file_too_large"


class Spool:
    """A file being taken in: write its pieces, then `rewind` and read it. A context manager."""

    def __init__(self, folder: Path, *, max_bytes: int, max_lines: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.NamedTemporaryFile(dir=folder, prefix="upload-", suffix=".jsonl")  # noqa: SIM115  (closed by close)
        self.max_bytes = max_bytes
        self._max_lines = max_lines
        self._hash = hashlib.sha256()
        self._has_text = False
        self.size = 0
        self.line_ends = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, piece: bytes) -> None:
        """Take in the next piece; raises TooLargeError for a file beyond the limits."""
        head = piece.removeprefix(BOM) if self.size == 0 else piece
        self.size += len(piece)
        self.line_ends += piece.count(b"\n")
        if self.size > self.max_bytes:
            raise TooLargeError(
                f"the file is larger than {self.max_bytes} bytes: split it, or raise "
                "PROMPTMILL_MAX_UPLOAD_BYTES"
            )
        if self.line_ends > self._max_lines:
            raise TooLargeError(
                f"the file has more than {self._max_lines} lines: split it, or raise "
                "PROMPTMILL_MAX_BATCH_LINES",
                code="too_many_lines",
            )
        self._has_text = self._has_text or bool(head.strip(BLANKS))
        self._hash.update(piece)
        self.file.write(piece)

    def rewind(self) -> None:
        """Ready the file for reading from its start; raises UsageError where it has no lines."""
        if not self._has_text:
            raise UsageError(
                "the file has no lines: give one JSON object a line", code="empty_file"
            )
        self.file.flush()
        self.file.seek(0)

    def pieces(self) -> Iterator[bytes]:
        """What was written so far; more may be written afterwards."""
        self.file.flush()
        at = 0
        while at < self.size:
            piece = os.pread(self.file.fileno(), min(_READ_BYTES, self.size - at), at)
            if not piece:
                return
            at += len(piece)
            yield piece

    def sha256_of_first(self, count: int) -> str:
        """The hash of so many first bytes, or of all where there are fewer."""
        first = hashlib.sha256()
        left = count
        for piece in self.pieces():
            first.update(piece[:left])
            left -= min(left, len(piece))
            if not left:
                break
        return first.hexdigest()

    @property
    def sha256(self) -> str:
        """The hash of what was written."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Remove the file."""
        self.file.close()
