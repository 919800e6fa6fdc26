"""What the HTTP API answers: batches and errors as values, and when to ask again. Pure.

Unknown fields stay in `raw`, so that a newer server loses nothing here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.domain.batch import TERMINAL
from shared.errors import PromptmillError, UnavailableError

Json = dict[str, Any]

TRIES = 4
_PAUSES_S = (0.2, 0.5, 1.0)
_LONGEST_PAUSE_S = 10.0
_RETRIABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class ApiError(PromptmillError):
    """The API refused or failed: `status` is HTTP's, `code` and `param` are the API's.

    `rejected` holds the bad lines where a strict submission was refused for them.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        rejected: Sequence[Json] = (),
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status
        self.request_id = request_id
        self.rejected = tuple(rejected)


class UnreachableError(UnavailableError):
    """No answer came from the API's address, however often it was asked."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs of a batch stand where."""

    total: int = 0
    queued: int = 0
    running: int = 0
    held: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0

    @property
    def ended(self) -> int:
        """Jobs that will not change any more by themselves."""
        return self.completed + self.failed + self.cancelled + self.expired


@dataclass(frozen=True, slots=True)
class Batch:
    """A submitted file. `cost_nusd` is what it cost so far, in nano-dollars."""

    id: str
    status: str
    counts: Counts
    cost_nusd: int
    raw: Json = field(repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.status in TERMINAL

    @property
    def is_filling(self) -> bool:
        """Whether its last lines are still being sent: the total grows."""
        return bool(self.raw["promptmill"].get("filling"))

    @property
    def retry_at_line(self) -> int | None:
        """Up to which line a retry has put failed jobs back into the queue; None: none is under
        way.
        """
        at: int | None = self.raw["promptmill"].get("retry_at_line")
        return at

    @property
    def is_stuck(self) -> bool:
        """Whether every open job is held and no line is to come: only money moves it."""
        counts = self.counts
        return (
            not (self.is_over or self.is_filling)
            and counts.held > 0
            and counts.queued + counts.running == 0
        )

    @property
    def rejected(self) -> list[Json]:
        """Bad lines `{line, field, code, message}`, at most 10,000; only just after submission."""
        return list(self.raw.get("rejected") or ())

    @property
    def rejected_count(self) -> int:
        """How many lines were bad; known just after submission."""
        return int(self.raw.get("rejected_count") or len(self.rejected))

    @property
    def webhook(self) -> Json | None:
        """`{id, signing_secret?}` where the submission named a webhook; the secret only when the
        endpoint was made by it.
        """
        webhook: Json | None = self.raw.get("webhook")
        return webhook


def batch_of(raw: Json) -> Batch:
    """The batch in an API object. Raises ApiError for what is not a batch."""
    try:
        own = raw["promptmill"]
        known = {name: int(own["counts"].get(name, 0)) for name in Counts.__dataclass_fields__}
        return Batch(raw["id"], raw["status"], Counts(**known), int(own["cost_nusd"]), raw)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ApiError(
            200, "the answer is not a Promptmill batch: is this a Promptmill API?"
        ) from None


def json_of(status: int, body: bytes) -> Json:
    """The JSON object of a good answer; an empty body is an empty object."""
    if not body:
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ApiError(
            status, "the answer is not JSON: does the address belong to a Promptmill API?"
        )
    return parsed


def lines_of(blocks: Iterable[bytes]) -> Iterator[Json]:
    """The objects of a JSONL body that arrives in blocks. Only a newline ends a line: answers may
    hold every other separator of Unicode.
    """
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from (orjson.loads(line) for line in whole if line.strip())
    if rest.strip():
        yield orjson.loads(rest)


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error in an answer that is not 2xx, also where a proxy wrote it."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    found = parsed.get("error") if isinstance(parsed, dict) else None
    error: Json = found if isinstance(found, dict) else {}
    rejected = error.get("rejected") or (parsed.get("rejected") if isinstance(parsed, dict) else ())
    return ApiError(
        status,
        str(error.get("message") or f"the API answered HTTP {status} without an explanation"),
        code=error.get("code") or error.get("type"),
        param=error.get("param"),
        request_id=headers.get("x-request-id"),
        rejected=rejected or (),
    )


def pause_before_retry(
    tries: int, *, repeatable: bool, status: int | None, headers: Mapping[str, str], sent: bool
) -> float | None:
    """Seconds to wait before a call is sent again; None when it must not be.

    `tries`: how often it was sent already. `status` is None where no answer came; `sent` is False
    where the request certainly never left.
    """
    if tries >= TRIES or (sent and not repeatable):
        return None
    if status is not None and (
        status not in _RETRIABLE or headers.get("x-should-retry", "").lower() == "false"
    ):
        return None
    asked = headers.get("retry-after", "")
    try:
        pause = float(asked)
    except ValueError:
        pause = _PAUSES_S[min(tries, len(_PAUSES_S)) - 1]
    return pause if 0 <= pause <= _LONGEST_PAUSE_S else None
