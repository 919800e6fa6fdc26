"""Sends queued jobs to the workers in chunks, and again where the messages were lost.

Only a window of chunks is out per project, so a project with a million jobs fills no queue and the
next one's ten go out at once. The database remembers what is out (`lease_until` of a queued job):
a crash between the mark and the message, a broker that lost its data and a worker killed with
messages in its hands all look the same, and are repaired the same way.

Horizon: lost messages are sent again 5 to 10 s after they were sent where the lane is empty. In a
lane that others keep filled: after 10 minutes in which a batch's first message was not taken.
A batch in which a long look found nothing (a million jobs that must wait until later) is left
alone for a hundred times as long, one in which it found little for ten times as long, at most 10 s,
so that it costs next to nothing and delays no other.
Weakness: a message that a worker holds while it waits for room looks lost too; its copy finds the
jobs claimed and does nothing, and the patience doubles each time, up to a minute. While no worker
has a job in hand none waits for room, so the patience is the first one then.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from shared.chunking import chunks_of, ranges_text
from shared.db.engine import Connection, Database
from shared.db.repositories import batch_plans, batches, staging
from shared.db.repositories.staging import Staged
from shared.domain.batch import RUNS, Priority
from shared.domain.job import line_of
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.queue.lanes import lane_queue
from shared.queue.messages import ChunkMessage
from worker.maintenance.fairness import Lane, Standing, Turns, shares

log = structlog.get_logger(__name__)

STAGE_LEASE = timedelta(seconds=60)
FIRST_PATIENCE = timedelta(seconds=5)
LONGEST_PATIENCE = timedelta(seconds=60)
LOOK_EVERY = timedelta(seconds=1)
CALM_AFTER = timedelta(minutes=5)
STUCK_AFTER = timedelta(minutes=10)
REST_FACTOR = 100
SHORT_REST_FACTOR = 10
LONGEST_REST = timedelta(seconds=10)
PROJECT_WINDOW = 64
TOTAL_WINDOW = 512
CHUNKS_A_STEP = 8


class Queue(Protocol):
    """Where chunks go (`shared.queue.publisher.Publisher`)."""

    def publish(
        self,
        messages: Sequence[ChunkMessage],
        project_id: str,
        priority: Priority,
        traceparent: str | None = None,
    ) -> None:
        """Queue them, within a trace; raises UnavailableError."""

    def depths(self) -> dict[str, int]:
        """Messages waiting by queue; raises UnavailableError."""


class JobStager:
    """Windows are counted in chunks of `chunk_size` jobs."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        chunk_size: int,
        project_window: int = PROJECT_WINDOW,
        total_window: int = TOTAL_WINDOW,
    ) -> None:
        self._database = database
        self._queue = queue
        self._chunk_size = chunk_size
        self._project_window = project_window * chunk_size
        self._total_window = total_window * chunk_size
        self._patience: dict[int, tuple[timedelta, datetime]] = {}
        self._first_seen: dict[int, tuple[int, datetime]] = {}
        self._looked_at: datetime | None = None
        self._rests_until: dict[int, datetime] = {}
        self._turns = Turns()

    def run_once(self, now: datetime) -> int:
        """Send what is due and has room; returns how many jobs that were."""
        with self._database.reading() as connection:
            waiting = staging.batches_with_waiting_jobs(connection)
            out = staging.staged(connection)
            if not waiting and not out:
                return 0
            rows = batches.open_batches(connection, *RUNS)
        running = {row.number: row for row in rows}
        self._look_after(out, running, now)
        wanted = {number for number in waiting if not self._rests(number, now)}
        wishes = [row for row in rows if row.number in wanted]
        sent = 0
        for number, limit in self._shares(wishes, out, running):
            sent += self._stage(running[number], limit, now)
        return sent

    def _shares(
        self, wishes: Sequence[Any], out: Mapping[int, Staged], running: Mapping[int, Any]
    ) -> list[tuple[int, int]]:
        per_project = dict.fromkeys((row.project_id for row in wishes), 0)
        for number, staged in out.items():
            if number in running and running[number].priority != Priority.INTERACTIVE:
                project = running[number].project_id
                per_project[project] = per_project.get(project, 0) + staged.jobs
        given = shares(
            [self._lane(row, out) for row in wishes],
            {
                project: Standing(count, self._turns.last(project))
                for project, count in per_project.items()
            },
            project_window=self._project_window,
            total_window=self._total_window,
            chunk_size=self._chunk_size,
        )
        self._turns.note(_names(running[number] for number, _ in given), _names(running.values()))
        return given

    def _lane(self, row: Any, out: Mapping[int, Staged]) -> Lane:
        return Lane(
            row.number,
            row.project_id,
            row.priority == Priority.INTERACTIVE,
            out[row.number].jobs if row.number in out else 0,
            self._turns.last(row.number),
        )

    def _stage(self, batch: Any, limit: int, now: datetime) -> int:
        """In short transactions: on SQLite everybody else waits for the end of each."""
        sent = 0
        while sent < limit:
            wanted = min(limit - sent, CHUNKS_A_STEP * self._chunk_size)
            found = self._stage_some(batch, wanted, now)
            sent += found
            if found < wanted:
                break
        return sent

    def _stage_some(self, batch: Any, limit: int, now: datetime) -> int:
        with self._database.transaction() as connection:
            began = time.monotonic()  # what counts is the look, not the wait for a lock before it
            ids = staging.stageable(
                connection, batch.number, now, limit, lines=_pilot_lines(connection, batch)
            )
            took_s = time.monotonic() - began
            if ids:
                staging.mark_staged(connection, ids, now + STAGE_LEASE)
        if len(ids) < limit:
            rest = timedelta(seconds=took_s * (SHORT_REST_FACTOR if ids else REST_FACTOR))
            self._rests_until[batch.number] = now + min(rest, LONGEST_REST)
        messages = [
            ChunkMessage(batch.id, batch.number, ranges_text(line_of(i) for i in chunk))
            for chunk in chunks_of(ids, self._chunk_size)
        ]
        if not messages:
            return 0
        reach(FaultPoint.AFTER_STAGE_MARK)
        try:
            self._queue.publish(
                messages, batch.project_id, Priority(batch.priority), batch.traceparent
            )
        except UnavailableError:
            with self._database.transaction() as connection:
                staging.unstage_jobs(connection, ids)
            raise
        return len(ids)

    def _rests(self, number: int, now: datetime) -> bool:
        if now >= self._rests_until.get(number, now):
            self._rests_until.pop(number, None)
            return False
        return True

    def _look_after(
        self, out: Mapping[int, Staged], running: Mapping[int, Any], now: datetime
    ) -> None:
        """Tell messages that wait from messages that are lost; asks the broker once a second."""
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
            return
        self._forget(out, now)
        suspect = {
            number: staged
            for number, staged in out.items()
            if number in running and staged.earliest < now + STAGE_LEASE - FIRST_PATIENCE
        }
        if not suspect:
            return
        self._looked_at = now
        with self._database.reading() as connection:
            may_be_held = staging.anything_runs(connection)
        depths: Mapping[str, int] | None = None
        for number, staged in suspect.items():
            batch = running[number]
            patience = self._patience_of(number) if may_be_held else FIRST_PATIENCE
            if staged.earliest >= now + STAGE_LEASE - patience:
                continue
            depths = self._queue.depths() if depths is None else depths
            lane_is_empty = not depths[lane_queue(batch.project_id, Priority(batch.priority))]
            if lane_is_empty:
                self._send_again(batch, now + STAGE_LEASE - patience, patience, now)
            elif self._is_stuck(number, staged, now):
                self._send_again(batch, now + STAGE_LEASE, patience, now)
            elif staged.earliest < now + STAGE_LEASE / 2:
                with self._database.transaction() as connection:
                    staging.extend_staged(connection, number, now + STAGE_LEASE)

    def _send_again(self, batch: Any, before: datetime, patience: timedelta, now: datetime) -> None:
        with self._database.transaction() as connection:
            lost = staging.unstage_batch(connection, batch.number, before)
        if lost:
            self._patience[batch.number] = min(patience * 2, LONGEST_PATIENCE), now
            self._first_seen.pop(batch.number, None)
            log.info("messages are sent again", batch=batch.id, jobs=lost)

    def _patience_of(self, number: int) -> timedelta:
        return self._patience[number][0] if number in self._patience else FIRST_PATIENCE

    def _is_stuck(self, number: int, staged: Staged, now: datetime) -> bool:
        """A lane is first in, first out: if a batch's first message is not taken for long while
        the lane moves, it is not there.
        """
        first_id, since = self._first_seen.get(number, (staged.first_id, now))
        if first_id != staged.first_id:
            since = now
        self._first_seen[number] = (staged.first_id, since)
        return now - since >= STUCK_AFTER

    def _forget(self, out: Mapping[int, Staged], now: datetime) -> None:
        for number in self._first_seen.keys() - out.keys():
            del self._first_seen[number]
        calm = [n for n, (_, since) in self._patience.items() if now - since > CALM_AFTER]
        for number in calm:
            del self._patience[number]


def _pilot_lines(connection: Connection, batch: Any) -> list[int] | None:
    """The lines that may run before the others: those of a pilot; None where all may."""
    if batch.pilot != batches.PILOT_ASKING:
        return None
    return [int(line) for line in batch_plans.pilot_of(connection, batch.number)["lines"]]


def _names(rows: Iterable[Any]) -> set[int | str]:
    """What batches are told apart by, and their projects."""
    return {name for row in rows for name in (row.number, row.project_id)}
