"""What Celery runs: ten lines a task; the work is in the rooms they call."""

from typing import Any

from celery import Celery
from celery.exceptions import Reject

from shared.chunking import parse_ranges
from shared.domain.job import job_id_of
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.queue.celery_app import RUN_CHUNK
from shared.queue.messages import IS_FIRST, ChunkMessage
from shared.telemetry import bound, get_logger
from shared.tracing import Tracing
from worker.chunk_runner import ChunkRunner
from worker.deafness import Consumption
from worker.figures import WorkerFigures
from worker.tracing import carried

log = get_logger(__name__)

# The largest chunk that settings allow.
_MAX_LINES = 1000


class RunnerHolder:
    """Where the tasks find the process's chunk runner once it has been built, and where they note
    that they came.
    """

    def __init__(self, threads: int) -> None:
        self.consumption = Consumption(threads)
        self.runner: ChunkRunner | None = None
        self.tracing: Tracing | None = None
        self.figures = WorkerFigures()


def is_first(request: Any) -> bool:
    """Whether no worker can have begun these jobs: what is delivered again may have killed one."""
    is_again = (request.delivery_info or {}).get("redelivered")
    return (request.headers or {}).get(IS_FIRST) is True and not is_again


def register(app: Celery, holder: RunnerHolder) -> None:
    """Give the app its tasks."""

    @app.task(name=RUN_CHUNK, bind=True)  # type: ignore[untyped-decorator]
    def run_chunk(task: Any, **message: Any) -> None:
        """Answer the jobs of one chunk; what others have taken is left to them."""
        chunk = ChunkMessage.parse(message)
        runner = holder.runner
        if runner is None or runner.stopping:
            # Back to the broker: a worker that is leaving takes nothing new.
            raise Reject("the worker is stopping", requeue=True)
        lines = parse_ranges(chunk.lines, limit=_MAX_LINES)
        try:
            with holder.consumption.chunk(), bound(batch=chunk.batch):
                ids = [job_id_of(chunk.batch_number, line) for line in lines]
                done = runner.run(
                    ids,
                    carried(task.request.headers, holder.tracing, holder.figures),
                    is_first=is_first(task.request),
                )
                log.info("chunk_done", lines=chunk.lines, jobs=done)
        except UnavailableError as error:
            # The jobs are still queued in the database; the stager sends them again.
            raise Reject(error.message, requeue=False) from error
        reach(FaultPoint.BEFORE_ACK)
