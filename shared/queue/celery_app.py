"""The only Celery configuration: the queue and nothing more.

No result backend, no Celery retries, no countdowns: the database remembers, delays live in the
job's row, and what a dead worker held is rescued by its lease.
"""

import os
from pathlib import Path
from typing import Any

from celery import Celery, signals
from kombu.entity import Exchange, Queue

from shared.queue import redis_transport
from shared.queue.lanes import ALL_QUEUES, BATCH_QUEUES
from shared.settings import Settings

RUN_CHUNK = "promptmill.run_chunk"
"""The name of the one task that runs jobs."""

KEY_PREFIX = "promptmill:"
"""Before every key of the queue in Redis, which other programs may share."""

_VISIBILITY_TIMEOUT_S = 6 * 3600
_HEALTH_CHECK_S = 5
_SOCKET_TIMEOUT_S = 20


def make_celery_app(settings: Settings) -> Celery:
    """A configured app without tasks; connects to nothing yet."""
    redis_transport.use_for_redis_urls()
    app = Celery("promptmill", broker=settings.resolved_broker_url, set_as_current=True)
    app.conf.update(_MESSAGES | _WORKERS | _CONNECTIONS | _EVENTS)
    app.conf.broker_transport_options = _transport_options(settings.resolved_broker_url)
    app.conf.worker_concurrency = settings.worker_threads
    signals.setup_logging.connect(_leave_logging_alone, weak=False)
    signals.worker_ready.connect(_announce_ready, weak=False)
    return app


_EXCHANGE = Exchange("promptmill", type="direct", durable=True)

_MESSAGES: dict[str, Any] = {
    # JSON only: a message can then never carry code, whoever reaches the broker.
    "accept_content": ["json"],
    "task_serializer": "json",
    "event_serializer": "json",
    # Results are rows in the database; a result backend would double every write.
    "result_backend": None,
    "task_ignore_result": True,
    "task_queues": [Queue(name, _EXCHANGE, routing_key=name) for name in ALL_QUEUES],
    "task_default_exchange": _EXCHANGE.name,
    # A message without a queue is a mistake of ours; it lands where batches are.
    "task_default_queue": BATCH_QUEUES[0],
    "task_default_routing_key": BATCH_QUEUES[0],
    # A mistyped queue name fails at once instead of filling a queue nobody reads.
    "task_create_missing_queues": False,
    # On RabbitMQ the queue outlives its restart; the database would refill it, only later.
    "task_default_delivery_mode": "persistent",
    # Publishing gives up within seconds: the stager finds what was not queued and tries again.
    "task_publish_retry": True,
    "task_publish_retry_policy": {
        "max_retries": 2,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
    },
}

_WORKERS: dict[str, Any] = {
    # A chunk is acknowledged when its jobs are durable; delivered twice, the second run finds
    # them claimed or done.
    "task_acks_late": True,
    # A chunk that raised would raise again: the lease rescues its jobs, the queue does not.
    "task_acks_on_failure_or_timeout": True,
    "task_reject_on_worker_lost": False,
    # A waiting chunk belongs to whichever worker is free first, not to the one that is full.
    "worker_prefetch_multiplier": 1,
    # The work is done by one loop a process; a task only waits for it, and a thread waits cheaply.
    "worker_pool": "threads",
    # After a reconnect Celery would lower the prefetch count by the chunks still running and raise
    # it again as they end; when that goes wrong, the worker lives and consumes nothing.
    "worker_enable_prefetch_count_reduction": False,
    # Threads cannot be cancelled, and need not be: a second delivery changes nothing.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # The loop may keep the interpreter busy for a moment at the start of a large process.
    "worker_proc_alive_timeout": 30.0,
    # Our own logging speaks JSON and redacts; Celery's would print tracebacks past it.
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_disable_rate_limits": True,
}

_CONNECTIONS: dict[str, Any] = {
    # A broker that is down is waited for, however long: workers need no hand after an outage.
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # Also where the server answers, but with an error (loading its data, a replica, full).
    "broker_channel_error_retry": True,
    "broker_connection_timeout": 4.0,
    "broker_heartbeat": 20,
    # Publishing threads each hold one while they publish; more would only wait for the server.
    "broker_pool_limit": 10,
}

_EVENTS: dict[str, Any] = {
    # Flower lives on events; measured, they cost nothing that could be seen at a chunk a task.
    "worker_send_task_events": True,
    "task_send_sent_event": True,
    # Events nobody reads (no Flower running) must not pile up in the broker.
    "event_queue_ttl": 5.0,
    "event_queue_expires": 60.0,
    # Flower asks workers for their queues and tasks by remote control.
    "worker_enable_remote_control": True,
    "control_queue_expires": 60.0,
    "control_queue_ttl": 60.0,
}


def _transport_options(broker_url: str) -> dict[str, Any]:
    if not broker_url.startswith(("redis", "rediss", "sentinel")):
        # RabbitMQ: a publish counts only when the broker has taken it over.
        return {"confirm_publish": True}
    return {
        "global_keyprefix": KEY_PREFIX,
        # One list a queue: priorities are queues here, and depths are one LLEN each.
        "priority_steps": [0],
        # Lanes are served in turn, so a full one does not keep the others waiting.
        "queue_order_strategy": "round_robin",
        # Returning unacknowledged messages is not how we rescue (leases are); it only clears up,
        # so it must come later than any chunk lasts, and looks seldom.
        "visibility_timeout": _VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 60,
        "unacked_restore_throttle": 1,
        # A consumer on a half-open connection notices within about two of these and reconnects;
        # without it, a worker stays alive and consumes nothing after the broker went away.
        "health_check_interval": _HEALTH_CHECK_S,
        "socket_keepalive": True,
        "socket_connect_timeout": 4.0,
        # Longer than the blocking pop's second and its check: a dead broker ends any command.
        "socket_timeout": _SOCKET_TIMEOUT_S,
        "retry_on_timeout": False,
    }


def _leave_logging_alone(**_: object) -> None:
    """Connected to `setup_logging`, which keeps Celery from configuring any logger."""


def _announce_ready(**_: object) -> None:
    """A worker consumes now: whoever started it may be told by a file."""
    if name := os.environ.get("PROMPTMILL_READY_FILE"):
        Path(name).touch()
