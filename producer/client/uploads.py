"""Files to submit, opened anew for each try and never held in memory."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

Source = str | Path | BinaryIO | Iterable[Mapping[str, Any] | str | bytes]
"""A path, an open binary file, or lines: dicts, or JSON text with or without its newline."""

_IN_MEMORY_BYTES = 4 * 1024 * 1024


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """The source as a file that can be read again from its start.

    A path is read in place; anything else may be read only once, so it is copied to a temporary
    file first (in memory while small).
    """
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        if hasattr(source, "read"):
            shutil.copyfileobj(cast("BinaryIO", source), spool)
        else:
            spool.writelines(_line(item) for item in source)
        spool.seek(0)
        yield spool  # type: ignore[misc]  # has all that is needed of BinaryIO


def _line(item: Mapping[str, Any] | str | bytes) -> bytes:
    if isinstance(item, str):
        item = item.encode()
    if isinstance(item, bytes):
        return item if item.endswith(b"\n") else item + b"\n"
    return orjson.dumps(dict(item)) + b"\n"
