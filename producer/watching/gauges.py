"""The mill's state as metrics: what waits, what runs, what is spent, read when somebody scrapes.

Nothing is counted on the way here: database and broker know it already, so watching costs the hot
path nothing. What only the processes know (`shared.tallies`) is shown beside it. Money stays in
nano-dollars; a float holds it exactly up to nine million USD. A source that does not answer is left
out, and `promptmill_source_up` says so.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import redis
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producer.watching.process_figures import ProcessFigures
from shared.budget.windows import periods
from shared.db.engine import Database
from shared.db.repositories import gauges, holds
from shared.errors import UnavailableError
from shared.provider_health import KeyState, read_all
from shared.queue.publisher import Publisher

log = structlog.get_logger(__name__)

_ALIVE = timedelta(seconds=30)
"""Heartbeats come every few seconds; a process that was silent for longer is not counted."""

PROJECTS_SHOWN: Final = 200
"""Projects with series of their own: those that spent the most this month. Others are added up, so
that a mill of ten thousand projects is not scraped for half a second.
"""

Sample = tuple[tuple[str, ...], float]


class Gauges(Collector):
    """Reads the state anew at each `collect`."""

    def __init__(
        self,
        database: Database,
        client: "redis.Redis",
        publisher: Publisher,
        posted: ProcessFigures,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._redis = client
        self._publisher = publisher
        self._posted = posted
        self._clock = clock

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        registry.register(self._posted)
        return generate_latest(registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register this asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families of all sources that answer."""
        sources: dict[str, Callable[[], Sequence[Metric]]] = {
            "database": self._from_database,
            "broker": self._from_broker,
            "redis": self._from_redis,
        }
        up: list[Sample] = []
        for name, read in sources.items():
            try:
                yield from read()
                up.append(((name,), 1))
            except UnavailableError as error:
                log.warning("metrics are incomplete", source=name, reason=error.message)
                up.append(((name,), 0))
        yield _gauge("source_up", "Whether a source of these figures answered", up, "source")

    def _from_database(self) -> Sequence[Metric]:
        now = self._clock()
        with self._database.reading() as connection:
            batches = gauges.open_batches(connection)
            attempts = gauges.open_attempts(connection)
            windows = gauges.windows(connection, *periods(now), PROJECTS_SHOWN)
            events = gauges.waiting_events(connection)
            deliveries = gauges.pending_deliveries(connection)
            processes = gauges.processes(connection, now - _ALIVE)
            held = {s: holds.count_held_by(connection, s) for s in holds.scopes(connection)}
        return (
            *_batches(batches, now),
            *_money(windows, attempts),
            *_announcing(events, deliveries, now),
            *_processes(processes),
            _held(held),
        )

    def _from_broker(self) -> Sequence[Metric]:
        samples: list[Sample] = [((name,), n) for name, n in self._publisher.depths().items()]
        return (_gauge("queue_chunks", "Chunks waiting, of many jobs each", samples, "queue"),)

    def _from_redis(self) -> Sequence[Metric]:
        keys = read_all(self._redis)
        troubled = {(_provider(key), state.value): 0 for key in keys for state in KeyState}
        for key, health in keys.items():
            troubled[_provider(key), health.state.value] += 1
        about = "Provider keys that are or lately were in trouble, by the state of their circuit"
        return (_gauge("provider_keys", about, troubled.items(), "provider", "state"),)


def _batches(rows: Sequence[Any], now: datetime) -> Iterator[Metric]:
    count = [((row.status, row.priority), row.count) for row in rows]
    age = [((row.status, row.priority), _seconds_since(row.oldest, now)) for row in rows]
    labels = ("status", "priority")
    yield _gauge("batches_open", "Batches that have not ended", count, *labels)
    yield _gauge("oldest_batch_seconds", "Age of the oldest batch not ended", age, *labels)


def _money(windows: Sequence[Any], attempts: Sequence[Any]) -> Iterator[Metric]:
    labels = ("project", "window")
    shown = {row.project_id for row in windows}
    reserved: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for row in attempts:
        project = row.project_id if row.project_id in shown else gauges.OTHERS
        reserved[project] += int(row.reserved_nusd)
        calls[project] += row.count
    spent = [((row.project_id, row.kind), row.spent_nusd) for row in windows]
    unconfirmed = [((row.project_id, row.kind), row.unconfirmed_nusd) for row in windows]
    limited = [row for row in windows if row.limit_nusd is not None]
    limits = [((row.project_id, row.kind), row.limit_nusd) for row in limited]
    left = [
        (
            (row.project_id, row.kind),
            row.limit_nusd - row.spent_nusd - reserved[row.project_id],
        )
        for row in limited
    ]
    yield _gauge("spent_nusd", "Charged in the present window", spent, *labels)
    yield _gauge("unconfirmed_nusd", "Of that, what may not have been billed", unconfirmed, *labels)
    yield _gauge("budget_limit_nusd", "Limit of the present window", limits, *labels)
    yield _gauge("budget_left_nusd", "Limit less spent less reserved", left, *labels)
    amounts = [((project,), amount) for project, amount in reserved.items()]
    yield _gauge("reserved_nusd", "Reserved for calls under way", amounts, "project")
    open_calls = [((project,), count) for project, count in calls.items()]
    yield _gauge("calls_open", "Paid calls under way", open_calls, "project")


def _announcing(events: Any, deliveries: Any, now: datetime) -> Iterator[Metric]:
    yield _gauge("outbox_events", "Events waiting to be announced", [((), events.count)])
    lag = _seconds_since(events.oldest, now)
    yield _gauge("outbox_lag_seconds", "Age of the oldest event that waits", [((), lag)])
    pending = [((), deliveries.count)]
    yield _gauge("webhook_deliveries_pending", "Webhooks not delivered yet", pending)
    late = _seconds_since(deliveries.due, now)
    yield _gauge("webhook_lag_seconds", "How late the first webhook that is due is", [((), late)])


def _processes(rows: Sequence[Any]) -> Iterator[Metric]:
    alive = [((row.kind,), row.count) for row in rows]
    running = [((row.kind,), row.running) for row in rows]
    yield _gauge("processes", "Processes with a heartbeat", alive, "kind")
    yield _gauge("jobs_running", "Jobs in the hands of processes", running, "kind")


def _held(by_scope: dict[str, int]) -> Metric:
    kinds: Counter[str] = Counter()
    for scope, count in by_scope.items():
        kinds[scope.partition(":")[0]] += count
    samples: list[Sample] = [((kind,), count) for kind, count in kinds.items()]
    return _gauge("jobs_held", "Jobs held by an exhausted limit, by its kind", samples, "kind")


def _provider(key_id: str) -> str:
    return key_id.rpartition(":")[0]


def _gauge(name: str, about: str, samples: Iterable[Sample], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"promptmill_{name}", about, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family


def _seconds_since(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
