"""The Celery application of the workers: `celery -A worker.app worker`.

Everything a process needs is built when its worker starts and let go when it stops; importing this
module connects to nothing, so Flower can import it too.
"""

from typing import Any

import structlog
from celery import signals

from shared.queue.celery_app import make_celery_app
from shared.settings import Settings
from shared.telemetry import configure_logging
from worker import bootstrap
from worker.tasks import RunnerHolder, register

log = structlog.get_logger(__name__)

settings = Settings()
app = make_celery_app(settings)
holder = RunnerHolder()
register(app, holder)
_running: list[bootstrap.WorkerProcess] = []


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: Any) -> None:
    configure_logging(
        level=settings.log_level, as_json=settings.log_json, log_prompts=settings.log_prompts
    )


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _start(sender: str, **_: Any) -> None:
    process = bootstrap.build(settings, node=str(sender))
    _running.append(process)
    holder.runner = process.runner


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_beginning(**_: Any) -> None:
    for process in _running:
        process.runner.stop()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    while _running:
        _running.pop().close()
