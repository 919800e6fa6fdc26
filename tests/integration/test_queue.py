"""The queue under its real configuration: real broker, real worker processes."""

import base64
import contextlib
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Queue
from kombu.common import ignore_errors

from producer.local.processes import ChildProcess, start_child
from shared.domain.batch import Priority
from shared.errors import UnavailableError
from shared.queue.celery_app import RUN_CHUNK, make_celery_app
from shared.queue.lanes import ALL_QUEUES, BATCH_QUEUES, INTERACTIVE_QUEUE, lane_queue
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.settings import Settings
from tests.servers.echo_worker import GATE, SEEN
from tests.servers.valkey import ValkeyServer
from tests.servers.waiting import wait_for
from worker.consumer import TOLD_EVERY_S


def chunk(lines: str, number: int = 1) -> ChunkMessage:
    return ChunkMessage(f"batch_{number}", number, lines)


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    app = make_celery_app(settings)
    yield Publisher(app)
    app.close()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., ChildProcess]]:
    children: list[ChildProcess] = []

    def start(redis_url: str, queues: tuple[str, ...], threads: int = 1) -> ChildProcess:
        name = f"worker{len(children)}"
        options = ["-Q", ",".join(queues), "-c", str(threads), "-n", f"{name}@test"]
        child = start_child(
            name,
            [sys.executable, "-m", "celery", "-A", "tests.servers.echo_worker", "worker", *options],
            env=os.environ | {"PROMPTMILL_REDIS_URL": redis_url},
            log=tmp_path / f"{name}.log",
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()


def seen(client: redis.Redis) -> list[str]:
    return [json.loads(raw)["lines"] for raw in client.lrange(SEEN, 0, -1)]


def test_messages_wait_in_their_projects_lane(publisher: Publisher) -> None:
    publisher.publish([chunk("1-100"), chunk("101-200")], "acme", Priority.BATCH)
    publisher.publish([chunk("1")], "acme", Priority.INTERACTIVE)
    expected = dict.fromkeys(ALL_QUEUES, 0)
    expected[lane_queue("acme", Priority.BATCH)] = 2
    expected[INTERACTIVE_QUEUE] = 1
    assert publisher.depths() == expected


def test_every_key_of_the_queue_carries_the_prefix(
    publisher: Publisher, redis_client: redis.Redis
) -> None:
    publisher.publish([chunk("1-100")], "acme", Priority.BATCH)
    assert all(key.startswith(b"promptmill:") for key in redis_client.scan_iter())


def test_a_message_holds_ids_and_json_only(publisher: Publisher, redis_client: redis.Redis) -> None:
    publisher.publish([chunk("1-100")], "acme", Priority.BATCH)
    key = f"promptmill:{lane_queue('acme', Priority.BATCH)}"
    message = json.loads(redis_client.lrange(key, 0, 0)[0])
    assert message["content-type"] == "application/json"
    assert message["headers"]["kwargsrepr"] == repr(chunk("1-100").as_kwargs())


def test_a_broker_that_is_gone_is_reported_within_seconds() -> None:
    server = ValkeyServer()
    try:
        server.start()
        app = make_celery_app(Settings(_env_file=None, redis_url=server.url))
        publisher = Publisher(app)
        publisher.publish([chunk("1")], "acme", Priority.BATCH)
        server.kill()
        with pytest.raises(UnavailableError):
            publisher.publish([chunk("2")], "acme", Priority.BATCH)
        with pytest.raises(UnavailableError):
            publisher.depths()
        server.start()
        publisher.publish([chunk("3")], "acme", Priority.BATCH)
        app.close()
    finally:
        server.remove()


def test_a_worker_tells_of_its_tasks_a_few_times_a_second(
    publisher: Publisher,
    redis_client: redis.Redis,
    redis_url: str,
    start_worker: Callable[..., ChildProcess],
) -> None:
    start_worker(redis_url, BATCH_QUEUES)
    told: list[list[dict[str, Any]]] = []
    with redis_client.pubsub() as channels:
        channels.psubscribe("*celeryev/task.multi")
        publisher.publish([chunk("1")], "acme", Priority.BATCH)
        began = hear(channels, told, 1)
        for number in range(2, 6):  # each once the one before is done, so none comes with another
            publisher.publish([chunk(str(number))], "acme", Priority.BATCH)
            wait_for(lambda n=number: len(seen(redis_client)) == n, "it is done")  # type: ignore[misc]
        took_s = hear(channels, told, 5) - began
    assert len(told) <= took_s / TOLD_EVERY_S + 2
    kinds = [event["type"] for events in told for event in events]
    assert Counter(kinds) == dict.fromkeys(("task-received", "task-started", "task-succeeded"), 5)


def hear(channels: Any, told: list[list[dict[str, Any]]], tasks: int) -> float:
    """Hear what workers tell until so many tasks are done; the moment of the last word."""

    def is_told() -> bool:
        message = channels.get_message(timeout=0.1)
        if message is not None and message["type"] == "pmessage":
            body = json.loads(message["data"])["body"]
            told.append(json.loads(base64.b64decode(body)))
        done = [event for events in told for event in events if event["type"] == "task-succeeded"]
        return len(done) == tasks

    wait_for(is_told, "the worker has told of them")
    return time.monotonic()


def test_a_full_lane_does_not_keep_another_waiting(
    publisher: Publisher,
    redis_client: redis.Redis,
    redis_url: str,
    start_worker: Callable[..., ChildProcess],
) -> None:
    big, small = (
        "acme",
        next(
            f"p{n}"
            for n in range(100)
            if lane_queue(f"p{n}", Priority.BATCH) != lane_queue("acme", Priority.BATCH)
        ),
    )
    publisher.publish([chunk(f"{n}") for n in range(1, 51)], big, Priority.BATCH)
    publisher.publish([chunk("1000"), chunk("1001")], small, Priority.BATCH)
    start_worker(redis_url, BATCH_QUEUES)
    wait_for(lambda: len(seen(redis_client)) == 52, "all chunks")
    assert max(seen(redis_client).index("1000"), seen(redis_client).index("1001")) <= 8


def test_interactive_work_passes_a_full_batch_worker(
    publisher: Publisher,
    redis_client: redis.Redis,
    redis_url: str,
    start_worker: Callable[..., ChildProcess],
) -> None:
    redis_client.set(GATE, "batch_1")
    publisher.publish([chunk(f"{n}") for n in range(1, 5)], "acme", Priority.BATCH)
    start_worker(redis_url, BATCH_QUEUES)
    wait_for(lambda: sum(publisher.depths().values()) < 4, "the batch worker is full")
    publisher.publish([chunk("99", number=2)], "acme", Priority.INTERACTIVE)
    start_worker(redis_url, (INTERACTIVE_QUEUE,))
    wait_for(lambda: "99" in seen(redis_client), "the interactive chunk")
    assert seen(redis_client) == ["99"]


def send_again_until_seen(publisher: Publisher, client: "redis.Redis", lines: str) -> None:
    """As the stager does: a message may be lost with a connection that dies around its delivery."""
    sent: list[float] = []

    def arrived() -> bool:
        if not sent or time.monotonic() - sent[-1] > 5:
            publisher.publish([chunk(lines)], "acme", Priority.BATCH)
            sent.append(time.monotonic())
        return lines in seen(client)

    wait_for(arrived, "a chunk after the restart")


def test_a_channel_whose_broker_died_fails_as_a_lost_connection_does() -> None:
    """What Celery does with a chunk in work: collect, close, and later acknowledge."""
    server = ValkeyServer()
    try:
        server.start()
        app = make_celery_app(Settings(_env_file=None, redis_url=server.url))
        Publisher(app).publish([chunk("1")], "acme", Priority.BATCH)
        connection = app.connection_for_read()
        message = taken(connection, lane_queue("acme", Priority.BATCH))
        server.kill()
        with contextlib.suppress(*connection.connection_errors):
            connection.collect(socket_timeout=0.3)
        ignore_errors(connection, connection.close)
        message.ack_log_error(logging.getLogger(__name__), connection.connection_errors)
        app.close()
    finally:
        server.remove()


def taken(connection: Any, queue: str) -> Any:
    """A message that was delivered and not acknowledged, while two channels wait for more."""
    messages: list[Any] = []
    connection.Consumer([Queue(queue)], on_message=messages.append).consume()
    while not messages:
        connection.drain_events(timeout=20)
    connection.Consumer([Queue("another")], channel=connection.channel()).consume()
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=0.01)
    return messages[0]


def test_a_worker_consumes_again_after_the_broker_died_and_came_back(
    start_worker: Callable[..., ChildProcess],
) -> None:
    server = ValkeyServer(sync="always")
    try:
        server.start()
        app = make_celery_app(Settings(_env_file=None, redis_url=server.url))
        publisher = Publisher(app)
        worker = start_worker(server.url, BATCH_QUEUES, 2)
        with redis.Redis.from_url(server.url) as client:
            publisher.publish([chunk("1")], "acme", Priority.BATCH)
            wait_for(lambda: seen(client) == ["1"], "the first chunk")
            for round_ in (2, 3):
                server.kill()
                server.start()
                send_again_until_seen(publisher, client, str(round_))
                assert worker.is_alive, worker.log_tail()
        app.close()
    finally:
        server.remove()


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_message_that_could_carry_code_is_not_even_read(
    redis_client: "redis.Redis",
    redis_url: str,
    settings: Settings,
    start_worker: Callable[..., ChildProcess],
    publisher: Publisher,
    tmp_path: Path,
) -> None:
    sprung = tmp_path / "sprung"
    attacker = make_celery_app(settings)
    attacker.conf.accept_content = ["json", "pickle"]
    queue = lane_queue("acme", Priority.BATCH)
    attacker.send_task(RUN_CHUNK, kwargs={"batch": _Trap(sprung)}, queue=queue, serializer="pickle")
    attacker.close()
    publisher.publish([chunk("1-2")], "acme", Priority.BATCH)
    start_worker(redis_url, BATCH_QUEUES)
    wait_for(lambda: redis_client.llen(SEEN) == 1, "the harmless message after it is taken")
    assert not sprung.exists()
    assert publisher.depths()[queue] == 0, "the other one is gone, not tried for ever"
