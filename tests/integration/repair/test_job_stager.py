"""The stager sends what is due within its windows, and again where messages were lost."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
import redis

from shared.chunking import parse_ranges
from shared.db.engine import Database
from shared.db.repositories import batch_moves
from shared.domain.batch import Priority
from shared.errors import UnavailableError
from shared.queue.celery_app import make_celery_app
from shared.queue.lanes import INTERACTIVE_QUEUE, lane_queue
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.settings import Settings
from tests.integration.repair.mill import NOW, Mill
from worker.maintenance.job_stager import CHUNKS_A_STEP, STAGE_LEASE, JobStager

LANE = lane_queue("acme", Priority.BATCH)


@pytest.fixture
def publisher(settings: Settings):
    app = make_celery_app(settings)
    yield Publisher(app)
    app.close()


@pytest.fixture
def stager(database: Database, publisher: Publisher) -> JobStager:
    return JobStager(database, publisher, chunk_size=10, project_window=3, total_window=5)


class Refusing:
    """A broker that is down."""

    def publish(self, *_: object) -> None:
        raise UnavailableError("the broker does not answer")

    def depths(self) -> dict[str, int]:
        raise UnavailableError("the broker does not answer")


class Recording:
    """Takes messages; its depths are what the test says."""

    def __init__(self) -> None:
        self.messages: list[ChunkMessage] = []
        self.steps: list[int] = []
        self.depth = 0

    def publish(self, messages: Sequence[ChunkMessage], *_: object) -> None:
        self.messages += messages
        self.steps.append(len(messages))

    def depths(self) -> dict[str, int]:
        return dict.fromkeys([LANE, INTERACTIVE_QUEUE], self.depth)

    def lines(self) -> list[int]:
        return [n for m in self.messages for n in parse_ranges(m.lines, limit=1000)]


def test_chunks_go_out_up_to_the_projects_window(
    mill: Mill, stager: JobStager, publisher: Publisher
):
    mill.batch(100)
    assert stager.run_once(NOW) == 30
    assert publisher.depths()[LANE] == 3
    assert stager.run_once(NOW) == 0


def test_a_large_window_is_filled_in_steps_that_others_come_between(mill: Mill, database: Database):
    queue = Recording()
    stager = JobStager(database, queue, chunk_size=10, project_window=20, total_window=20)
    mill.batch(195)
    assert stager.run_once(NOW) == 195
    assert queue.steps == [CHUNKS_A_STEP, CHUNKS_A_STEP, 20 - 2 * CHUNKS_A_STEP]
    assert queue.lines() == list(range(1, 196))


def test_what_was_taken_makes_room_for_more(mill: Mill, stager: JobStager):
    number = mill.batch(100)
    stager.run_once(NOW)
    mill.claim(number, *range(1, 21))
    assert stager.run_once(NOW) == 20


def test_messages_hold_the_batchs_own_lines_in_order(mill: Mill, database: Database):
    queue = Recording()
    number = mill.batch(25)
    JobStager(database, queue, chunk_size=10).run_once(NOW)
    assert [m.lines for m in queue.messages] == ["1-10", "11-20", "21-25"]
    assert {(m.batch, m.batch_number) for m in queue.messages} == {(mill.row(number).id, number)}


def test_one_projects_crowd_does_not_keep_another_waiting(mill: Mill, database: Database):
    queue = Recording()
    for _ in range(4):
        mill.batch(1000, "crowd")
    small = mill.batch(10, "small")
    JobStager(database, queue, chunk_size=10, project_window=64, total_window=4).run_once(NOW)
    assert small in {message.batch_number for message in queue.messages}


def test_interactive_jobs_go_first_and_have_no_window(mill: Mill, database: Database):
    queue = Recording()
    mill.batch(100)
    chat = mill.batch(1, priority=Priority.INTERACTIVE)
    JobStager(database, queue, chunk_size=10, project_window=1, total_window=1).run_once(NOW)
    assert queue.messages[0].batch_number == chat


def test_jobs_that_must_wait_are_not_sent_before_their_time(mill: Mill, stager: JobStager):
    mill.batch(1)
    mill.execute("UPDATE jobs SET run_after = :at", at=str(NOW.replace(tzinfo=None))[:19])
    assert stager.run_once(NOW - timedelta(seconds=10)) == 0
    assert stager.run_once(NOW + timedelta(seconds=10)) == 1


def test_messages_of_a_broker_that_lost_everything_are_sent_again(
    mill: Mill, stager: JobStager, publisher: Publisher, redis_client: "redis.Redis"
):
    mill.batch(20)
    assert stager.run_once(NOW) == 20
    redis_client.flushall()
    assert stager.run_once(NOW + timedelta(seconds=4)) == 0
    stager.run_once(NOW + timedelta(seconds=6))
    assert stager.run_once(NOW + timedelta(seconds=7)) == 20
    assert publisher.depths()[LANE] == 2


def test_a_crash_between_mark_and_message_is_repaired(mill: Mill, database: Database):
    mill.batch(20)

    class Dying(Recording):
        def publish(self, *_: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        JobStager(database, Dying(), chunk_size=10).run_once(NOW)
    queue = Recording()
    again = JobStager(database, queue, chunk_size=10)
    again.run_once(NOW + timedelta(seconds=6))
    again.run_once(NOW + timedelta(seconds=7))
    assert queue.lines() == list(range(1, 21))


def test_messages_that_still_wait_are_given_longer_not_sent_twice(mill: Mill, database: Database):
    queue = Recording()
    queue.depth = 2
    mill.batch(20)
    stager = JobStager(database, queue, chunk_size=10)
    for second in range(0, 300, 5):
        stager.run_once(NOW + timedelta(seconds=second))
    assert len(queue.messages) == 2


def test_a_first_message_that_is_never_taken_in_a_busy_lane_is_sent_again(
    mill: Mill, database: Database
):
    queue = Recording()
    queue.depth = 1
    mill.batch(10)
    stager = JobStager(database, queue, chunk_size=10)
    for second in range(0, 700, 10):
        stager.run_once(NOW + timedelta(seconds=second))
    assert len(queue.messages) == 2


def test_patience_with_messages_that_workers_may_hold_doubles(mill: Mill, database: Database):
    queue = Recording()
    mill.claim(mill.batch(11), 11)
    stager = JobStager(database, queue, chunk_size=10)
    for second in range(120):
        stager.run_once(NOW + timedelta(seconds=second))
    assert 3 <= len(queue.messages) <= 6


def test_messages_that_no_worker_can_hold_are_sent_again_soon_however_often_they_were_lost(
    mill: Mill, database: Database
):
    queue = Recording()
    number = mill.batch(11)
    stager = JobStager(database, queue, chunk_size=10)
    token = mill.claim(number, 11)
    for second in range(60):
        stager.run_once(NOW + timedelta(seconds=second))
    mill.finish(number, token, 11)
    before = len(queue.messages)
    for second in range(60, 120):
        stager.run_once(NOW + timedelta(seconds=second))
    assert len(queue.messages) - before >= 6


def test_a_broker_that_is_down_leaves_the_jobs_to_be_sent(mill: Mill, database: Database):
    number = mill.batch(10)
    with pytest.raises(UnavailableError):
        JobStager(database, Refusing(), chunk_size=10).run_once(NOW)
    assert mill.job(number, 1).lease_until is None
    queue = Recording()
    assert JobStager(database, queue, chunk_size=10).run_once(NOW) == 10


def test_batches_that_do_not_run_send_nothing(mill: Mill, database: Database, stager: JobStager):
    mill.batch(10, sealed=False)
    cancelled = mill.batch(10)
    with database.transaction() as connection:
        batch_moves.cancel(connection, cancelled, NOW)
    assert stager.run_once(NOW) == 0


def test_staging_marks_until_when_a_message_should_be_taken(mill: Mill, stager: JobStager):
    number = mill.batch(1)
    stager.run_once(NOW)
    assert mill.job(number, 1).lease_until == NOW + STAGE_LEASE
