"""The coalescer: all of a process's ledger calls of a few milliseconds in one round trip.

One exchange is under way at a time. A call after a pause, or after an exchange that carried a few
only, goes out at once; in the bustle those that come during an exchange, or within `interval_s` of
its beginning, go together in the next. Settlements and releases go before reservations, so that
freed money is there to be reserved.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.budget import calls
from shared.budget.calls import Call
from shared.budget.errors import AttemptReused, LedgerUnavailable
from shared.budget.ledger import AsyncLedger
from shared.budget.model import Reserved, ReserveOutcome, ReserveRequest, checked_nusd

_A_FEW = 3
"""Calls of an exchange after which the next one does not wait: somebody may be waiting for it."""

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class _Lane(Generic[ItemT, AnswerT]):
    """What waits for one kind of call."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[ItemT, asyncio.Future[AnswerT]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: ItemT) -> "asyncio.Future[AnswerT]":
        future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        return future

    def take(self, most: int) -> "list[tuple[ItemT, asyncio.Future[AnswerT]]]":
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]


@dataclass(frozen=True, slots=True)
class _Shipment:
    """One call and those who wait for its answers, in the order of its items."""

    call: Call[Any]
    waiters: "Sequence[asyncio.Future[Any]]"
    attempt_ids: Sequence[str] = ()


class Coalescer:
    """The verbs of `AsyncLedger`, one attempt at a time. Lives in one event loop.

    Every waiter of a failed exchange gets its own LedgerUnavailable. A waiter that is cancelled
    takes nothing back: its settlement or release goes out all the same, and a reservation nobody
    waits for any more is released.
    """

    def __init__(
        self, ledger: AsyncLedger, *, interval_s: float = 0.003, max_batch: int = 500
    ) -> None:
        self._ledger = ledger
        self._interval_s = interval_s
        self._max_batch = max_batch
        self._settles: _Lane[tuple[str, int], bool] = _Lane()
        self._releases: _Lane[str, bool] = _Lane()
        self._confirms: _Lane[tuple[str, str], bool] = _Lane()
        self._reserves: _Lane[ReserveRequest, ReserveOutcome] = _Lane()
        self._pump: asyncio.Task[None] | None = None
        self._next_at = 0.0
        self._closed = False

    async def reserve(self, request: ReserveRequest) -> ReserveOutcome:
        """As `AsyncLedger.reserve`, for one request."""
        future = self._put(self._reserves, request)
        try:
            return await future
        except asyncio.CancelledError:
            # The answer was there, but the cancellation reached the waiter first.
            if not future.cancelled() and isinstance(_answer(future), Reserved):
                self._let_go(request.attempt_id)
            raise

    async def confirm(self, epoch: str, attempt_id: str) -> bool:
        """As `AsyncLedger.confirm`, for one attempt."""
        return await self._put(self._confirms, (epoch, attempt_id))

    async def settle(self, attempt_id: str, cost_nusd: int) -> bool:
        """As `AsyncLedger.settle`, for one attempt."""
        return await self._put(self._settles, (attempt_id, checked_nusd(cost_nusd)))

    async def release(self, attempt_id: str) -> bool:
        """As `AsyncLedger.release`, for one attempt."""
        return await self._put(self._releases, attempt_id)

    async def aclose(self) -> None:
        """Take no more, and return when everything accepted has been sent."""
        self._closed = True
        while self._pump is not None:
            await asyncio.shield(self._pump)

    def _put(self, lane: _Lane[ItemT, AnswerT], item: ItemT) -> "asyncio.Future[AnswerT]":
        if self._closed:
            raise LedgerUnavailable("the coalescer is closed")
        future = lane.add(item)
        self._wake()
        return future

    def _let_go(self, attempt_id: str) -> None:
        self._releases.add(attempt_id).add_done_callback(_answer)
        self._wake()

    def _wake(self) -> None:
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    def _backlog(self) -> int:
        lanes: tuple[_Lane[Any, Any], ...]
        lanes = (self._settles, self._releases, self._confirms, self._reserves)
        return max(len(lane) for lane in lanes)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._backlog():
                pause = self._next_at - clock()
                if pause > 0 and self._backlog() < self._max_batch and not self._closed:
                    await asyncio.sleep(pause)
                began_at = clock()
                shipments = list(self._load())
                is_bustling = sum(len(shipment.waiters) for shipment in shipments) > _A_FEW
                self._next_at = began_at + self._interval_s if is_bustling else began_at
                await self._exchange(shipments)
        finally:
            self._pump = None

    def _load(self) -> Iterator[_Shipment]:
        if settles := self._settles.take(self._max_batch):
            yield _Shipment(calls.settle([s for s, _ in settles]), [f for _, f in settles])
        if releases := self._releases.take(self._max_batch):
            yield _Shipment(calls.release([r for r, _ in releases]), [f for _, f in releases])
        yield from self._confirmations()
        # Nobody waits for a cancelled one, and it has not been sent: it need not be.
        reserves = [(r, f) for r, f in self._reserves.take(self._max_batch) if not f.cancelled()]
        if reserves:
            requests = [r for r, _ in reserves]
            ids = [r.attempt_id for r in requests]
            yield _Shipment(calls.reserve(requests), [f for _, f in reserves], ids)

    def _confirmations(self) -> Iterator[_Shipment]:
        by_epoch: dict[str, list[tuple[str, asyncio.Future[bool]]]] = {}
        for (epoch, attempt_id), future in self._confirms.take(self._max_batch):
            by_epoch.setdefault(epoch, []).append((attempt_id, future))
        for epoch, group in by_epoch.items():
            yield _Shipment(calls.confirm(epoch, [a for a, _ in group]), [f for _, f in group])

    async def _exchange(self, shipments: list[_Shipment]) -> None:
        if not shipments:
            return
        try:
            replies = await self._ledger.run_all([shipment.call for shipment in shipments])
        except LedgerUnavailable as error:
            replies = [error] * len(shipments)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            replies = [LedgerUnavailable(f"unreadable reply: {type(error).__name__}")] * len(
                shipments
            )
        for shipment, reply in zip(shipments, replies, strict=True):
            self._deliver(shipment, reply)

    def _deliver(self, shipment: _Shipment, reply: Any) -> None:
        if isinstance(reply, LedgerUnavailable):
            for waiter in shipment.waiters:
                if not waiter.done():
                    waiter.set_exception(LedgerUnavailable(reply.message))
            return
        for i, (waiter, answer) in enumerate(zip(shipment.waiters, reply, strict=True)):
            if waiter.done():
                if isinstance(answer, Reserved):
                    self._let_go(shipment.attempt_ids[i])
            elif isinstance(answer, AttemptReused):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)


def _answer(future: "asyncio.Future[Any]") -> Any:
    """What a finished future holds, marked as looked at; None for an exception."""
    return None if future.cancelled() or future.exception() else future.result()
