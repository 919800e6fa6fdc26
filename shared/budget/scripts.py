"""The Lua verbs as loaded scripts: text, digest, and how to call one by digest or by text.

EVALSHA is tried first and EVAL follows on NOSCRIPT, so a flushed script cache, a restarted server
or another primary costs one more round trip and nothing else.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PREFIX = "{promptmill}:budget:"
KEYS = (f"{PREFIX}epoch", f"{PREFIX}reservations", f"{PREFIX}scopes", f"{PREFIX}scope:")
"""Every verb's keys: epoch, reservations, index, prefix. One hash tag: one slot of a cluster."""

_LUA = Path(__file__).parent / "lua"
_PRELUDE = ("fence", "sums", "held", "purses")


@dataclass(frozen=True, slots=True)
class Script:
    """One verb, with the functions all verbs share before it."""

    text: str
    digest: str

    def by_digest(self, args: tuple[str, ...]) -> tuple[str | int, ...]:
        """The command that runs it where the server knows it."""
        return ("EVALSHA", self.digest, len(KEYS), *KEYS, *args)

    def by_text(self, args: tuple[str, ...]) -> tuple[str | int, ...]:
        """The command that runs it anywhere, and makes the server know it."""
        return ("EVAL", self.text, len(KEYS), *KEYS, *args)


@cache
def script(verb: str) -> Script:
    """The script of `lua/<verb>.lua`."""
    parts = [(_LUA / f"{name}.lua").read_text(encoding="utf-8") for name in (*_PRELUDE, verb)]
    text = "\n".join(parts)
    # The protocol names scripts by SHA-1; nothing secret depends on it.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
