"""Reserve, call, settle: the one bracket around every paid call, and the only place that spends.

1. admit: a healthy key whose rate and concurrency have room (`worker.providers`);
2. reserve the worst case in all windows and the batch's cap, in one atomic decision;
3. make the intent durable in the database;
4. confirm that the reservation still holds, for Redis may have been lost in between;
5. send; and price what came back: billed by its usage, free, or unconfirmed at the reservation.

`close` then writes the price (with whatever the pipeline decided of the job, in one transaction)
and settles in Redis, database first: a crash in between leaves the counters too strict, and the
reconciler frees the rest. Whoever waits for the answer is told in between. A crash after 3 leaves
an open intent, which the rescuer charges as unconfirmed. This throttles money;
`worker.providers.throttle` throttles a provider's rate, and `worker.call_slots` the calls in
flight: a slot is taken for step 5 only.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from time import monotonic

import structlog

from shared.budget.coalescer import Coalescer
from shared.budget.errors import LedgerUnavailable
from shared.budget.windows import periods
from shared.clock import utc_now
from shared.db.repositories.attempts import Closing, Intent
from shared.domain.attempt import Purpose
from shared.domain.batch import is_awaited
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from worker import cost_rows
from worker.call_slots import CallSlots
from worker.figures import WorkerFigures
from worker.outcome import Answered, AttemptOutcome, Busy, ClaimLost, Failed, MoneyBusy
from worker.providers.admission import Admission, until_others_are_ready
from worker.providers.caller import ModelCaller
from worker.providers.errors import NotAdmitted, ProviderBusy, ProviderDown, ProviderError
from worker.providers.hearing import Listener
from worker.providers.prepared_call import PreparedCall
from worker.recording import Event, Finish, Move, Park, Recorder, Write
from worker.reserving import Opener, Payer, Reservation, Reserver
from worker.tracing import AttemptTrace

log = structlog.get_logger(__name__)


class Meter:
    """The bracket. One a process, in its event loop."""

    def __init__(
        self,
        caller: ModelCaller,
        money: Coalescer,
        recorder: Recorder,
        opener: Opener,
        slots: CallSlots,
        figures: WorkerFigures,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._figures = figures
        self._caller = caller
        self._money = money
        self._recorder = recorder
        self._slots = slots
        self._clock = clock
        self._reserve = Reserver(money, opener, clock).reserve

    async def attempt(
        self,
        payer: Payer,
        prepared: PreparedCall,
        *,
        ordinal: int,
        rung: int,
        purpose: Purpose,
        listener: Listener | None = None,
        trace: AttemptTrace | None = None,
    ) -> AttemptOutcome:
        """Make one call if there are a provider and money for it; the caller must `close` an
        Answered or Failed one. listener: hears a streamed answer while it comes. trace: notes when
        it leaves.
        """
        try:
            admission = await self._caller.admit(prepared)
        except NotAdmitted as refusal:
            return _busy(refusal)
        except UnavailableError as error:
            return Busy(1.0, error.message)
        sent = False
        try:
            reserved = await self._reserve(payer, prepared)
            if not isinstance(reserved, Reservation):
                return reserved
            reach(FaultPoint.AFTER_RESERVE)
            intent = self._intent(payer, prepared, admission, reserved, ordinal, rung, purpose)
            refused = await self._make_durable(payer, intent, reserved)
            if refused is not None:
                return refused
            await self._caller.await_turn(admission)
            await self._slots.enter()
            withdrawn = self._caller.withdrawn(prepared, admission)
            if withdrawn is not None:
                return await self._take_back(payer, intent, withdrawn)
            sent = True
            if trace is not None:
                trace.sent()
            return await self._send(payer, prepared, admission, intent, listener)
        finally:
            if not sent:
                self._caller.abandon(admission)

    async def close(
        self,
        payer: Payer,
        closing: Closing | None = None,
        *,
        move: Move | None = None,
        events: tuple[Event, ...] = (),
        tell: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Write the price, the job's move and its events in one transaction, then settle. False:
        the claim was lost, so only the price was written. tell: tells of the move when it is
        durable, and must not raise.
        """
        closings = () if closing is None else (closing,)
        began = monotonic()
        self._slots.write()
        try:
            reach(FaultPoint.BEFORE_RECORDING)
            held = await self._recorder.write(
                Write(payer.job_id, payer.claim_token, closings=closings, move=move, events=events)
            )
            reach(FaultPoint.AFTER_RECORDING)
            if held and tell is not None:
                await tell()
            if closing is not None:
                await self._settle(closing)
                reach(FaultPoint.AFTER_SETTLE)
        finally:
            self._slots.written()
            self._slots.waited(monotonic() - began)
        if held and move is not None:
            self._note(move)
        return held

    def _note(self, move: Move) -> None:
        if isinstance(move, Finish):
            self._figures.moved(move.row["status"], rescued=move.row["rescued"])
        else:
            self._figures.moved("held" if isinstance(move, Park) else "handed_back")

    async def _settle(self, closing: Closing) -> None:
        try:
            await self._money.settle(closing.intent.id, closing.cost_nusd)
        except LedgerUnavailable as error:
            # The database has the price; the counters are rebuilt from it, or reconciled.
            log.warning("settlement left to the reconciler", reason=error.message)

    def _intent(
        self,
        payer: Payer,
        prepared: PreparedCall,
        admission: Admission,
        reserved: Reservation,
        ordinal: int,
        rung: int,
        purpose: Purpose,
    ) -> Intent:
        day, month = periods(reserved.at)
        return Intent(
            id=reserved.request.attempt_id,
            job_id=payer.job_id,
            project_id=payer.project_id,
            ordinal=ordinal,
            purpose=purpose,
            rung=rung,
            model=prepared.model.name,
            provider=prepared.provider.name,
            tier=prepared.model.tier.value,
            key_id=admission.key_id,
            reserved_nusd=reserved.request.amount_nusd,
            day=day,
            month=month,
            started_at=reserved.at,
            task_type=payer.task_type,
        )

    async def _make_durable(
        self, payer: Payer, intent: Intent, reserved: Reservation
    ) -> ClaimLost | MoneyBusy | None:
        """Steps 3 and 4; None when the call may leave."""
        began = monotonic()
        try:
            held = await self._recorder.write(Write(payer.job_id, payer.claim_token, intent=intent))
        except Exception:
            await self._release(intent.id)
            raise
        if not held:
            await self._release(intent.id)
            return ClaimLost()
        reach(FaultPoint.AFTER_INTENT)
        try:
            if await self._money.confirm(reserved.epoch, intent.id):
                reach(FaultPoint.AFTER_CONFIRM)
                self._slots.waited(monotonic() - began)
                return None
            reason = "the reservation was lost with the counters"
        except LedgerUnavailable as error:
            reason = error.message
        self._figures.not_sent(intent.provider, intent.model, intent.purpose)
        await self.close(payer, cost_rows.never_sent(intent, reason, self._clock()))
        return MoneyBusy(reason)

    async def _take_back(self, payer: Payer, intent: Intent, withdrawn: NotAdmitted) -> Busy:
        """Give the slot and the money of a call back that does not leave after all."""
        self._slots.leave(None)
        self._figures.not_sent(intent.provider, intent.model, intent.purpose)
        closing = cost_rows.never_sent(
            intent, withdrawn.reason, self._clock(), kind=cost_rows.WITHDRAWN
        )
        await self.close(payer, closing)
        return _busy(withdrawn)

    async def _release(self, attempt: str) -> None:
        try:
            await self._money.release(attempt)
        except LedgerUnavailable as error:
            log.warning("release left to the reconciler", reason=error.message)

    async def _send(
        self,
        payer: Payer,
        prepared: PreparedCall,
        admission: Admission,
        intent: Intent,
        listener: Listener | None,
    ) -> Answered | Failed:
        began = monotonic()
        took_s: float | None = None
        failure: ProviderError | None = None
        self._figures.sent()
        if listener is not None:
            listener = self._figures.timed(listener, intent.provider)
        try:
            completion = await self._caller.send(prepared, admission, listener)
            took_s = monotonic() - began
        except ProviderError as error:
            failure = error
            return Failed(error, cost_rows.failed(intent, prepared, error, self._clock()))
        finally:
            self._slots.leave(took_s)
            self._figures.ended(intent.provider, intent.model, intent.purpose, took_s, failure)
        reach(FaultPoint.AFTER_ANSWER)
        if admission.is_limited and not is_awaited(payer.batch_id):
            # Nobody is held up: other calls leave no sooner.
            await until_others_are_ready()
        return Answered(completion, cost_rows.billed(intent, prepared, completion, self._clock()))


def _busy(refusal: NotAdmitted) -> Busy:
    return Busy(
        refusal.retry_in_s,
        refusal.reason,
        down=isinstance(refusal, ProviderDown),
        account_level=isinstance(refusal, ProviderBusy) and refusal.account_level,
    )
