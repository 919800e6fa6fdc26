"""The two edges of the budget ledger: `Ledger` for keeping it, `AsyncLedger` for spending by it.

Redis gates, the database remembers. What callers must keep so that nothing is ever overspent:

* reserve, make the intent durable, `confirm`, and only then send;
* end an attempt in the database first, then `settle` or `release` it here: a crash in between
  leaves the ledger too strict, never too generous;
* lower a limit here, in the database, and here once more; raise it in the database, then here;
* read the database in one snapshot, after the epoch or token under which a scope is opened;
* give up a stale reservation by `reclaim`: it spares what was confirmed, and those the database
  can judge.

The epoch binds the counters to one server's run and replication line. A flushed, restarted,
promoted or replaced server therefore admits nothing until it is rebuilt; gaining a first replica
closes it too. Weakness: two primaries that both take writes during a partition each hold an epoch;
a deployment with failover should let old primaries stop (`min-replicas-to-write`).

Counters are exact 64-bit integers. Limits and amounts end at `MAX_NUSD` (9 million USD), beyond
which Lua could not compare them; larger ones raise ValueError.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.exceptions import NoScriptError, RedisError

from shared.budget import calls
from shared.budget.calls import Call
from shared.budget.errors import AttemptReused, LedgerUnavailable
from shared.budget.model import (
    Balance,
    Opening,
    OpenReservation,
    Rebuild,
    ReserveOutcome,
    ReserveRequest,
    Scope,
)
from shared.budget.scripts import KEYS

ReplyT = TypeVar("ReplyT")

ABANDONED_AFTER_S = 60.0
OVERDUE_PAGE = 500


class Ledger:
    """Opening, rebuilding, looking and mending; every verb raises LedgerUnavailable."""

    def __init__(self, client: "redis.Redis | redis.RedisCluster") -> None:
        self._client = client

    def begin_rebuild(self, token: str, *, abandoned_after_s: float = ABANDONED_AFTER_S) -> Rebuild:
        """Close the ledger and drop its counters, unless it is valid or another is at it.

        `token`: 32 hexadecimal digits, new for each rebuild. BEGUN gives the right to `open`
        scopes by the token until another takes over, `abandoned_after_s` after the beginning.
        Raises ConfigurationError where Redis may evict keys.
        """
        return self._run(calls.begin_rebuild(token, abandoned_after_s))

    def finish_rebuild(self, token: str) -> str | None:
        """Open the ledger under a new epoch and return that; None when the rebuild was lost."""
        return self._run(calls.finish_rebuild(token, uuid.uuid4().hex))

    def epoch(self) -> str | None:
        """The valid epoch; None while the ledger is closed. Read it before the database."""
        return self._run(calls.epoch())

    def open(
        self,
        epoch: str,
        scope: Scope,
        limit_nusd: int | None,
        spent_nusd: int,
        open_reservations: Mapping[str, int],
    ) -> Opening:
        """Create a scope's counters from the database; an open scope is left as it is.

        `epoch`: the epoch, or the token of a rebuild, under which all figures were read, from one
        snapshot. `open_reservations`: amount by attempt id of the scope's open intents. A limit
        noted by `set_limit` meanwhile wins over `limit_nusd`.
        """
        return self._run(calls.open_scope(epoch, scope, limit_nusd, spent_nusd, open_reservations))

    def set_limit(self, scope: Scope, limit_nusd: int | None) -> bool:
        """Change the limit (None: unlimited). False where the scope is not open: a note of the
        limit then stays for an hour, for an opener that may have read the old one.
        """
        return self._run(calls.set_limit(scope, limit_nusd))

    def balance(self, scopes: Sequence[Scope]) -> list[Balance | None]:
        """The counters of each scope at one moment; None where it is not open, or all closed."""
        return self._run(calls.balance(scopes))

    def scopes(self) -> Iterator[Scope]:
        """The scopes that Redis keeps, in no order, perhaps twice; some may have lapsed."""
        try:
            for text in self._client.sscan_iter(KEYS[2]):
                yield Scope.parse(text.decode() if isinstance(text, bytes) else text)
        except RedisError as error:
            raise _unavailable(error) from error

    def overdue(self, older_than_s: float) -> Iterator[OpenReservation]:
        """Reservations held for longer, page by page; perhaps one twice. None while closed."""
        cursor = "0"
        while True:
            cursor, page = self._run(calls.overdue(cursor, older_than_s, OVERDUE_PAGE))
            yield from page
            if cursor == "0":
                return

    def settle(self, settlements: Sequence[tuple[str, int]]) -> list[bool]:
        """As `AsyncLedger.settle`: for what the database has ended and a dead worker did not."""
        return self._run(calls.settle(settlements))

    def release(self, attempt_ids: Sequence[str]) -> list[bool]:
        """As `AsyncLedger.release`."""
        return self._run(calls.release(attempt_ids))

    def reclaim(self, attempt_ids: Sequence[str]) -> list[bool]:
        """Release what was reserved and never confirmed; its worker's `confirm` is then False.

        For reservations without an intent in the database.
        """
        return self._run(calls.reclaim(attempt_ids))

    def correct(self, seen: Balance, spent_nusd: int) -> bool:
        """Set the spent amount if neither it nor the reserved one changed since `seen`.

        Take the balance first, then sum up the database: a settlement on its way is then counted
        twice for a moment (mended by the next pass), and never lost.
        """
        return self._run(calls.correct(seen, spent_nusd))

    def forget(self, scope: Scope) -> bool:
        """Let a scope lapse within an hour unless it is used again; False while it holds money.

        Called again once it has lapsed, it removes the scope from `scopes`.
        """
        return self._run(calls.forget(scope))

    def _run(self, call: Call[ReplyT]) -> ReplyT:
        execute: Callable[..., Any] = self._client.execute_command
        try:
            try:
                reply = execute(*call.script.by_digest(call.args))
            except NoScriptError:
                reply = execute(*call.script.by_text(call.args))
        except RedisError as error:
            raise _unavailable(error) from error
        return call.parse(reply)


class AsyncLedger:
    """The bracket around an attempt; every verb raises LedgerUnavailable.

    Many at once: `shared.budget.coalescer` shares the calls of a whole process.
    """

    def __init__(self, client: "redis.asyncio.Redis | redis.asyncio.RedisCluster") -> None:
        self._client = client

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[ReserveOutcome]:
        """Decide in order, each in all of its scopes or in none; again is the same as once.

        Raises AttemptReused, after deciding all, when one came back for other money or scopes.
        """
        outcomes: list[ReserveOutcome] = []
        for outcome in await self._run(calls.reserve(requests)):
            if isinstance(outcome, AttemptReused):
                raise outcome
            outcomes.append(outcome)
        return outcomes

    async def confirm(self, epoch: str, attempt_ids: Sequence[str]) -> list[bool]:
        """Still held under this epoch? Where False, do not send."""
        return await self._run(calls.confirm(epoch, attempt_ids))

    async def settle(self, settlements: Sequence[tuple[str, int]]) -> list[bool]:
        """Charge what attempts cost, more than was reserved if need be, and free the rest.

        False: nothing is held, since it was settled before or the ledger was rebuilt from a
        database that had counted it.
        """
        return await self._run(calls.settle(settlements))

    async def release(self, attempt_ids: Sequence[str]) -> list[bool]:
        """Give reservations back whose requests never left or cost nothing."""
        return await self._run(calls.release(attempt_ids))

    async def run_all(self, batch: Sequence[Call[Any]]) -> list[Any]:
        """Several calls in one round trip, in order; each reply parsed, or LedgerUnavailable as
        a value where that call failed. Raises it when none could be made.
        """
        replies = await self._exchange([call.script.by_digest(call.args) for call in batch])
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = [batch[i].script.by_text(batch[i].args) for i in unknown]
            for i, reply in zip(unknown, await self._exchange(again), strict=True):
                replies[i] = reply
        return [
            _unavailable(reply) if isinstance(reply, RedisError) else call.parse(reply)
            for call, reply in zip(batch, replies, strict=True)
        ]

    async def _run(self, call: Call[ReplyT]) -> ReplyT:
        (reply,) = await self.run_all([call])
        if isinstance(reply, LedgerUnavailable):
            raise reply
        parsed: ReplyT = reply
        return parsed

    async def _exchange(self, commands: list[tuple[str | int, ...]]) -> list[Any]:
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return list(await pipeline.execute(raise_on_error=False))
        except RedisError as error:
            raise _unavailable(error) from error


def _unavailable(error: RedisError) -> LedgerUnavailable:
    return LedgerUnavailable(f"the budget ledger does not answer: {type(error).__name__}: {error}")
