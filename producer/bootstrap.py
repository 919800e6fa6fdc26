"""The composition root of a producer process: everything is made here, once, and wired together.

Nothing connects at import, and neither does `build`: a database or a Redis that is down shows in
the first call that needs it, as UnavailableError.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis

from producer.accounts.access import Access
from producer.accounts.key_limits import KeyLimits
from producer.accounts.outcomes import Outcomes
from producer.accounts.purse import Budget
from producer.accounts.routing import Routing
from producer.accounts.templates import TemplateShelf
from producer.cancellation import Steering
from producer.chat import Conversations
from producer.early_upload import EarlyUploads
from producer.file_batches import FileBatches
from producer.file_intake import FileIntake
from producer.files import Files
from producer.filling import Filler
from producer.intake import IntakeLimits
from producer.local.admin_key import admin_key
from producer.planning.forecaster import Forecaster
from producer.reporting.results import ResultReader
from producer.spool import Spool
from producer.storage import Storage
from producer.submission import Submission
from producer.watching.gauges import Gauges
from producer.watching.overview import Overview
from producer.watching.process_figures import ProcessFigures
from shared.budget.ledger import Ledger
from shared.catalog.loader import load_catalog
from shared.catalog.spec import Catalog
from shared.clock import utc_now
from shared.db.engine import Database
from shared.deciding.classification.plugged import Classifiers
from shared.queue import bell
from shared.queue.celery_app import make_celery_app
from shared.queue.publisher import Publisher
from shared.redis_client import connect
from shared.settings import Settings
from shared.tracing import Tracing, begin_tracing

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class ProducerContext:
    """What a producer process is made of, and the verbs made of that."""

    settings: Settings
    database: Database
    catalog: Catalog
    classifiers: Classifiers
    forecaster: Forecaster
    ledger: Ledger
    redis: "redis.Redis"
    publisher: Publisher
    clock: Clock
    access: Access
    templates: TemplateShelf
    submission: Submission
    early_uploads: EarlyUploads
    steering: Steering
    results: ResultReader
    outcomes: Outcomes
    routing: Routing
    budget: Budget
    conversations: Conversations
    files: Files
    file_batches: FileBatches
    file_intake: FileIntake
    gauges: Gauges
    overview: Overview
    tracing: Tracing | None

    def spool(self) -> Spool:
        """A new file to take an upload in."""
        return Spool(
            self.settings.home_dir / "spool",
            max_bytes=self.settings.max_upload_bytes,
            max_lines=self.settings.max_batch_lines,
        )

    @property
    def intake_limits(self) -> IntakeLimits:
        """What a line may be."""
        return IntakeLimits(self.settings.max_line_bytes)

    def close(self) -> None:
        """Give all connections back."""
        self.redis.close()
        self.database.close()
        if self.tracing is not None:
            self.tracing.close()


def build(settings: Settings, *, clock: Clock = utc_now) -> ProducerContext:
    """Wire a process. Raises ConfigurationError for settings or a catalog that cannot work."""
    catalog = load_catalog(settings.catalog, os.environ, simulator_url=settings.simulator_url)
    database = Database(settings.resolved_database_url)
    client = connect(settings)
    ledger = Ledger(client)
    publisher = Publisher(make_celery_app(settings))
    classifiers = Classifiers(settings.classifiers, settings.difficulties)
    forecaster = Forecaster(
        database,
        catalog,
        classifiers,
        max_in_flight=settings.max_in_flight,
        pilot_from_lines=settings.pilot_from_lines,
        clock=clock,
    )
    filler = Filler(
        database,
        publisher,
        forecaster,
        chunk_size=settings.chunk_size,
        clock=clock,
        ring=lambda: bell.ring(client),
    )
    limits = IntakeLimits(settings.max_line_bytes)
    key_limits = KeyLimits(
        database,
        ledger,
        client,
        default_max_tokens=catalog.routing.default_max_tokens,
        clock=clock,
    )
    templates = TemplateShelf(database, catalog, clock=clock)
    submission = Submission(
        database,
        catalog,
        filler,
        templates,
        key_limits,
        limits=limits,
        webhook_allowed_cidrs=settings.webhook_allowed_cidrs,
        starts_after_lines=settings.intake_starts_after_lines,
        clock=clock,
    )
    results = ResultReader(database)
    steering = Steering(database, ledger, clock=clock)
    posted = ProcessFigures(settings.metrics_dir)
    storage = Storage(settings.resolved_files_url)
    tracing = begin_tracing(
        "promptmill-api", job_share=settings.trace_jobs, sent_to=settings.trace_sent_to
    )
    return ProducerContext(
        settings=settings,
        database=database,
        catalog=catalog,
        classifiers=classifiers,
        forecaster=forecaster,
        ledger=ledger,
        redis=client,
        publisher=publisher,
        clock=clock,
        access=Access(database, client, admin_key(settings), clock=clock),
        templates=templates,
        submission=submission,
        early_uploads=EarlyUploads(submission, filler),
        steering=steering,
        results=results,
        outcomes=Outcomes(database, catalog, clock=clock),
        routing=Routing(database, catalog, clock=clock),
        budget=Budget(database, ledger, clock=clock),
        conversations=Conversations(
            database,
            publisher,
            steering,
            key_limits,
            patience_s=settings.answer_within_s,
            clock=clock,
        ),
        files=Files(database, storage, results, max_bytes=settings.max_upload_bytes, clock=clock),
        file_batches=FileBatches(
            database,
            key_limits,
            webhook_allowed_cidrs=settings.webhook_allowed_cidrs,
            clock=clock,
        ),
        file_intake=FileIntake(
            database=database,
            storage=storage,
            filler=filler,
            templates=templates,
            key_limits=key_limits,
            known_models=frozenset(catalog.models),
            limits=limits,
            max_lines=settings.max_batch_lines,
            lease=timedelta(seconds=settings.lease_s),
            tracing=tracing,
            clock=clock,
        ),
        gauges=Gauges(database, client, publisher, posted, clock=clock),
        overview=Overview(
            database, client, publisher, posted, chunk_size=settings.chunk_size, clock=clock
        ),
        tracing=tracing,
    )
