"""The Celery application of the workers: `celery -A worker.app worker`.

Everything a process needs is built when its worker starts and let go when it stops; importing this
module connects to nothing, so Flower can import it too.
"""

import gc
import os
import sys
from typing import Any

import structlog
from celery import signals

from shared.queue.celery_app import make_celery_app
from shared.queue.publisher import Publisher
from shared.settings import Settings
from shared.telemetry import configure_logging
from worker import bootstrap
from worker.deafness import Consumption, DeafnessWatch
from worker.tasks import RunnerHolder, register

log = structlog.get_logger(__name__)

REPLACE_ME = 69
"""The exit code of a worker that consumes nothing (EX_UNAVAILABLE of sysexits)."""

_YOUNG_OBJECTS = 20_000
"""Made before the collector looks: a job leaves hardly a cycle behind, and looking after every 700
objects, as Python does by itself, cost a fifth of a worker's time."""

_TURN_S = 0.0005
"""How long a thread may keep the interpreter from another: at Python's 5 ms a commit waits for the
busy loop at each of its statements (measured in docs/performance.md)."""

settings = Settings()
app = make_celery_app(settings)
holder = RunnerHolder(settings.worker_threads)
register(app, holder)
_running: list[bootstrap.WorkerProcess] = []
_watches: list[DeafnessWatch] = []


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: Any) -> None:
    configure_logging(
        level=settings.log_level, as_json=settings.log_json, log_prompts=settings.log_prompts
    )


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _start(sender: str, instance: Any, **_: Any) -> None:
    process = bootstrap.build(settings, node=str(sender))
    _running.append(process)
    holder.runner = process.runner
    holder.consumption = Consumption(instance.concurrency)
    queues = tuple(app.amqp.queues.consume_from)
    publisher = Publisher(app)

    def waiting() -> int:
        depths = publisher.depths()
        return sum(depths.get(queue, 0) for queue in queues)

    _watches.append(
        DeafnessWatch(
            holder.consumption,
            waiting,
            _end_to_be_replaced,
        )
    )
    _collect_seldom()
    sys.setswitchinterval(_TURN_S)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _listen_to_oneself(**_: Any) -> None:
    for watch in _watches:
        watch.start()


def _collect_seldom() -> None:
    """What was made for the start stays for ever: the collector need not go through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_beginning(**_: Any) -> None:
    for watch in _watches:
        watch.stop()
    for process in _running:
        process.begin_to_stop()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    while _running:
        _running.pop().close()


def _end_to_be_replaced() -> None:
    """Celery's own way out leads through the consumer that does not react: this one does not."""
    try:
        while _running:
            process = _running.pop()
            process.begin_to_stop()
            process.runner.wait_until_idle(settings.grace_s)
            process.close()
    finally:
        os._exit(REPLACE_ME)
