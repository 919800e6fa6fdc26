"""How a request that makes something came, so that it makes it once although it is sent twice.

Under an Idempotency-Key nothing else counts. Without one, OpenAI's SDK still says how often it has
sent a request before: a repetition gets what `caller` made by the same request a moment ago. What a
repetition makes itself bears a digest of its own, by which the first request, should it come last,
knows it from what another request like it has made.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Arrival:
    """caller: the API key's id. at: when it came, before its body was read."""

    key: str | None
    caller: str
    at: datetime
    is_repetition: bool = False

    def mark(self, content: bytes) -> "Mark":
        """What a request that says this is known by."""
        named = self.key if self.key is not None else f"of {self.caller}"
        told = named.encode() + b"\n" + content
        first, again = (hashlib.sha256(told + end).hexdigest() for end in (b"", b"\nagain"))
        return Mark(first, again, again if self.key is None and self.is_repetition else first)


@dataclass(frozen=True, slots=True)
class Mark:
    """first: the digest of a request; again: that of what its repetitions make; own: the one of
    the two that this request's own work gets.
    """

    first: str
    again: str
    own: str
