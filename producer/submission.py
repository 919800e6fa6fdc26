"""Submission: a spooled file becomes a batch of jobs.

The order matters: what is wrong with the whole is refused before anything is created; a batch is
created before its first line is written and sealed after its last. A process that dies in between
leaves the batch `validating`. The same file sent again under the same key goes on after the last
line that is in; otherwise the batch closer ends it. Jobs run once the batch is sealed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from producer.filling import REJECTED_SHOWN, Filler
from producer.intake import IntakeLimits, Line, RejectedLine, read_lines
from producer.key_limits import KeyLimits
from producer.options import MAX_LABEL, Options, window_of
from producer.spool import Spool
from producer.templates import ProjectTemplates, TemplateShelf
from shared.catalog.spec import Catalog
from shared.db.engine import Connection, Database
from shared.db.repositories import batches, jobs, results, webhooks
from shared.db.repositories.batches import BatchRow, NewBatch
from shared.domain.batch import BatchStatus
from shared.domain.job import line_of
from shared.errors import ConflictError, UnavailableError, UsageError
from shared.fault_points import FaultPoint, reach
from shared.ids import new_id
from shared.webhooks import url_guard

TOLD_AGAIN_WITHIN: Final = timedelta(seconds=60)
"""How long a secret is told again to the request that made it."""


@dataclass(frozen=True, slots=True)
class WebhookOfSubmission:
    """The endpoint that will be told; its secret only where this submission made it."""

    id: str
    signing_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch as it stands after its submission, and its first 10,000 bad lines.

    replayed: nothing was created now, an earlier submission under the same key made it.
    """

    batch: BatchRow
    rejected: Sequence[RejectedLine]
    rejected_count: int
    webhook: WebhookOfSubmission | None = None
    replayed: bool = False


class BadLinesError(UsageError):
    """A strict submission has bad lines, so nothing was created."""

    code = "invalid_lines"

    def __init__(self, rejected: Sequence[RejectedLine], count: int) -> None:
        lines = "1 bad line" if count == 1 else f"{count} bad lines"
        super().__init__(f"the file has {lines}; with `strict` nothing of it runs")
        self.rejected = rejected
        self.rejected_count = count


class Submission:
    """Takes files in. Thread-safe: holds no state of a submission."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        filler: Filler,
        templates: TemplateShelf,
        key_limits: KeyLimits,
        *,
        limits: IntakeLimits,
        webhook_allowed_cidrs: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._known_models = frozenset(catalog.models)
        self._filler = filler
        self._templates = templates
        self._key_limits = key_limits
        self._limits = limits
        self._allowed_cidrs = webhook_allowed_cidrs
        self._clock = clock

    def submit(self, spool: Spool, options: Options) -> Submitted:
        """Make a batch of a spooled file, or find the one that was made under the same key.

        Raises UsageError for what is wrong with the whole (an empty file, options, a forbidden
        webhook address), BadLinesError where `strict` was asked for, ConflictError
        (`idempotency_conflict`) for a key that was used for something else, UnavailableError for
        one whose batch is being given up as lost right now; BudgetRefusedError and
        TooManyTokensError where the API key's own limits do not carry it.
        """
        window = window_of(options.completion_window)
        spool.rewind()
        reach(FaultPoint.AFTER_SPOOLING)
        digest = hashlib.sha256(spool.sha256.encode() + options.fingerprint()).hexdigest()
        earlier = self._earlier(options, digest)
        if earlier is not None:
            return self._carried_on(earlier, spool, options, digest)
        if options.webhook_url is not None:
            url_guard.check(options.webhook_url, self._allowed_cidrs)
        templates = self._templates.of(options.project_id)
        if options.strict:
            self._check_all(spool, templates)
        batch_id = new_id("batch")
        tokens = self._take_tokens(batch_id, spool, options, templates)
        try:
            number, webhook = self._create(batch_id, options, digest, window, tokens)
        except ConflictError as error:
            self._key_limits.release_tokens(options.allowance, batch_id)
            earlier = self._earlier(options, digest)
            if error.code != "idempotency_key_taken" or earlier is None:
                raise
            return earlier  # two submissions under one key at once: the other was first
        reach(FaultPoint.AFTER_BATCH_ROW)
        return self._fill(number, spool, options, webhook, templates)

    def _take_tokens(
        self, batch_id: str, spool: Spool, options: Options, templates: ProjectTemplates
    ) -> int | None:
        """Hold the submission against the limits of its API key; what was counted, if anything."""
        allowance = options.allowance
        self._key_limits.check_spend(allowance)
        if allowance.tokens_per_day is None:
            return None
        tokens = self._key_limits.worst_case_of(self._lines(spool, templates))
        self._key_limits.take_tokens(allowance, batch_id, tokens)
        return tokens

    def _carried_on(
        self, earlier: Submitted, spool: Spool, options: Options, digest: str
    ) -> Submitted:
        """Its upload may have died: take in what is missing. One that lives notices, and stops."""
        batch = earlier.batch
        if batch.status != BatchStatus.VALIDATING:
            return earlier
        with self._database.reading() as connection:
            # Read after the count of lines: whoever adds one in between overtakes this one.
            done = jobs.last_line(connection, batch.number)
        templates = self._templates.of(options.project_id)
        self._filler.fill(
            batch.number,
            self._lines(spool, templates),
            batch.project_id,
            options.priority,
            already=batch.total,
            after=done,
            deduplicate=options.deduplicate,
        )
        now = self._earlier(options, digest)
        if now is None or (now.batch.status == BatchStatus.VALIDATING and now.batch.cancelled):
            raise UnavailableError("the upload under this key is being given up: send it again")
        return now

    def _earlier(self, options: Options, digest: str) -> Submitted | None:
        key = options.idempotency_key
        if key is None:
            return None
        with self._database.reading() as connection:
            batch = batches.by_idempotency_key(connection, options.project_id, key)
            if batch is None:
                return None
            if batch.content_sha256 != digest:
                raise ConflictError(
                    "this key was used for another file or other options: use a new one",
                    code="idempotency_conflict",
                    param="Idempotency-Key",
                )
            bad = _stored_rejections(connection, batch)
            webhook = webhook_again(connection, batch, options.webhook_url, self._clock())
        return Submitted(batch, bad, batch.rejected, webhook, replayed=True)

    def _lines(self, spool: Spool, templates: ProjectTemplates) -> Iterator[Line]:
        spool.rewind()
        return read_lines(spool.file, self._limits, self._known_models, templates)

    def _check_all(self, spool: Spool, templates: ProjectTemplates) -> None:
        bad: list[RejectedLine] = []
        count = 0
        for line in self._lines(spool, templates):
            if isinstance(line, RejectedLine):
                count += 1
                if len(bad) < REJECTED_SHOWN:
                    bad.append(line)
        if count:
            raise BadLinesError(bad, count)

    def _create(
        self,
        batch_id: str,
        options: Options,
        digest: str,
        window: timedelta,
        counted_tokens: int | None,
    ) -> tuple[int, WebhookOfSubmission | None]:
        now = self._clock()
        new = NewBatch(
            id=batch_id,
            project_id=options.project_id,
            content_sha256=digest,
            priority=options.priority,
            completion_window=options.completion_window,
            created_at=now,
            expires_at=now + window,
            idempotency_key=options.idempotency_key,
            name=options.name,
            max_cost_nusd=options.max_cost_nusd,
            metadata=options.metadata,
            key_id=options.allowance.key_id,
            counted_tokens=counted_tokens,
        )
        with self._database.transaction() as connection:
            number = batches.create(connection, new)
            webhook = webhook_of(
                connection, options.project_id, options.webhook_url, options.name, now
            )
            return number, webhook

    def _fill(
        self,
        number: int,
        spool: Spool,
        options: Options,
        webhook: WebhookOfSubmission | None,
        templates: ProjectTemplates,
    ) -> Submitted:
        taken = self._filler.fill(
            number,
            self._lines(spool, templates),
            options.project_id,
            options.priority,
            deduplicate=options.deduplicate,
        )
        with self._database.reading() as connection:
            batch = batches.by_number(connection, number)
        if batch is None:
            raise UnavailableError("the batch is gone: the database lost it")
        return Submitted(batch, taken.rejected, taken.rejected_count, webhook)


def webhook_of(
    connection: Connection, project_id: str, url: str | None, name: str | None, now: datetime
) -> WebhookOfSubmission | None:
    """The project's endpoint with this URL, made where it is missing; the URL was checked."""
    if url is None:
        return None
    known = webhooks.find_by_url(connection, project_id, url)
    if known is not None:
        return WebhookOfSubmission(known.id)
    made, secret = webhooks.create_endpoint(
        connection, project_id, url, (name or "submission")[:MAX_LABEL], None, now
    )
    return WebhookOfSubmission(made.id, secret)


def webhook_again(
    connection: Connection, batch: BatchRow, url: str | None, now: datetime
) -> WebhookOfSubmission | None:
    """The endpoint of a submission that is told once more, a minute long with the secret of one
    that it made: the first answer may have been lost on its way.
    """
    known = None if url is None else webhooks.find_by_url(connection, batch.project_id, url)
    if known is None:
        return None
    is_its_own = known.created_at == batch.created_at
    fresh = is_its_own and webhooks.is_untouched_since(known, now - TOLD_AGAIN_WITHIN)
    return WebhookOfSubmission(known.id, known.secret if fresh else None)


def _stored_rejections(connection: Connection, batch: BatchRow) -> list[RejectedLine]:
    if not batch.rejected:
        return []
    return [
        RejectedLine(
            line_of(row.job_id),
            row.custom_id,
            row.error.get("field"),
            row.error["code"],
            row.error["message"],
        )
        for row in results.rejected(connection, batch.number, REJECTED_SHOWN)
    ]
