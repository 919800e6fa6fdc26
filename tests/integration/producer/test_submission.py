"""Submission against a real database: blocks, cancellation in between, a broker that is down."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from producer.blocks import LINES_PER_TRANSACTION
from producer.bootstrap import ProducerContext
from producer.filling import Filler
from producer.options import Options
from producer.spool import Spool
from producer.submitted import Submitted
from shared.db.repositories import batches, jobs, staging
from shared.domain.batch import BatchStatus
from shared.domain.job import JobStatus, job_id_of
from shared.errors import UnavailableError
from tests.integration.producer.finished import finish
from worker.maintenance.batch_closer import UPLOAD_LOST_AFTER, BatchCloser


@pytest.fixture
def spool(context: ProducerContext) -> Iterator[Spool]:
    with context.spool() as spool:
        yield spool


def submit(context: ProducerContext, spool: Spool, content: bytes, **options: Any) -> Submitted:
    spool.write(content)
    return context.submission.submit(spool, Options("default", **options))


def test_lines_keep_their_number_across_blocks_and_blank_lines(
    context: ProducerContext, spool: Spool
):
    content = b"\n".join(b'{"prompt":"%d"}' % i if i % 3 else b"" for i in range(1, 7001))
    batch = submit(context, spool, content).batch
    with context.database.reading() as connection:
        ids = staging.stageable(connection, batch.number, context.clock(), 10_000)
        counts = batches.counts(connection, batch)
    assert [job & 0xFFFFFF for job in ids] == [i for i in range(1, 7001) if i % 3]
    assert counts.queued == counts.total == len(ids)


def test_a_batch_cancelled_while_its_lines_come_in_leaves_no_job_behind(
    context: ProducerContext, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    write = Filler.write
    written: list[int] = []

    def write_then_cancel(self: Filler, number: int, *rest: Any) -> None:
        write(self, number, *rest)
        written.append(number)
        if len(written) == 1:
            with context.database.reading() as connection:
                batch = batches.by_number(connection, number)
            assert batch is not None
            context.steering.cancel(batch.id, None)

    monkeypatch.setattr(Filler, "write", write_then_cancel)
    batch = submit(context, spool, b'{"prompt":"x"}\n' * 5000).batch
    assert batch.status == BatchStatus.CANCELLED
    assert batch.total == batch.cancelled == LINES_PER_TRANSACTION
    with context.database.reading() as connection:
        assert staging.stageable(connection, batch.number, context.clock(), 10) == []


def test_a_broker_that_is_down_delays_a_batch_and_does_not_fail_it(
    context: ProducerContext, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise UnavailableError("the broker does not answer")

    monkeypatch.setattr(type(context.publisher), "publish", broken)
    batch = submit(context, spool, b'{"prompt":"x"}').batch
    assert batch.status == BatchStatus.IN_PROGRESS
    with context.database.transaction() as connection:
        assert staging.staged(connection)[batch.number].jobs == 1
        # What the stager does once the lease is over.
        assert staging.unstage_jobs(connection, [job_id_of(batch.number, 1)]) == 1
    finish(context, batch.id, 1)


def test_a_process_that_dies_in_between_leaves_the_batch_validating(
    context: ProducerContext, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Filler, "seal", dies)
    with pytest.raises(KeyboardInterrupt):
        submit(context, spool, b'{"prompt":"x"}')
    with context.database.reading() as connection:
        (batch,) = batches.page(connection, "default", limit=10)
        assert batch.status == BatchStatus.VALIDATING


def test_a_spooled_file_is_gone_when_it_is_closed(context: ProducerContext):
    folder = context.settings.home_dir / "spool"
    with context.spool() as spool:
        spool.write(b"x")
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_the_same_upload_again_goes_on_where_the_first_one_died(
    context: ProducerContext, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    content = b'{"prompt":"x"}\n' * (LINES_PER_TRANSACTION + 5) + b'{"prompt":7}\n'
    with monkeypatch.context() as patch:
        patch.setattr(Filler, "write", _dying_after(1, Filler.write))
        with pytest.raises(KeyboardInterrupt):
            submit(context, spool, content, idempotency_key="k")
    with context.spool() as again:
        made = submit(context, again, content, idempotency_key="k")
    assert (made.batch.status, made.batch.total) == (
        BatchStatus.IN_PROGRESS,
        LINES_PER_TRANSACTION + 6,
    )
    assert made.replayed
    assert [line.line for line in made.rejected] == [LINES_PER_TRANSACTION + 6]


def test_a_slow_upload_that_was_sent_again_is_overtaken_and_stops(
    context: ProducerContext, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    content = b'{"prompt":"x"}\n' * (3 * LINES_PER_TRANSACTION)
    write = Filler.write
    others: list[Submitted] = []

    def write_after_another(self: Filler, number: int, *rest: Any) -> None:
        if not others:
            monkeypatch.setattr(Filler, "write", write)
            with context.spool() as again:
                others.append(submit(context, again, content, idempotency_key="k"))
        write(self, number, *rest)

    monkeypatch.setattr(Filler, "write", write_after_another)
    slow = submit(context, spool, content, idempotency_key="k").batch
    (fast,) = others
    assert slow.id == fast.batch.id
    assert slow.status == BatchStatus.IN_PROGRESS
    with context.database.reading() as connection:
        counts = batches.counts(connection, slow)
    assert counts.queued == counts.total == 3 * LINES_PER_TRANSACTION


def test_an_upload_that_is_being_given_up_takes_no_line_and_its_key_is_free_afterwards(
    context: ProducerContext, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    content = b'{"prompt":"x"}\n' * (LINES_PER_TRANSACTION + 5)
    with monkeypatch.context() as patch:
        patch.setattr(Filler, "write", _dying_after(1, Filler.write))
        with pytest.raises(KeyboardInterrupt):
            submit(context, spool, content, idempotency_key="k")
    with context.database.transaction() as connection:
        (dead,) = batches.page(connection, "default", limit=10)
        jobs.end_waiting(connection, dead.number, JobStatus.CANCELLED, context.clock(), limit=3)
    with context.spool() as again, pytest.raises(UnavailableError, match="given up"):
        submit(context, again, content, idempotency_key="k")

    closer = BatchCloser(context.database)
    closer.run_once(context.clock())
    closer.run_once(context.clock() + UPLOAD_LOST_AFTER)

    with context.spool() as again:
        made = submit(context, again, content, idempotency_key="k").batch
    assert made.id != dead.id
    assert (made.status, made.total) == (BatchStatus.IN_PROGRESS, LINES_PER_TRANSACTION + 5)


def _dying_after(blocks: int, write: Callable[..., None]) -> Callable[..., None]:
    written: list[int] = []

    def write_and_die(self: Filler, number: int, *rest: Any) -> None:
        if len(written) == blocks:
            raise KeyboardInterrupt
        write(self, number, *rest)
        written.append(number)

    return write_and_die
