"""`python -m worker.maintenance [--once]`: the process that repairs, if it leads.

Any number may be started; one leads, the others stand by. SIGTERM and SIGINT end it within seconds
with exit code 0 and give the leadership up. `--once` runs every repairer once and ends; it exits 1
where another process leads. It takes silence for death at once: not for the moment after an outage.
"""

import argparse
import asyncio
import gc
import os
import queue
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from shared.budget.ledger import Ledger
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import workers
from shared.db.repositories.errands import Errand, errands
from shared.errors import PromptmillError, UnavailableError
from shared.interpreter import share_one_heap
from shared.queue import bell
from shared.queue.celery_app import make_celery_app
from shared.queue.publisher import Publisher
from shared.redis_client import connect
from shared.settings import Settings
from shared.tallies import Posting, keep_posted
from shared.telemetry import configure_logging
from shared.tracing import Tracing, begin_tracing
from worker.alerting.channels import channels_of
from worker.figures import MaintenanceFigures, serve_own
from worker.maintenance.alerter import Alerter
from worker.maintenance.answer_sharer import AnswerSharer
from worker.maintenance.batch_closer import BatchCloser
from worker.maintenance.budget_allotter import BudgetAllotter
from worker.maintenance.budget_announcer import BudgetAnnouncer
from worker.maintenance.cost_learner import CostLearner
from worker.maintenance.feedback_learner import FeedbackLearner
from worker.maintenance.hold_releaser import HoldReleaser
from worker.maintenance.job_rescuer import JobRescuer
from worker.maintenance.job_stager import PROJECT_WINDOW, JobStager
from worker.maintenance.leadership import RENEW_EVERY_S, Leadership
from worker.maintenance.ledger_reconciler import LedgerReconciler
from worker.maintenance.outbox_relay import OutboxRelay
from worker.maintenance.outcome_summer import OutcomeSummer
from worker.maintenance.pilot_judge import PilotJudge
from worker.maintenance.pruner import Pruner
from worker.maintenance.rounds import Round, Rounds
from worker.maintenance.uptime import Uptime
from worker.webhooks.dispatcher import Dispatcher
from worker.webhooks.sender import Sender
from worker.work_marks import LeftMarks

log = structlog.get_logger(__name__)

_POOL_SIZE = 16
_OPEN: Final = frozenset({Errand.OPEN_BATCHES})
_EVENTS: Final = frozenset({Errand.EVENTS})
_PLANS: Final = frozenset({Errand.PLANS})
_FEEDBACK: Final = frozenset({Errand.FEEDBACK})
_ENDED: Final = frozenset({Errand.ENDED_BATCHES})
_SPENDING: Final = _OPEN | _ENDED
"""A chat may begin and end between two looks; it waits to be summed up all the same."""

_STOP_WITHIN_S = 3.0


def rounds_of(
    settings: Settings,
    database: Database,
    *,
    uptime: Uptime | None = None,
    relayed: Callable[[], None] | None = None,
    tracing: Tracing | None = None,
) -> list[Round]:
    """Every repairer with its periods in seconds: idle, and while it finds something. uptime: of
    the database; None: nobody watches, and there was no outage. relayed: called when there are new
    deliveries.
    """
    client = connect(settings)
    ledger = Ledger(client)
    publisher = Publisher(make_celery_app(settings))
    days = settings.retention_days
    stager = JobStager(database, publisher, chunk_size=settings.chunk_size)
    rescuer = JobRescuer(
        database,
        ledger,
        LeftMarks(client),
        max_deaths=settings.max_deaths,
        uptime=uptime,
        lease_s=settings.lease_s,
    )
    reconciler = LedgerReconciler(database, ledger, retention_days=days)
    half_a_window = PROJECT_WINDOW * settings.chunk_size // 2
    pruner = Pruner(database, retention_days=days, spool=settings.home_dir / "spool")
    return [
        Round("job_rescuer", rescuer, 2.0, 0.5, rests=False, errands=_OPEN),
        Round("answer_sharer", AnswerSharer(database), 5.0, 0.2, errands=_OPEN),
        Round("batch_closer", BatchCloser(database, uptime=uptime), 2.0, 0.5, errands=_OPEN),
        Round("hold_releaser", HoldReleaser(database, ledger), 1.0, 1.0, errands=_OPEN),
        Round(
            "job_stager", stager, 1.0, 0.2, rests=False, hurries_from=half_a_window, errands=_OPEN
        ),
        Round(
            "budget_announcer", BudgetAnnouncer(database), 2.0, 2.0, errands=_SPENDING, quiet_s=10.0
        ),
        Round(
            "outbox_relay",
            OutboxRelay(database, tracing),
            1.0,
            0.1,
            rests=False,
            found=relayed,
            errands=_EVENTS,
        ),
        Round("budget_allotter", BudgetAllotter(database), 1.0, 0.5, errands=_OPEN),
        Round("pilot_judge", PilotJudge(database), 1.0, 0.5, errands=_OPEN),
        Round("cost_learner", CostLearner(database), 5.0, 1.0, errands=_PLANS),
        Round("feedback_learner", FeedbackLearner(database), 5.0, 1.0, errands=_FEEDBACK),
        Round("outcome_summer", OutcomeSummer(database), 5.0, 1.0, errands=_ENDED),
        Round("alerter", Alerter(database, client, publisher, channels_of(settings)), 5.0, 5.0),
        Round("ledger_reconciler", reconciler, 30.0, 30.0),
        Round("pruner", pruner, 3600.0, 3600.0),
    ]


class Maintenance:
    """The process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.resolved_database_url, pool_size=_POOL_SIZE)
        self._id = f"maintenance@{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._leadership = Leadership(self._database, self._id[-64:])
        lease = timedelta(seconds=settings.lease_s)
        self._uptime = Uptime(longest_gap=lease / 2)
        self._seek_every_s = min(RENEW_EVERY_S, settings.lease_s / 5)
        self._stopped = threading.Event()
        # A queue, since an Event may not be set by a signal handler while it is waited for.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._started_at = utc_now()
        self._figures = MaintenanceFigures()
        self._tracing = begin_tracing(
            "promptmill-maintenance",
            job_share=settings.trace_jobs,
            sent_to=settings.trace_sent_to,
        )
        self._dispatching: tuple[asyncio.AbstractEventLoop, Dispatcher] | None = None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End soon; safe in a signal handler."""
        self._signals.put(number)

    def run(self) -> int:
        """Lead or stand by until stopped."""
        everyone = rounds_of(
            self._settings,
            self._database,
            uptime=self._uptime,
            relayed=self._call_dispatcher,
            tracing=self._tracing,
        )
        figures = self._figures
        rounds = Rounds(everyone, lambda: self._leadership.leads, figures, look_out=self._errands)
        served = serve_own(self._settings.metrics_port, figures.tallies)
        deliveries = threading.Thread(target=self._deliver, name="dispatcher", daemon=True)
        bell_rope = (connect(self._settings), lambda: rounds.call("job_stager"), self._stopped)
        threading.Thread(target=bell.listen, args=bell_rope, name="bell", daemon=True).start()
        self._seek()
        gc.freeze()  # or the collector goes through all this for a tenth of a second, locks in hand
        rounds.start()
        deliveries.start()
        while not self._told_to_stop(self._seek_every_s):
            self._seek()
        self._stopped.set()
        rounds.stop(_STOP_WITHIN_S)
        deliveries.join(_STOP_WITHIN_S)
        self._leadership.resign()
        self._database.close()
        if self._tracing is not None:
            self._tracing.close()
        if served is not None:
            served.shutdown()
            served.server_close()
        return 0

    def once(self) -> int:
        """Every repairer once, in the order in which they feed each other."""
        if not self._leadership.seek(utc_now()):
            sys.stderr.write("another process leads the maintenance\n")
            return 1
        try:
            for round_ in rounds_of(self._settings, self._database):
                repaired = round_.repairer.run_once(utc_now())
                sys.stdout.write(f"{round_.name}: {repaired}\n")
            sys.stdout.write(f"dispatcher: {asyncio.run(self._deliver_once(utc_now()))}\n")
        finally:
            self._leadership.resign()
            self._database.close()
        return 0

    def _errands(self) -> frozenset[Errand]:
        with self._database.reading() as connection:
            return errands(connection)

    def _told_to_stop(self, within_s: float) -> bool:
        try:
            self._signals.get(timeout=within_s)
        except queue.Empty:
            return False
        return True

    def _seek(self) -> None:
        """Whoever leads: all must know of an outage, for each may be the next to lead."""
        self._leadership.seek(utc_now())
        self._beat(utc_now())

    def _beat(self, now: datetime) -> None:
        try:
            with self._database.transaction() as connection:
                workers.beat(connection, self._id, "maintenance", self._started_at, now, 0)
            self._uptime.answered(utc_now())
        except UnavailableError as error:
            log.warning("no heartbeat", reason=error.message)

    def _deliver(self) -> None:
        """The dispatcher's thread, with a loop of its own."""
        asyncio.run(self._deliver_while_leading())

    async def _deliver_while_leading(self) -> None:
        sender = Sender(self._settings.webhook_allowed_cidrs)
        dispatcher = Dispatcher(
            self._database, sender, figures=self._figures, tracing=self._tracing
        )
        posting = Posting(self._settings.metrics_dir, self._figures.tallies)
        posted = asyncio.create_task(keep_posted(posting, self._figures.lag))
        self._dispatching = asyncio.get_running_loop(), dispatcher
        while not self._stopped.is_set():
            if self._leadership.leads:
                await dispatcher.run(self._may_not_deliver)
            await asyncio.sleep(0.5)
        posted.cancel()
        posting.close()
        await sender.aclose()

    def _call_dispatcher(self) -> None:
        if self._dispatching is not None:
            loop, dispatcher = self._dispatching
            with suppress(RuntimeError):  # its loop ends before the relay's last look
                loop.call_soon_threadsafe(dispatcher.call)

    def _may_not_deliver(self) -> bool:
        return self._stopped.is_set() or not self._leadership.leads

    async def _deliver_once(self, now: datetime) -> int:
        sender = Sender(self._settings.webhook_allowed_cidrs)
        try:
            return await Dispatcher(self._database, sender).run_once(now)
        finally:
            await sender.aclose()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m worker.maintenance")
    parser.add_argument("--once", action="store_true", help="repair what there is now, and end")
    wanted = parser.parse_args()
    share_one_heap()
    settings = Settings()
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    try:
        maintenance = Maintenance(settings)
        if wanted.once:
            return maintenance.once()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda caught, _: maintenance.stop(caught))
        return maintenance.run()
    except PromptmillError as error:
        sys.stderr.write(f"promptmill: {error.message}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
