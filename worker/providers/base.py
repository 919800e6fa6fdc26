"""The seam of the wires: three pure verbs, and the header a key travels in.

A wire knows one format; hosts, quirks and prices are the catalog's data.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Protocol

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import Completion, Request
from shared.domain.values import made_often
from worker.providers.errors import ProviderError


@made_often(frozen=True, slots=True)
class EncodedCall:
    """One call as it will be sent, without its key.

    path: appended to the provider's base_url, with a leading slash. warnings: what of the request
    this wire could not say and left out; the attempt records them. streams: the answer is asked
    for as a stream of events. vectors: how many embeddings are asked for; 0 asks for an answer.
    """

    path: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    streams: bool = False
    vectors: int = 0


class Wire(Protocol):
    """A wire format; implementations hold no state."""

    def encode(
        self, model: ModelSpec, provider: ProviderSpec, request: Request, max_tokens: int
    ) -> EncodedCall:
        """The call for a request; `max_tokens` is always in it.

        Raises NotSent("cannot_encode") for what this format has no words for.
        """
        ...

    def auth_headers(self, key: str) -> dict[str, str]:
        """The headers that carry the key; empty for a keyless host ("" or "none")."""
        ...

    def decode(self, body: bytes) -> Completion:
        """The answer in a 2xx body. `body["usage"]` is None where the provider gave none.

        Raises MaybeBilled("garbage") for what is not an answer, Unavailable with `billed` for an
        answer that says of itself that it failed.
        """
        ...

    def classify_error(
        self, status: int, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> ProviderError:
        """The error that an HTTP answer outside 2xx means. Header names are lower case."""
        ...


KEYLESS = frozenset({"", "none"})
