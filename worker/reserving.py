"""Money put aside before a call: its worst case, in every window and cap at once.

The ledger decides; what is not open there yet is opened from the database, and until it is, nothing
is reserved. This is step 2 of the bracket in `worker.metering`.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from shared.budget.coalescer import Coalescer
from shared.budget.model import (
    Closed,
    Exhausted,
    Impossible,
    Reserved,
    ReserveRequest,
    Scope,
    Unopened,
    Wait,
)
from shared.budget.windows import scopes_for
from shared.domain.values import made_often
from shared.errors import UnavailableError
from shared.ids import attempt_id
from worker.outcome import MoneyBusy, MoneyGone, MoneyRefused, MoneyTooSmall
from worker.providers.prepared_call import PreparedCall

log = structlog.get_logger(__name__)

_MONEY_WAIT_S = 5.0
"""How long a job waits in the process for other reservations to settle before it makes room."""


class Opener(Protocol):
    """Opens the ledger's counters from the database; blocking, so it is called in a thread."""

    def ensure_open(self) -> object:
        """Rebuild a closed ledger, or wait for whoever is at it."""

    def open_scopes(self, scopes: tuple[Scope, ...]) -> object:
        """Open these scopes' counters."""


@made_often(frozen=True, slots=True)
class Payer:
    """On whose account and under which claim an attempt is made. draws_on_batch: the batch has a
    purse of its own, which may be raised or given a limit while it runs. key_id: the API key whose
    spend limit it counts against, if any. task_type: what kind of prompt it is for.
    """

    job_id: int
    claim_token: str
    project_id: str
    batch_id: str
    draws_on_batch: bool = True
    key_id: str | None = None
    task_type: str = ""


@made_often(frozen=True, slots=True)
class Reservation:
    """Money that is put aside for one attempt; epoch: of the counters that hold it."""

    request: ReserveRequest
    epoch: str
    at: datetime


class Reserver:
    """Asks the ledger for one process, in its event loop."""

    def __init__(self, money: Coalescer, opener: Opener, clock: Callable[[], datetime]) -> None:
        self._money = money
        self._opener = opener
        self._clock = clock
        self._openings: dict[tuple[Scope, ...], asyncio.Task[object]] = {}

    async def reserve(self, payer: Payer, prepared: PreparedCall) -> Reservation | MoneyRefused:
        """The worst case in every window, in the batch's cap and in the key's limit, or in none of
        them. What others have reserved may come free as they settle, so it waits for a while.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _MONEY_WAIT_S
        pause = 0.01
        while True:
            now = self._clock()
            request = ReserveRequest(
                attempt_id(),
                scopes_for(
                    payer.project_id,
                    payer.batch_id if payer.draws_on_batch else None,
                    now,
                    payer.key_id,
                ),
                prepared.worst_case_nusd,
            )
            outcome = await self._ask(request)
            match outcome:
                case Reserved(epoch):
                    return Reservation(request, epoch, now)
                case Exhausted(scope, limit, spent, _):
                    return MoneyGone(scope, request.amount_nusd, limit, spent)
                case Impossible(scope, limit):
                    return MoneyTooSmall(scope, request.amount_nusd, limit)
                case Wait(scope):
                    reason = f"waits for other calls on {scope.text} to settle"
                case _:
                    reason = "waits for the budget's counters to be rebuilt"
            if loop.time() >= give_up_at:
                return MoneyBusy(reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.25)

    async def _ask(self, request: ReserveRequest) -> object:
        """One answer of the ledger; opens what is not open yet, and fails closed meanwhile."""
        try:
            outcome = await self._money.reserve(request)
            if isinstance(outcome, Closed):
                await self._open(())
            elif isinstance(outcome, Unopened):
                await self._open(outcome.scopes)
            else:
                return outcome
            return await self._money.reserve(request)
        except UnavailableError as error:
            log.warning("the budget does not answer", reason=error.message)
            return Closed()

    async def _open(self, scopes: tuple[Scope, ...]) -> None:
        """Open scopes (none: the whole ledger) once for all jobs that wait for the same."""
        under_way = self._openings.get(scopes)
        if under_way is None:
            work = self._opener.open_scopes if scopes else self._opener.ensure_open
            arguments = (scopes,) if scopes else ()
            under_way = asyncio.create_task(asyncio.to_thread(work, *arguments))
            self._openings[scopes] = under_way
            under_way.add_done_callback(lambda _: self._openings.pop(scopes, None))
        await asyncio.shield(under_way)
