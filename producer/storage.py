"""Where uploaded files are kept: a local folder, or whatever fsspec reaches by a URL.

A content is written under its file's id, once, and never changed. What an upload that died left
behind is found by its id, which tells how old it is.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, Final

import fsspec

from shared.errors import ConfigurationError, NotFoundError, PromptmillError, UnavailableError

BLOCK_BYTES: Final = 256 * 1024
_PREFIX: Final = "file-"
_TIME_DIGITS: Final = 12


class Storage:
    """Contents by their files' ids. Thread-safe; nothing is reached before the first call.

    Every verb raises UnavailableError where the storage does not answer.
    """

    def __init__(self, url: str) -> None:
        try:
            self._system, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(
                f"PROMPTMILL_FILES_URL cannot be used: {error}", param="files_url"
            ) from error
        self._is_local = "file" in _protocols(self._system)

    def writer(self, file_id: str) -> "Writer":
        """A content to be written."""
        with _mapped_errors():
            if self._is_local:
                os.makedirs(self._root, mode=0o700, exist_ok=True)  # noqa: PTH103 - fsspec's own path
            return Writer(self, file_id, self._system.open(self._path(file_id), "wb"))

    def reader(self, file_id: str) -> IO[bytes]:
        """A content to be read; raises NotFoundError where it is gone."""
        with _mapped_errors():
            content: IO[bytes] = self._system.open(self._path(file_id), "rb")
            return content

    def blocks(self, content: IO[bytes]) -> Iterator[bytes]:
        """An opened content in blocks; closes it."""
        with content, _mapped_errors():
            while block := content.read(BLOCK_BYTES):
                yield block

    def remove(self, file_id: str) -> None:
        """Delete a content; one that is gone already is no error."""
        try:
            with _mapped_errors():
                self._system.rm_file(self._path(file_id))
        except NotFoundError:
            return

    def ids_before(self, moment: datetime) -> list[str]:
        """The ids of all contents whose writing began before a moment."""
        try:
            with _mapped_errors():
                self._system.invalidate_cache()
                paths: Collection[str] = self._system.ls(self._root, detail=False)
        except NotFoundError:
            return []  # nothing was ever written
        names = (path.rstrip("/").rpartition("/")[2] for path in paths)
        newest = f"{_PREFIX}{int(moment.timestamp() * 1000):0{_TIME_DIGITS}x}"
        return [name for name in names if name.startswith(_PREFIX) and name < newest]

    def _path(self, file_id: str) -> str:
        return f"{self._root.rstrip('/')}/{file_id}"


class Writer:
    """A content being written: `write` its pieces, then `finish` it or `discard` it."""

    def __init__(self, storage: Storage, file_id: str, content: Any) -> None:
        self._storage = storage
        self._file_id = file_id
        self._content = content

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        with _mapped_errors():
            self._content.write(piece)

    def finish(self) -> None:
        """The content is complete and durable when this returns."""
        with _mapped_errors():
            if self._storage._is_local:  # noqa: SLF001 - its own writer
                self._content.flush()
                os.fsync(self._content.fileno())
            self._content.close()

    def discard(self) -> None:
        """Leave nothing behind."""
        with _mapped_errors():
            self._content.close()
        self._storage.remove(self._file_id)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(
            "the file's content is gone from the storage", code="file_content_missing"
        ) from error
    except OSError as error:
        # Addresses and paths are for the log of whoever runs it, not for a client.
        raise _unavailable(error) from error
    except Exception as error:
        # What a backend's own library raises (no endpoint, no credentials) is no OSError; what
        # Python itself raises otherwise is a mistake of ours.
        if isinstance(error, PromptmillError) or type(error).__module__ == "builtins":
            raise
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(f"the file storage does not answer: {type(error).__name__}")
