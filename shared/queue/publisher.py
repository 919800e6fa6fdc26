"""Puts chunks into their lanes, and counts what waits there; the same on Redis and RabbitMQ."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.domain.batch import Priority
from shared.errors import UnavailableError
from shared.queue.celery_app import RUN_CHUNK
from shared.queue.lanes import ALL_QUEUES, lane_queue
from shared.queue.messages import IS_FIRST, QUEUED_AT, ChunkMessage
from shared.tracing import TRACEPARENT, current_traceparent

_POOL_WAIT_S = 5.0


class Publisher:
    """Publishes messages; thread-safe. A message may arrive twice or, after a broker's loss, not
    at all: the stager queues again what the database still holds as waiting.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(
        self,
        messages: Sequence[ChunkMessage],
        project_id: str,
        priority: Priority,
        traceparent: str | None = None,
        *,
        is_first: bool = False,
    ) -> None:
        """Queue a project's chunks in order. traceparent: the trace they belong to; None: that of
        the caller, if any. is_first: nothing was sent for these jobs before, and somebody waits for
        them. Messages carry both as headers beside the time.

        Raises UnavailableError when the broker does not take one within a few seconds; those
        before it are queued.
        """
        queue = lane_queue(project_id, priority)
        headers: dict[str, Any] = {QUEUED_AT: time.time_ns()}
        if (carried := traceparent or current_traceparent()) is not None:
            headers[TRACEPARENT] = carried
        if is_first:
            headers[IS_FIRST] = True
        with (
            _mapped_errors(),
            self._app.producer_pool.acquire(block=True, timeout=_POOL_WAIT_S) as producer,
        ):
            for message in messages:
                self._app.send_task(
                    RUN_CHUNK,
                    kwargs=message.as_kwargs(),
                    queue=queue,
                    producer=producer,
                    headers=headers,
                )

    def depths(self) -> dict[str, int]:
        """Messages waiting in each queue, not counting those a worker holds.

        Raises UnavailableError when the broker does not answer.
        """
        with _mapped_errors(), self._app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1)
            channel = connection.channel()
            return {queue: _depth(channel, queue) for queue in ALL_QUEUES}


def _depth(channel: Any, queue: str) -> int:
    # Declared as the workers declare it, which is harmless where it is there already. Asking
    # passively would be wrong on Redis: kombu forgets its key prefix when it looks for a queue.
    declared = channel.queue_declare(
        queue=queue, durable=True, exclusive=False, auto_delete=False, passive=False
    )
    return int(declared.message_count)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, RedisError, OSError) as error:
        raise UnavailableError(f"the broker does not answer: {type(error).__name__}") from error
