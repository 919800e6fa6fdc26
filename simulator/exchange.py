"""What passes through the simulator whatever wire it came by: question, answer, problem."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b, sha256
from typing import Any, Literal, Protocol

from simulator.usage import TOKENS_PER_MESSAGE, Usage, tokens_in

Finish = Literal["stop", "length", "refusal", "blocked", "tool"]
Json = dict[str, Any]

_SHORTEST_TELLING_KEY = 8


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the request forces the model to call."""

    name: str
    schema: Json


@dataclass(frozen=True)
class Ask:
    """One request in no vendor's words.

    prompt: the text of the last user message. text_bytes, messages: of all messages' text.
    schema: the JSON schema the answer must fit; json_mode: it must be a JSON object at least.
    embedded: what vectors are wanted of, where no answer is.
    """

    wire: str
    model: str
    path: str
    key: str
    prompt: str
    text_bytes: int
    messages: int
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    json_mode: bool = False
    schema: Json | None = None
    top_logprobs: int | None = None
    forced_tool: Tool | None = None
    embedded: tuple[str, ...] = ()

    @cached_property
    def input_tokens(self) -> int:
        """A token for four bytes of text, and four tokens for each message."""
        return tokens_in(self.text_bytes) + TOKENS_PER_MESSAGE * self.messages

    @cached_property
    def prompt_digest(self) -> bytes:
        """Eight bytes that stand for the prompt."""
        return blake2b(self.prompt.encode("utf-8", "replace"), digest_size=8).digest()

    @cached_property
    def seed(self) -> int:
        """The number every choice in the answer is drawn from: the same for prompt and model."""
        digest = blake2b(self.prompt_digest + self.model.encode("utf-8", "replace"), digest_size=8)
        return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: a text, or the arguments (JSON) of the forced tool."""

    text: str
    finish: Finish
    tool: Tool | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer with what it used. unsure: log-probabilities are low."""

    choices: tuple[Choice, ...]
    usage: Usage
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """An HTTP error before it is put into a vendor's words.

    kind: one of `faults.PROBLEM_STATUS`. message: "" for the vendor's usual one.
    retry_info_s: the wait to name in the body, where the vendor has a field for it (Gemini).
    """

    status: int
    kind: str
    message: str = ""
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    retry_hint: str = ""
    retry_info_s: float | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """Where a key stands against its limits after this call; what rate-limit headers tell."""

    limit_requests: int | None = None
    remaining_requests: int = 0
    reset_requests_s: float = 0.0
    limit_tokens: int | None = None
    remaining_tokens: int = 0
    reset_tokens_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a stream, and how many bytes of each answer's text are out after it, summed."""

    data: bytes
    generated_bytes: int


class Refused(Exception):  # noqa: N818 (it is a normal answer to a bad request, not a failure)
    """A request the vendor refuses before doing any work."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Dialect(Protocol):
    """One vendor's wire format: questions in, answers, streams and errors out."""

    wire: str
    stream_type: str

    def parse(self, path: str, headers: Mapping[str, str], query: str, body: Json) -> Ask:
        """Read a request's body. Raises Refused."""

    def render(self, ask: Ask, reply: Reply, call_id: str) -> bytes:
        """Write a whole answer."""

    def frames(self, ask: Ask, reply: Reply, call_id: str) -> Iterator[Frame]:
        """Write an answer as a stream."""

    def error(self, problem: Problem, model: str, call_id: str) -> bytes:
        """Write an error's body."""

    def headers(self, call_id: str, quota: Quota | None) -> dict[str, str]:
        """Write the headers that every answer carries."""


def key_of(headers: Mapping[str, str], query: str) -> str:
    """The API key of a request, "" if it has none. An own header outranks the bearer token."""
    for name in ("x-api-key", "x-goog-api-key"):
        if found := headers.get(name):
            return found
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "key":
            return value
    return ""


@lru_cache(maxsize=4096)
def key_label(key: str) -> str:
    """How a key is shown: its last four characters, a short one by its hash."""
    if not key:
        return "anonymous"
    if len(key) >= _SHORTEST_TELLING_KEY:
        return key[-4:]
    return sha256(key.encode("utf-8", "replace")).hexdigest()[:8]


def pieces(text: str) -> Iterator[str]:
    """A text in the pieces it is streamed in: at most sixteen, of eight characters at least."""
    step = max(8, -(-len(text) // 16))
    for start in range(0, len(text), step):
        yield text[start : start + step]
