"""The whole mill at one moment: what runs, what waits, what it costs, what is wrong. A part that
does not answer is named in `missing`, and what it would tell is left out.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import redis
import structlog

from producer.watching.process_figures import ProcessFigures
from shared.budget.windows import periods
from shared.db.engine import Connection, Database
from shared.db.repositories import alerts, gauges, holds
from shared.domain.money import usd_from_nusd
from shared.errors import UnavailableError
from shared.provider_health import KeyState, read_all
from shared.queue.publisher import Publisher

log = structlog.get_logger(__name__)

BATCHES_SHOWN: Final = 20
PROJECTS_SHOWN: Final = 100
"""Those that spent the most this month."""
_ALIVE: Final = timedelta(seconds=30)


class Overview:
    """Reads only, and the same sources as `producer.watching.gauges`."""

    def __init__(
        self,
        database: Database,
        client: "redis.Redis",
        publisher: Publisher,
        posted: ProcessFigures,
        *,
        chunk_size: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._redis = client
        self._publisher = publisher
        self._posted = posted
        self._chunk_size = chunk_size
        self._clock = clock

    def read(self) -> dict[str, Any]:
        """Everything there is to be told; see `producer.api.shapes.overview`."""
        now = self._clock()
        told: dict[str, Any] = {"object": "overview", "at": now.isoformat(), "missing": []}
        parts: Mapping[str, Callable[[], dict[str, Any]]] = {
            "database": lambda: self._from_database(now),
            "broker": lambda: {"queues": dict(self._publisher.depths())},
            "redis": self._from_redis,
        }
        for name, read in parts.items():
            try:
                told |= read()
            except UnavailableError as error:
                log.warning("the overview is incomplete", source=name, reason=error.message)
                told["missing"].append(name)
        running = told.get("jobs", {}).get("running", 0)
        waiting = sum(told.get("queues", {}).values())
        # What workers are scaled by: those that are busy must not look idle.
        told["backlog_chunks"] = waiting + -(-running // self._chunk_size)
        return told | self._counted()

    def _from_database(self, now: datetime) -> dict[str, Any]:
        with self._database.reading() as connection:
            return _of_database(connection, now)

    def _from_redis(self) -> dict[str, Any]:
        sick: Counter[tuple[str, str]] = Counter()
        reasons: dict[tuple[str, str], str] = {}
        for key, health in read_all(self._redis).items():
            if health.state is not KeyState.CLOSED:
                place = key.rpartition(":")[0], health.state.value
                sick[place] += 1
                reasons[place] = health.reason
        return {
            "sick_providers": [
                {"provider": name, "state": state, "keys": count, "reason": reasons[name, state]}
                for (name, state), count in sorted(sick.items())
            ]
        }

    def _counted(self) -> dict[str, Any]:
        """What processes have counted since they came up: totals, of which a watcher takes the
        difference.
        """
        found = {metric.name: metric.samples for metric in self._posted.collect()}

        def by(name: str, label: str) -> dict[str, int]:
            sums: Counter[str] = Counter()
            for sample in found.get(f"promptmill_{name}", ()):
                sums[sample.labels[label]] += int(sample.value)
            return dict(sums)

        in_flight = found.get("promptmill_calls_in_flight", ())
        return {
            "calls_in_flight": int(sum(sample.value for sample in in_flight)),
            "totals": {"attempts": by("attempts", "outcome"), "jobs": by("jobs", "to")},
        }


def _of_database(connection: Connection, now: datetime) -> dict[str, Any]:
    processes = gauges.processes(connection, now - _ALIVE)
    windows = gauges.windows(connection, *periods(now), PROJECTS_SHOWN)
    reserved = {row.project_id: int(row.reserved_nusd) for row in gauges.open_attempts(connection)}
    deliveries = gauges.pending_deliveries(connection)
    late_s = 0.0 if deliveries.due is None else (now - deliveries.due).total_seconds()
    return {
        "processes": {row.kind: row.count for row in processes},
        "jobs": {
            "running": sum(int(row.running or 0) for row in processes),
            "held": sum(holds.count_held_by(connection, s) for s in holds.scopes(connection)),
        },
        "batches": [_batch(row) for row in gauges.newest_open(connection, BATCHES_SHOWN)],
        "budgets": [
            _window(row, reserved.get(row.project_id, 0))
            for row in windows
            if row.project_id != gauges.OTHERS
        ],
        **_money("reserved", sum(reserved.values())),
        **_money("spent_today", sum(row.spent_nusd for row in windows if row.kind == "day")),
        "webhooks": {"pending": deliveries.count, "late_s": round(max(0.0, late_s), 1)},
        "alerts": [_alert(row) for row in alerts.raised(connection)],
    }


def open_alerts(database: Database, project_id: str | None) -> list[dict[str, Any]]:
    """What somebody should look at now, the newest first: of a project, or of all (None) and of
    what belongs to none.
    """
    with database.reading() as connection:
        rows = alerts.raised(connection)
    return [_alert(row) for row in rows if project_id in {None, row.project_id}]


def _batch(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "project": row.project_id,
        "name": row.name,
        "status": row.status,
        "total": row.total,
        "completed": row.completed,
        "failed": row.failed,
        **_money("cost", row.cost_nusd),
        "created_at": row.created_at.isoformat(),
    }


def _window(row: Any, reserved_nusd: int) -> dict[str, Any]:
    limit = row.limit_nusd
    left = None if limit is None else limit - row.spent_nusd - reserved_nusd
    return {
        "project": row.project_id,
        "window": row.kind,
        "limit_nusd": limit,
        **_money("spent", row.spent_nusd),
        "left_nusd": left,
    }


def _alert(row: Any) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "severity": row.severity,
        "project": row.project_id,
        "message": row.message,
        "since": row.since.isoformat(),
    }


def _money(name: str, nusd: int) -> dict[str, Any]:
    return {f"{name}_nusd": int(nusd), f"{name}_usd": usd_from_nusd(int(nusd))}
