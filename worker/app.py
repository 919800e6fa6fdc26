"""The Celery application of the workers: `celery -A worker.app worker`.

Everything a process needs is built when its worker starts and let go when it stops; importing this
module connects to nothing, so Flower can import it too.
"""

import os
from typing import Any

import structlog
from celery import signals

from shared import interpreter
from shared.queue.celery_app import make_celery_app
from shared.queue.lanes import INTERACTIVE_QUEUE
from shared.queue.publisher import Publisher
from shared.settings import Settings
from shared.telemetry import configure_logging
from worker import bootstrap
from worker.deafness import Consumption, DeafnessWatch
from worker.giving_way import give_way
from worker.tasks import RunnerHolder, register

log = structlog.get_logger(__name__)

REPLACE_ME = 69
"""The exit code of a worker that consumes nothing (EX_UNAVAILABLE of sysexits)."""

settings = Settings()
app = make_celery_app(settings)
app.conf.worker_consumer = "worker.consumer:CalmConsumer"
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
    interpreter.share_one_heap()
    queues = tuple(app.amqp.queues.consume_from)
    for_batches = INTERACTIVE_QUEUE not in queues
    is_sqlite = settings.resolved_database_url.startswith("sqlite")
    if for_batches and not is_sqlite:
        give_way(settings.batch_niceness)  # before any thread is made: each has its own
    process = bootstrap.build(settings, node=str(sender), for_batches=for_batches)
    _running.append(process)
    holder.runner = process.runner
    holder.tracing, holder.figures = process.tracing, process.figures
    holder.consumption = Consumption(instance.concurrency)
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
    turn_s = interpreter.SHORT_TURN_S if is_sqlite else interpreter.TURN_S
    interpreter.prepare(interpreter.IN_A_WORKER, turn_s)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _listen_to_oneself(**_: Any) -> None:
    for watch in _watches:
        watch.start()


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
