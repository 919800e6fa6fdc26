"""A batch ten times as long takes ten times the time, the same memory, and looks cost the same."""

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from producer.blocks import LINES_PER_TRANSACTION
from producer.bootstrap import ProducerContext
from producer.options import Options
from producer.reporting.results import Format
from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, jobs, staging
from shared.db.repositories.batches import BatchRow
from shared.domain.batch import BatchStatus
from shared.domain.job import JobStatus
from worker.maintenance.batch_closer import STEPS_AT_ONCE, BatchCloser

SMALL = LINES_PER_TRANSACTION
LARGE = 4 * SMALL
LINE = b'{"custom_id":"line-%d","prompt":"What is %d plus one? Say only the number."}\n'


def submitted(context: ProducerContext, lines: int) -> BatchRow:
    with context.spool() as spool:
        for number in range(1, lines + 1):
            spool.write(LINE % (number, number))
        return context.submission.submit(spool, Options("default")).batch


def cancelled(context: ProducerContext, batch: BatchRow) -> BatchRow:
    context.steering.cancel(batch.id, None)
    closer = BatchCloser(context.database, pause=lambda _: None)
    while closer.run_once(context.clock()):
        pass
    with context.database.reading() as connection:
        row = batches.by_number(connection, batch.number)
    assert row is not None
    return row


def peak_of(work: Callable[[], object]) -> int:
    """Bytes at most that the work held beyond what was there before."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    work()
    return tracemalloc.get_traced_memory()[1] - before


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_memory_does_not_grow_with_a_batch_that_is_submitted_cancelled_and_read(
    context: ProducerContext,
):
    def story(lines: int) -> list[int]:
        batch: list[BatchRow] = []
        return [
            peak_of(lambda: batch.append(submitted(context, lines))),
            peak_of(lambda: batch.append(cancelled(context, batch[0]))),
            peak_of(lambda: [None for _ in context.results.stream(batch[0].number, Format.JSONL)]),
        ]

    story(SMALL)  # whatever is made once in a process is made now
    small, large = story(SMALL), story(LARGE)
    # The first 32,768 lines are remembered by their hashes, which is all that may be.
    room = {"submit": 300 * (LARGE - SMALL)}
    for phase, few, many in zip(("submit", "cancel", "read"), small, large, strict=True):
        told = f"{phase}: {few} bytes, with four times the lines {many}"
        assert many < few * 1.5 + room.get(phase, 100_000), told


def test_a_large_batch_ends_in_short_steps_that_others_can_come_between(context: ProducerContext):
    batch = submitted(context, SMALL)
    context.steering.cancel(batch.id, None)  # what it does itself is bounded; here it is all
    first, second = submitted(context, 3 * SMALL), submitted(context, SMALL)
    with context.database.transaction() as connection:
        for row in (first, second):
            batch_moves.cancel(connection, row.number, context.clock())
    order: list[tuple[int, int]] = []

    def note(_: float) -> None:
        with context.database.transaction() as connection:  # nobody holds the write lock
            rows = [batches.by_number(connection, row.number) for row in (first, second)]
        order.append((rows[0].cancelled, rows[1].cancelled))  # type: ignore[union-attr]

    BatchCloser(context.database, pause=note).run_once(context.clock())
    assert max(b[0] - a[0] for a, b in pairwise(order)) == 1000
    assert (1000, 1000) in order, "in turn: the second does not wait for the first's end"
    assert order[-1] == (3 * SMALL, SMALL)
    assert len(order) <= STEPS_AT_ONCE


@contextmanager
def steps_counted(database: Database) -> Iterator[list[int]]:
    """What SQLite's machine did, in thousands of its instructions."""
    steps: list[int] = []
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(lambda: steps.append(1), 1000)
    yield steps
    with database.engine.connect():
        driver.set_progress_handler(None, 0)


def test_neither_a_look_nor_a_step_of_its_end_reads_the_whole_batch(context: ProducerContext):
    if not context.database.is_sqlite:
        pytest.skip("counts the instructions of SQLite's machine")
    batch = submitted(context, LARGE)
    now = context.clock()
    with context.database.transaction() as connection:
        batch_moves.cancel(connection, batch.number, now)
        for _ in range(6):  # the first six thousand have ended
            jobs.end_waiting(connection, batch.number, JobStatus.CANCELLED, now)
        row = batches.by_number(connection, batch.number)
    assert row is not None
    with steps_counted(context.database) as steps, context.database.reading() as connection:
        assert batches.counts(connection, row).queued == LARGE - 6_000
        staging.staged(connection)
        batches.open_batches(connection, BatchStatus.CANCELLING)
    assert len(steps) < 5, "a look"
    with steps_counted(context.database) as steps, context.database.transaction() as connection:
        assert jobs.end_waiting(connection, batch.number, JobStatus.CANCELLED, now, limit=10) == 10
    assert len(steps) < 10, "a step"
