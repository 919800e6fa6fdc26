"""Whoever lets a large batch run calls the stager, which hears it, also after an outage."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from producer.accounts.access import ensure_default_project
from producer.bootstrap import ProducerContext, build
from producer.options import Options
from shared.clock import utc_now
from shared.queue import bell
from shared.redis_client import connect
from shared.settings import Settings
from tests.servers.valkey import ValkeyServer

PATIENCE_S = 30.0


@contextmanager
def listening(settings: Settings) -> Iterator[threading.Semaphore]:
    """Counts what is heard; the first is that the listener is there."""
    heard, stopped = threading.Semaphore(0), threading.Event()
    with connect(settings) as client:
        listener = threading.Thread(target=bell.listen, args=(client, heard.release, stopped))
        listener.start()
        try:
            assert heard.acquire(timeout=PATIENCE_S)
            yield heard
        finally:
            stopped.set()
            bell.ring(client)  # its last wait ends at once
            listener.join(PATIENCE_S)


@pytest.fixture
def context(settings: Settings) -> Iterator[ProducerContext]:
    context = build(settings.model_copy(update={"chunk_size": 10}))
    ensure_default_project(context.database, utc_now())
    yield context
    context.close()


def submit(context: ProducerContext, lines: int) -> None:
    with context.spool() as spool:
        for number in range(lines):
            spool.write(b'{"prompt":"What is %d plus one?"}\n' % number)
        context.submission.submit(spool, Options("default"))


def test_a_batch_too_large_to_be_queued_at_once_rings_and_a_small_one_need_not(
    context: ProducerContext, settings: Settings
) -> None:
    with listening(settings) as heard:
        submit(context, 10)
        submit(context, 11)
        assert heard.acquire(timeout=PATIENCE_S)
        assert not heard.acquire(blocking=False)


def test_after_an_outage_the_listener_looks_once_and_hears_again() -> None:
    server = ValkeyServer()
    try:
        server.start()
        settings = Settings(_env_file=None, redis_url=server.url)
        with listening(settings) as heard:
            server.kill()
            with connect(settings) as client:
                bell.ring(client)
                server.start()
                assert heard.acquire(timeout=PATIENCE_S)
                bell.ring(client)
                assert heard.acquire(timeout=PATIENCE_S)
    finally:
        server.remove()


def test_ringing_where_no_server_is_never_fails() -> None:
    with connect(Settings(_env_file=None, redis_url="redis://127.0.0.1:1/0")) as client:
        bell.ring(client)
