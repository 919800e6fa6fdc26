"""The idempotency key of a submission that has no answer yet: who runs the same command again after
it died goes on with the same batch, and pays for no line twice.

A small file of the home, named by a hash of all that was submitted, holds the key from before the
upload until its answer. Where the home cannot be written, each run has a key of its own.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_KEPT_S: Final = 24 * 3600
"""A submission that died longer ago is not gone on with: the command means a new batch."""
_UNANSWERED: Final = (408, 425, 429)


@contextmanager
def remembered_key(folder: Path, file: Path, told: Sequence[object]) -> Iterator[str]:
    """A key for submitting this file with what was told beside; forgotten when it was answered."""
    from producer.client import ApiError

    kept = folder / _name_of(file, told)
    key = _key_in(kept)
    is_answered = False
    try:
        yield key
        is_answered = True
    except ApiError as error:
        is_answered = error.status < 500 and error.status not in _UNANSWERED  # noqa: PLR2004
        raise
    finally:
        if is_answered:
            with suppress(OSError):
                kept.unlink(missing_ok=True)
                folder.rmdir()  # only when it is empty


def _name_of(file: Path, told: Sequence[object]) -> str:
    whole = hashlib.sha256(repr(told).encode())
    with file.open("rb") as content:
        whole.update(hashlib.file_digest(content, "sha256").digest())
    return whole.hexdigest()


def _key_in(kept: Path) -> str:
    """The key that is kept there, or a new one that is kept from now on."""
    with suppress(OSError):
        if time.time() - kept.stat().st_mtime < _KEPT_S and (key := kept.read_text().strip()):
            return key
    key = str(uuid.uuid4())
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(key)
    return key
