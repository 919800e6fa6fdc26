"""What a worker process and the maintenance count of their work, by the words of the pipeline."""

from collections.abc import Sequence
from time import monotonic
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from shared.domain.inference import JsonObject
from shared.errors import ConfigurationError
from shared.tallies import Count, Level, OwnFigures, Spread, Tally, loop_lag
from worker.providers.errors import (
    AccountRefused,
    HungUp,
    MaybeBilled,
    NotSent,
    ProviderError,
    RequestRefused,
    Throttled,
    Unavailable,
)
from worker.providers.hearing import Listener

ANSWERED = "answered"
_WAITS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
"""Bounds for what may wait behind a large batch."""
_WORDS: dict[type[ProviderError], str] = {
    NotSent: "not_sent",
    Throttled: "throttled",
    Unavailable: "unavailable",
    AccountRefused: "account_refused",
    RequestRefused: "request_refused",
    MaybeBilled: "maybe_billed",
    HungUp: "hung_up",
}


class WorkerFigures:
    """Of one worker process; everything here is called in its event loop."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._attempts = Count(
            "attempts", "Paid calls by how they ended", "provider", "model", "purpose", "outcome"
        )
        self._seconds = Spread("call_seconds", "How long answered calls took", "provider")
        self._first = Spread(
            "first_token_seconds", "How long streamed answers took to begin", "provider"
        )
        self._waits = Spread(
            "queue_wait_seconds",
            "From a chunk's message to the claim of its jobs",
            "priority",
            bounds=_WAITS,
        )
        self._moves = Count(
            "jobs", "Jobs let go by a worker: ended, held, or handed back to the queue", "to"
        )
        self._climbs = Count(
            "escalations", "Weak answers that a stronger model was asked after", "tier", "to_tier"
        )
        self._rescued = Count("escalations_rescued", "Jobs whose weak answer a climb mended")
        self.lag = loop_lag("worker")
        level = Level("calls_in_flight", "Calls to providers now", lambda: self._in_flight)
        self.tallies: Sequence[Tally] = (
            self._attempts,
            self._seconds,
            self._first,
            self._waits,
            self._moves,
            self._climbs,
            self._rescued,
            self.lag,
            level,
        )

    def waited(self, seconds: float, *, is_awaited: bool) -> None:
        """The jobs of a chunk were claimed, so long after its message was sent."""
        self._waits.take(seconds, "interactive" if is_awaited else "batch")

    def sent(self) -> None:
        """A call leaves."""
        self._in_flight += 1

    def ended(
        self,
        provider: str,
        model: str,
        purpose: str,
        took_s: float | None,
        error: ProviderError | None,
    ) -> None:
        """It is over: answered after `took_s` seconds, failed with `error`, or neither, because the
        process stops.
        """
        self._in_flight -= 1
        if took_s is not None:
            self._seconds.take(took_s, provider)
            self._attempts.add(provider, model, purpose, ANSWERED)
        else:
            outcome = "abandoned" if error is None else _WORDS.get(type(error), "failed")
            self._attempts.add(provider, model, purpose, outcome)

    def not_sent(self, provider: str, model: str, purpose: str) -> None:
        """One that had been reserved for did not leave after all."""
        self._attempts.add(provider, model, purpose, "withdrawn")

    def timed(self, listener: Listener, provider: str) -> Listener:
        """The listener, with a watch on when its answer begins."""
        return _FirstWord(listener, self._first, provider)

    def moved(self, to: str, *, rescued: bool = False) -> None:
        """A job was let go: to its end, to be held, or back to the queue."""
        self._moves.add(to)
        if rescued:
            self._rescued.add()

    def climbed(self, tier: str, to_tier: str) -> None:
        """A weak answer is followed by a stronger model's."""
        self._climbs.add(tier, to_tier)


class MaintenanceFigures:
    """Of the process that repairs: each repairer counts in its own thread."""

    def __init__(self) -> None:
        self._repairs = Count("repairs", "What repairers found to do, by repairer", "repairer")
        self._stumbles = Count("repair_failures", "Looks of a repairer that failed", "repairer")
        self._tries = Count("webhook_tries", "Requests to webhook endpoints, by outcome", "outcome")
        self._late = Spread(
            "webhook_delay_seconds", "From an event to its delivery, of what was delivered"
        )
        self.lag = loop_lag("maintenance")
        self.tallies: Sequence[Tally] = (
            self._repairs,
            self._stumbles,
            self._tries,
            self._late,
            self.lag,
        )

    def repaired(self, repairer: str, what: int) -> None:
        """A repairer has looked."""
        self._repairs.add(repairer, by=what)

    def stumbled(self, repairer: str) -> None:
        """A repairer could not do its work."""
        self._stumbles.add(repairer)

    def delivered(self, after_s: float) -> None:
        """A webhook arrived, so long after what it tells of."""
        self._tries.add("delivered")
        self._late.take(after_s)

    def not_delivered(self, *, for_good: bool) -> None:
        """One did not arrive; for_good: it is not tried again."""
        self._tries.add("given_up" if for_good else "failed")


def serve_own(port: int, tallies: Sequence[Tally]) -> WSGIServer | None:
    """Show this process's figures by HTTP to whoever asks, from a thread; 0: do not.

    For machines whose API cannot read the files, such as pods. Raises ConfigurationError.
    """
    if not port:
        return None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(OwnFigures(tallies))
    try:
        server, _ = start_http_server(port, registry=registry)
    except OSError as error:
        message = f"PROMPTMILL_METRICS_PORT: {port} cannot be listened on: {error.strerror}"
        raise ConfigurationError(message) from error
    return server


class _FirstWord:
    """A listener that notes when it is first spoken to."""

    def __init__(self, listener: Listener, spread: Spread, provider: str) -> None:
        self._listener = listener
        self._spread = spread
        self._provider = provider
        self._began: float | None = monotonic()

    def say(self, choices: Sequence[JsonObject]) -> None:
        if self._began is not None:
            self._spread.take(monotonic() - self._began, self._provider)
            self._began = None
        self._listener.say(choices)

    async def until_gone(self) -> None:
        await self._listener.until_gone()
