"""Chat completions as jobs: what a body asks for, and the batch of one (or of a few) it becomes.

Nothing here calls a provider or waits: a conversation is written in one transaction, published,
and its answer read from the database when a worker has put it there.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from producer.cancellation import Steering
from producer.intake.json_line import parse_line
from producer.intake.lines import read_body, read_embeddings_body
from producer.intake.refusal import Refusal
from producer.key_limits import KeyLimits, worst_case_tokens
from producer.options import Allowance, usd
from shared.catalog.spec import Catalog
from shared.chunking import ranges_text
from shared.db.engine import Database
from shared.db.repositories import awaited, batches
from shared.db.repositories.batches import BatchRow, NewBatch
from shared.domain.batch import AWAITED_PREFIX, Priority
from shared.domain.inference import Request
from shared.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from shared.ids import new_id
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher

log = structlog.get_logger(__name__)

MAX_COMPARED: Final = 16
_MESSAGE_LEASE: Final = timedelta(seconds=30)
_OWN: Final = ("stream", "stream_options", "max_cost_usd", "project")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one body asks for: a request for each answer, all told or read together.

    include_usage: a stream ends with a chunk of its usage.
    """

    requests: tuple[Request, ...]
    max_cost_nusd: int | None = None
    include_usage: bool = False
    project: str | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is wanted piece by piece."""
        return self.requests[0].stream

    def digest(self) -> str:
        """What makes a body the same one as another."""
        parts = [request.to_json() for request in self.requests]
        told = b"\n".join([*parts, str(self.max_cost_nusd).encode()])
        return hashlib.sha256(told).hexdigest()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A batch whose answers somebody waits for."""

    id: str
    number: int
    lines: int


def read_chat(body: bytes, catalog: Catalog) -> Asked:
    """What the body of a chat completion asks for. Raises UsageError."""
    raw = _parsed(body)
    options = raw.get("stream_options")
    options = {} if options is None else options
    stream = raw.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise UsageError("stream must be true or false", code="invalid_type", param="stream")
    if not isinstance(options, Mapping):
        message = "stream_options must be an object"
        raise UsageError(message, code="invalid_type", param="stream_options")
    if options and not stream:
        message = "stream_options is only allowed with stream: true"
        raise UsageError(message, code="invalid_value", param="stream_options")
    request = _request(raw, catalog.models)
    return Asked(
        (replace(request, stream=bool(stream)),),
        _cap(raw),
        include_usage=options.get("include_usage") is True,
        project=_project(raw),
    )


def read_comparison(body: bytes, catalog: Catalog) -> Asked:
    """What the body of a comparison asks for: `models` beside the fields of a chat completion,
    where a `prompt` may stand for the messages. Raises UsageError.
    """
    raw = dict(_parsed(body))
    if raw.get("stream"):
        raise UsageError(
            "a comparison is not streamed", code="unsupported_parameter", param="stream"
        )
    models = raw.pop("models", None)
    if not isinstance(models, list) or not 1 <= len(set(map(str, models))) <= MAX_COMPARED:
        message = f"models is a list of 1 to {MAX_COMPARED} different models"
        raise UsageError(message, code="invalid_value", param="models")
    prompt = raw.pop("prompt", None)
    if prompt is not None:
        if raw.get("messages") is not None:
            message = "give prompt or messages, not both"
            raise UsageError(message, code="prompt_and_messages", param="prompt")
        raw["messages"] = [{"role": "user", "content": prompt}]
    named = list(dict.fromkeys(map(str, models)))
    requests = [_request({**raw, "model": model}, catalog.models) for model in named]
    return Asked(tuple(requests), _cap(raw), project=_project(raw))


def read_embeddings(body: bytes, catalog: Catalog) -> Asked:
    """What the body of a request for embeddings asks for. Raises UsageError."""
    raw = _parsed(body)
    request = _request(raw, catalog.models, read_embeddings_body)
    return Asked((request,), _cap(raw), project=_project(raw))


class Conversations:
    """Begins conversations and reads their ends. Thread-safe; blocking."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        steering: Steering,
        key_limits: KeyLimits,
        *,
        patience_s: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._steering = steering
        self._key_limits = key_limits
        self._patience_s = patience_s
        self._clock = clock

    @staticmethod
    def new_id() -> str:
        """The id of a conversation that is to begin, so that it can be listened for first."""
        return new_id(AWAITED_PREFIX)

    def begin(
        self,
        batch_id: str,
        asked: Asked,
        project_id: str,
        idempotency_key: str | None,
        allowance: Allowance,
    ) -> Conversation:
        """Write the jobs and send them to the workers.

        Or the conversation that was begun under the same key: its answer is not bought twice.
        Raises ConflictError (`idempotency_conflict`) for a key that was used for something else,
        BudgetRefusedError and TooManyTokensError where the API key's own limits do not carry it.
        """
        new = self._new_batch(batch_id, asked, project_id, idempotency_key)
        if allowance.key_id is not None:
            # An answer that was paid for is told again, whatever is left to the key by now.
            known = self._known(new)
            if known is not None:
                return known
        tokens = self._take_tokens(batch_id, asked, allowance)
        new = replace(new, key_id=allowance.key_id, counted_tokens=tokens)
        begun = self._written(new, asked)
        if begun.id != batch_id:
            self._key_limits.release_tokens(allowance, batch_id)
        return begun

    def _new_batch(
        self, batch_id: str, asked: Asked, project_id: str, idempotency_key: str | None
    ) -> NewBatch:
        now = self._clock()
        return NewBatch(
            id=batch_id,
            project_id=project_id,
            content_sha256=asked.digest(),
            priority=Priority.INTERACTIVE,
            completion_window=f"{self._patience_s}s",
            created_at=now,
            expires_at=now + timedelta(seconds=self._patience_s),
            idempotency_key=idempotency_key,
            max_cost_nusd=asked.max_cost_nusd,
        )

    def _written(self, new: NewBatch, asked: Asked) -> Conversation:
        key = new.idempotency_key
        requests = [request.to_json().decode() for request in asked.requests]
        try:
            with self._database.transaction() as connection:
                if key is not None:
                    known = batches.by_idempotency_key(connection, new.project_id, key)
                    if known is not None:
                        return _same(known, new)
                number = awaited.open_batch(
                    connection, new, requests, new.created_at + _MESSAGE_LEASE
                )
        except ConflictError:
            return self._earlier(new)  # two at once under one key: the other was first
        conversation = Conversation(new.id, number, len(requests))
        self._publish(conversation, new.project_id)
        return conversation

    def ended(self, conversation: Conversation) -> Sequence[Any]:
        """The rows of the results that are there, in input order."""
        with self._database.reading() as connection:
            return awaited.ended(connection, conversation.number)

    def abandon(self, conversation: Conversation) -> None:
        """Nobody waits any more: what has not begun does not begin. Never raises."""
        try:
            self._steering.cancel(conversation.id, None)
        except (ConflictError, NotFoundError):
            pass  # it has ended by itself
        except UnavailableError as error:
            log.warning("a conversation could not be called off", reason=error.message)

    def _take_tokens(self, batch_id: str, asked: Asked, allowance: Allowance) -> int | None:
        self._key_limits.check_spend(allowance)
        if allowance.tokens_per_day is None:
            return None
        default = self._key_limits.default_max_tokens
        tokens = sum(worst_case_tokens(request, default) for request in asked.requests)
        self._key_limits.take_tokens(allowance, batch_id, tokens)
        return tokens

    def _publish(self, conversation: Conversation, project_id: str) -> None:
        lines = ranges_text(range(1, conversation.lines + 1))
        message = ChunkMessage(conversation.id, conversation.number, lines)
        try:
            self._publisher.publish([message], project_id, Priority.INTERACTIVE)
        except UnavailableError as error:
            # Not lost: the stager finds the jobs when their lease is over, if anybody still waits.
            log.warning("a conversation waits for the broker", reason=error.message)

    def _known(self, new: NewBatch) -> Conversation | None:
        if new.idempotency_key is None:
            return None
        with self._database.reading() as connection:
            known = batches.by_idempotency_key(connection, new.project_id, new.idempotency_key)
        return None if known is None else _same(known, new)

    def _earlier(self, new: NewBatch) -> Conversation:
        known = self._known(new)
        if known is None:
            raise UnavailableError("the conversation under this key is gone: try again")
        return known


def _same(known: BatchRow, new: NewBatch) -> Conversation:
    if known.content_sha256 != new.content_sha256:
        raise ConflictError(
            "this key was used for another request: use a new one",
            code="idempotency_conflict",
            param="Idempotency-Key",
        )
    return Conversation(known.id, known.number, known.total)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        return parse_line(body)
    except Refusal as refusal:
        message = refusal.message.replace("the line", "the body").replace("a line", "the body")
        raise UsageError(message, code=refusal.code) from None


def _request(
    raw: Mapping[str, Any],
    models: Collection[str],
    read: Callable[[Mapping[str, Any], Collection[str]], Request] = read_body,
) -> Request:
    body = {name: value for name, value in raw.items() if name not in _OWN}
    try:
        return read(body, models)
    except Refusal as refusal:
        wrong = NotFoundError if refusal.code == "model_not_found" else UsageError
        message = f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
        raise wrong(message, code=refusal.code, param=refusal.field) from None


def _cap(raw: Mapping[str, Any]) -> int | None:
    given = raw.get("max_cost_usd")
    return None if given is None else usd(given, "max_cost_usd")


def _project(raw: Mapping[str, Any]) -> str | None:
    given = raw.get("project")
    if given is not None and not isinstance(given, str):
        raise UsageError("project must be a string", code="invalid_type", param="project")
    return given
