"""Why a line is refused, as it travels from a check to the line it is about."""

from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

_LONGEST_SHOWN: Final = 60


class Refusal(Exception):  # noqa: N818 - what is refused is the client's line; nothing failed
    """A check's word on a field: `code` is stable, `message` says what to do and quotes no text."""

    def __init__(self, code: str, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


def shown(name: str) -> str:
    """A name from outside, cut to what fits into a message."""
    return name if len(name) <= _LONGEST_SHOWN else name[: _LONGEST_SHOWN - 3] + "..."


def hint(name: str, known: Collection[str]) -> str:
    """The known name that is most like this one, as a question; "" where none is near."""
    return _hint(name, tuple(known)) if len(name) <= _LONGEST_SHOWN else ""


@lru_cache(maxsize=4096)
def _hint(name: str, known: tuple[str, ...]) -> str:
    # Remembered, because a file misspells the same name in every line.
    matches = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""
