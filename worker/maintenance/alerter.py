"""Tells people of what they should look at, once each: budgets, held jobs, sick providers, stuck
queues, webhooks that fail.

A matter is told when it has lasted long enough, and again when it has been over for five minutes,
so one that comes and goes is told once. What was told to whom is remembered after each telling: a
process that is killed in between tells once more, never nothing. A way that fails is tried again
after half a minute, then ever more seldom, up to an hour.

Horizon: 5 s and what a matter must last.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import redis
import structlog

from shared.budget.model import Scope
from shared.budget.windows import periods
from shared.db.engine import Database
from shared.db.repositories import alerts, gauges, holds
from shared.errors import UnavailableError
from shared.provider_health import read_all
from shared.queue.publisher import Publisher
from worker.alerting import matters
from worker.alerting.channels import Channel, Notice
from worker.alerting.matters import Matter

log = structlog.get_logger(__name__)

CALM: Final = timedelta(minutes=5)
"""For so long a matter must be gone until it counts as over."""

_ALIVE: Final = timedelta(seconds=30)
_FAILING: Final = timedelta(minutes=10)
_FIRST_PAUSE_S: Final = 30.0
_LONGEST_PAUSE_S: Final = 3600.0
_ENDS_BY_ITSELF: Final = frozenset({"budget.threshold"})
"""Kinds of whose end nobody is told: a new day, or the next threshold."""

_RAISED: Final = "raised"
_RESOLVED: Final = "resolved"


class Alerter:
    """Without a channel it still keeps what there is to be told, for whoever looks."""

    def __init__(
        self,
        database: Database,
        client: "redis.Redis",
        publisher: Publisher,
        channels: Sequence[Channel],
    ) -> None:
        self._database = database
        self._redis = client
        self._publisher = publisher
        self._channels = channels

    def run_once(self, now: datetime) -> int:
        """Returns how many tellings arrived."""
        present = {matter.key: matter for matter in self._look(now)}
        if not present and not self._anything_known():  # most looks end here, without a lock
            return 0
        with self._database.transaction() as connection:
            known = {row.key: row for row in alerts.everything(connection)}
            for key, matter in present.items():
                if key in known:
                    _seen(connection, known[key], matter, now)
                else:
                    alerts.add(connection, _first_sight(matter, now))
            for key in known.keys() - present.keys():
                _gone(connection, known[key], now)
        return self._tell(now)

    def _anything_known(self) -> bool:
        with self._database.reading() as connection:
            return bool(alerts.everything(connection))

    def _look(self, now: datetime) -> list[Matter]:
        with self._database.snapshot() as connection:
            day, month = periods(now)
            found = [*matters.budgets(holds.limited_windows(connection, day, month))]
            scopes = {
                scope: holds.project_of_scope(connection, scope.kind.value, scope.key)
                for text in holds.scopes(connection)
                for scope in (Scope.parse(text),)
            }
            found += matters.held(scopes)
            batches = gauges.open_batches(connection)
            processes = gauges.processes(connection, now - _ALIVE)
            found += matters.webhooks(alerts.failing_endpoints(connection, now - _FAILING))
        depths: Mapping[str, int] = {}
        try:
            found += matters.circuits(read_all(self._redis))
            depths = self._publisher.depths()
        except UnavailableError as error:
            log.warning("alerts are looked for without Redis or the broker", reason=error.message)
        return [*found, *matters.queues(batches, processes, depths)]

    def _tell(self, now: datetime) -> int:
        with self._database.reading() as connection:
            rows = [row for row in alerts.everything(connection) if row.raised_at is not None]
        arrived = 0
        for row in rows:
            word = _RESOLVED if _is_over(row, now) else _RAISED
            if word == _RESOLVED and row.kind in _ENDS_BY_ITSELF:
                self._forget(row.key)
                continue
            told = self._tell_one(row, word, now) if row.tell_at <= now else row.told
            arrived += sum(told.get(name) != row.told.get(name) for name in told)
            if word == _RESOLVED and self._everybody_knows(told):
                self._forget(row.key)
        return arrived

    def _forget(self, key: str) -> None:
        with self._database.transaction() as connection:
            alerts.forget(connection, key)

    def _tell_one(self, row: Any, word: str, now: datetime) -> Mapping[str, str]:
        """What was told by which channel, afterwards."""
        told = dict(row.told)
        failed = False
        for channel in self._channels:
            before = told.get(channel.name)
            if before == word or (before is None and word == _RESOLVED):
                continue  # of the end nobody hears who did not hear of the beginning
            reason = channel.tell(_notice(row, word, now))
            if reason is None:
                told[channel.name] = word
                self._remember(row.key, told=told)
            else:
                failed = True
                log.warning("an alert was not told", channel=channel.name, reason=reason)
        if failed:
            pause = min(_FIRST_PAUSE_S * 2**row.tries, _LONGEST_PAUSE_S)
            tries = min(row.tries + 1, 10)
            self._remember(row.key, tries=tries, tell_at=now + timedelta(seconds=pause))
        elif row.tries:
            self._remember(row.key, tries=0)
        return told

    def _remember(self, key: str, **values: Any) -> None:
        with self._database.transaction() as connection:
            alerts.change(connection, key, **values)

    def _everybody_knows(self, told: Mapping[str, str]) -> bool:
        ways = {channel.name for channel in self._channels}
        return all(word == _RESOLVED for name, word in told.items() if name in ways)


def _first_sight(matter: Matter, now: datetime) -> dict[str, Any]:
    return {
        "key": matter.key[:300],
        "kind": matter.kind,
        "severity": matter.severity,
        "project_id": matter.project_id,
        "message": matter.message[:500],
        "since": now,
        "raised_at": None if matter.lasts_s else now,
        "told": {},
        "tell_at": now,
    }


def _seen(connection: Any, row: Any, matter: Matter, now: datetime) -> None:
    changed: dict[str, Any] = {}
    if row.message != matter.message[:500]:
        changed["message"] = matter.message[:500]
    if row.gone_since is not None:
        changed["gone_since"] = None
    if row.raised_at is None and (now - row.since).total_seconds() >= matter.lasts_s:
        changed["raised_at"] = now
    if changed:
        alerts.change(connection, row.key, **changed)


def _gone(connection: Any, row: Any, now: datetime) -> None:
    if row.raised_at is None:
        alerts.forget(connection, row.key)
    elif row.gone_since is None:
        alerts.change(connection, row.key, gone_since=now)


def _is_over(row: Any, now: datetime) -> bool:
    return row.gone_since is not None and now - row.gone_since >= CALM


def _notice(row: Any, word: str, now: datetime) -> Notice:
    return Notice(
        type=f"alert.{word}",
        key=row.key,
        kind=row.kind,
        severity=row.severity,
        project=row.project_id,
        message=row.message,
        since=row.since,
        at=now,
    )
