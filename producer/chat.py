"""Chat completions as jobs: the batch of one (or of a few) that what is asked for becomes.

Nothing here calls a provider or waits: a conversation is written in one transaction, published,
and its answer read from the database when a worker has put it there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from producer.accounts.key_limits import KeyLimits, worst_case_tokens
from producer.arrival import Arrival
from producer.asked import Asked
from producer.cancellation import Steering
from producer.options import Allowance
from shared.chunking import ranges_text
from shared.db.engine import Database
from shared.db.repositories import awaited, batches
from shared.db.repositories.batches import BatchRow, NewBatch
from shared.db.repositories.results import ResultRow
from shared.domain.batch import AWAITED_PREFIX, TERMINAL, Priority
from shared.errors import ConflictError, NotFoundError, UnavailableError
from shared.ids import new_id
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.tracing import current_traceparent

log = structlog.get_logger(__name__)

ANSWERED_WITHIN: Final = timedelta(seconds=60)
"""How long after an answer a repetition of its request, without a key, is still that request."""
_MESSAGE_LEASE: Final = timedelta(seconds=57)
"""Of the minute that a message is given: with 55 seconds left, after two, it may count as lost."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A batch whose answers somebody waits for."""

    id: str
    number: int
    lines: int


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
        arrival: Arrival,
        allowance: Allowance,
    ) -> Conversation:
        """Write the jobs and send them to the workers.

        Or the conversation that was begun under the same key: its answer is not bought twice, but
        where it came to none it is asked for anew. A repetition without a key gets the conversation
        that the same request began, if that goes on or was answered a minute ago.
        Raises ConflictError (`idempotency_conflict`) for a key that was used for something else,
        BudgetRefusedError and TooManyTokensError where the API key's own limits do not carry it,
        UnavailableError where the queue does not take it.
        """
        new = self._new_batch(batch_id, asked, project_id, arrival)
        if allowance.key_id is not None or arrival.is_repetition:
            # An answer that was paid for is told again, whatever is left to the key by now.
            known = self._known(new, is_repetition=arrival.is_repetition)
            if known is not None:
                return known
        tokens = self._take_tokens(batch_id, asked, allowance)
        new = replace(new, key_id=allowance.key_id, counted_tokens=tokens)
        try:
            begun = self._written(new, asked)
        except ConflictError:
            self._give_back(allowance, batch_id)
            raise
        if begun.id != batch_id:
            self._give_back(allowance, batch_id)
        else:
            self._publish(begun, project_id)
        return begun

    def begun_before(self, asked: Asked, project_id: str, arrival: Arrival) -> Conversation:
        """The conversation that the same request began; raises UnavailableError where there is
        none. For the time without Redis: what workers have in hand still comes to its end.
        """
        new = self._new_batch("", asked, project_id, arrival)
        known = self._known(new, is_repetition=arrival.is_repetition)
        if known is None:
            raise UnavailableError("no worker can be reached: Redis does not answer; try again")
        return known

    def _new_batch(
        self, batch_id: str, asked: Asked, project_id: str, arrival: Arrival
    ) -> NewBatch:
        now = self._clock()
        digest = asked.digest()
        if arrival.key is None:
            digest = arrival.mark(digest.encode()).first
        return NewBatch(
            id=batch_id,
            project_id=project_id,
            content_sha256=digest,
            priority=Priority.INTERACTIVE,
            completion_window=f"{self._patience_s}s",
            created_at=now,
            expires_at=now + timedelta(seconds=self._patience_s),
            idempotency_key=arrival.key,
            max_cost_nusd=asked.max_cost_nusd,
            traceparent=current_traceparent(),
        )

    def _written(self, new: NewBatch, asked: Asked) -> Conversation:
        key = new.idempotency_key
        requests = [request.to_json().decode() for request in asked.requests]
        try:
            with self._database.transaction() as connection:
                if key is not None:
                    known = batches.by_idempotency_key(connection, new.project_id, key)
                    if known is not None:
                        same = _same(known, new)
                        if _is_answered_or_goes_on(known):
                            return same
                        batches.free_key(connection, known.number)
                number = awaited.open_batch(
                    connection, new, requests, new.created_at + _MESSAGE_LEASE
                )
        except ConflictError:
            return self._earlier(new)  # two at once under one key: the other was first
        return Conversation(new.id, number, len(requests))

    def ended(self, conversation: Conversation) -> Sequence[ResultRow]:
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
            self._publisher.publish([message], project_id, Priority.INTERACTIVE, is_first=True)
        except UnavailableError:
            self.abandon(conversation)  # it could begin much later, when nobody waits any more
            raise

    def _give_back(self, allowance: Allowance, batch_id: str) -> None:
        try:
            self._key_limits.release_tokens(allowance, batch_id)
        except UnavailableError as error:
            log.warning("tokens of the day are given back later", reason=error.message)

    def _known(self, new: NewBatch, *, is_repetition: bool = False) -> Conversation | None:
        key = new.idempotency_key
        if key is None and not is_repetition:
            return None
        with self._database.reading() as connection:
            if key is not None:
                known = batches.by_idempotency_key(connection, new.project_id, key)
            else:
                known = batches.twin(connection, new.project_id, new.content_sha256)
        if known is None:
            return None
        same = _same(known, new)
        ended = known.completed_at or known.cancelled_at or known.expired_at
        is_old = key is None and ended is not None and ended < new.created_at - ANSWERED_WITHIN
        return None if is_old or not _is_answered_or_goes_on(known) else same

    def _earlier(self, new: NewBatch) -> Conversation:
        known = self._known(new)
        if known is None:
            raise UnavailableError("the conversation under this key is gone: try again")
        return known


def _is_answered_or_goes_on(known: BatchRow) -> bool:
    return known.completed > 0 or known.status not in TERMINAL


def _same(known: BatchRow, new: NewBatch) -> Conversation:
    if known.content_sha256 != new.content_sha256:
        raise ConflictError(
            "this key was used for another request: use a new one",
            code="idempotency_conflict",
            param="Idempotency-Key",
        )
    return Conversation(known.id, known.number, known.total)
