"""Submission: a spooled file becomes a batch of jobs.

The order matters: what is wrong with the whole is refused before anything is created; a batch is
created before its first line is written and sealed after its last. A process that dies in between
leaves the batch `validating`, or `filling` where it runs already (`producer/early_upload.py`). The
same file sent again under the same key goes on after the last line that is in; otherwise the batch
closer ends it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from producer.accounts.key_limits import KeyLimits
from producer.accounts.templates import ProjectTemplates, TemplateShelf
from producer.filling import REJECTED_SHOWN, Filler, Taken
from producer.intake import IntakeLimits, Line, LineReader, RejectedLine, read_lines
from producer.options import Options, Start, window_of
from producer.spool import Spool
from producer.submitted import (
    BadLinesError,
    Begun,
    Submitted,
    WebhookOfSubmission,
    content_digest,
    is_the_same,
    stored_rejections,
    webhook_again,
    webhook_of,
)
from shared.catalog.spec import Catalog
from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, jobs
from shared.db.repositories.batches import BatchRow, NewBatch
from shared.domain.batch import TAKES_LINES, BatchStatus
from shared.errors import ConflictError, UnavailableError, UsageError
from shared.fault_points import FaultPoint, reach
from shared.ids import new_id
from shared.tracing import current_traceparent
from shared.webhooks import url_guard


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
        starts_after_lines: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._starts_after = starts_after_lines
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
        digest = content_digest(spool.sha256, options)
        earlier = self._earlier(options, digest, spool)
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
            earlier = self._earlier(options, digest, spool)
            if error.code != "idempotency_key_taken" or earlier is None:
                raise
            return earlier  # two submissions under one key at once: the other was first
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
        if batch.status not in TAKES_LINES:
            return earlier
        self._fill_on(batch, spool, options, digest)
        now = self._earlier(options, digest, spool)
        if now is None or (now.batch.status == BatchStatus.VALIDATING and now.batch.cancelled):
            raise UnavailableError("the upload under this key is being given up: send it again")
        return now

    def _fill_on(self, batch: BatchRow, spool: Spool, options: Options, digest: str) -> None:
        number = batch.number
        with self._database.reading() as connection:
            # Read after the count of lines: whoever adds one in between overtakes this one.
            done = jobs.last_line(connection, number)
        templates = self._templates.of(options.project_id)
        self._filler.fill(
            number,
            self._lines(spool, templates),
            batch.project_id,
            options.priority,
            already=batch.total,
            after=done,
            deduplicate=options.deduplicate,
            sealed=lambda connection: batches.note_content(connection, number, digest, None),
        )

    def _earlier(self, options: Options, digest: str, spool: Spool) -> Submitted | None:
        key = options.idempotency_key
        if key is None:
            return None
        with self._database.reading() as connection:
            batch = batches.by_idempotency_key(connection, options.project_id, key)
            if batch is None:
                return None
            if not is_the_same(batch, digest, spool, options):
                raise ConflictError(
                    "this key was used for another file or other options: use a new one",
                    code="idempotency_conflict",
                    param="Idempotency-Key",
                )
            if batch.error is not None and batch.content_bytes is not None:
                raise ConflictError(
                    f"the upload under this key ended after {batch.total} lines: {batch.id} "
                    "holds what was answered by then; use a new key to run the whole file again",
                    code=batch.error["code"],
                    param="Idempotency-Key",
                )
            bad = stored_rejections(connection, batch)
            webhook = webhook_again(connection, batch, options.webhook_url, self._clock())
        return Submitted(batch, bad, batch.rejected, webhook, replayed=True)

    def starts_after(self, options: Options) -> int | None:
        """After how many lines of an upload the first may run; None: when the last one is in.

        Raises UsageError where it is to begin early and cannot.
        """
        reason = None
        if options.strict:
            reason = "with `strict` the whole file is judged before anything of it runs"
        elif options.optimise is not None:
            reason = "a budget is spread over the whole file"
        elif options.pilot:
            reason = "the pilot's lines are chosen from the whole file"
        elif options.allowance.tokens_per_day is not None:
            reason = "this key has a limit of tokens a day, so the whole file is counted first"
        elif not self._starts_after:
            reason = "PROMPTMILL_INTAKE_STARTS_AFTER_LINES is 0 here"
        if reason is not None and options.start is Start.EARLY:
            raise UsageError(f"cannot start early: {reason}", code="invalid_value", param="start")
        return None if reason or options.start is Start.COMPLETE else self._starts_after

    def begin(self, spool: Spool, options: Options) -> Begun | None:
        """Make the batch of an upload of which only the first lines are there, or find the one
        that such an upload under the same key has left; None where too little was sent yet to
        tell whether that was of the same file.

        Raises what `submit` raises of the whole file, and ConflictError for a key whose batch is
        filled no more: so the end of the upload is to be waited for.
        """
        window = window_of(options.completion_window)
        if options.idempotency_key is not None:
            with self._database.reading() as connection:
                known = batches.by_idempotency_key(
                    connection, options.project_id, options.idempotency_key
                )
            if known is not None:
                return self._begun_before(known, spool, options)
        if options.webhook_url is not None:
            url_guard.check(options.webhook_url, self._allowed_cidrs)
        self._key_limits.check_spend(options.allowance)
        batch_id = new_id("batch")
        nothing = content_digest(hashlib.sha256().hexdigest(), options)
        number, webhook = self._create(batch_id, options, nothing, window, None, content_bytes=0)
        return Begun(batch_id, number, webhook)

    def _begun_before(self, batch: BatchRow, spool: Spool, options: Options) -> Begun | None:
        if batch.content_bytes is None or batch.status not in TAKES_LINES:
            raise ConflictError("the batch under this key is not filled by early uploads")
        if batch.content_bytes > spool.size:
            self.note_fed(batch.number)
            return None
        if not is_the_same(batch, "", spool, options):
            raise ConflictError("this key was used for another file or other options")
        with self._database.reading() as connection:
            # Read after the count of lines: whoever adds one in between overtakes this one.
            done = jobs.last_line(connection, batch.number)
        return Begun(batch.id, batch.number, None, batch.total, done)

    def filled(
        self, begun: Begun, spool: Spool, options: Options, digest: str, taken: Taken | None
    ) -> Submitted:
        """The batch of an upload that is complete. taken: what it wrote up to the seal; None: it
        stopped before, so what is missing is taken in now where the batch still takes lines.
        """
        batch = self._row(begun.number)
        if taken is None and options.idempotency_key is not None:
            return self.submit(spool, options)
        if taken is None and batch.status in TAKES_LINES:
            self._fill_on(batch, spool, options, digest)
            batch = self._row(begun.number)
        with self._database.reading() as connection:
            bad = stored_rejections(connection, batch)
        return Submitted(batch, bad, batch.rejected, begun.webhook, replayed=begun.already > 0)

    def lose(self, begun: Begun, lines: int, error: Mapping[str, Any]) -> None:
        """The rest of an upload will not come; raises ConflictError where others fill its batch."""
        with self._database.transaction() as connection:
            batch_moves.lose(connection, begun.number, lines, error, self._clock())

    def note_fed(self, number: int) -> None:
        """The batch's file is being sent, though no new line of it is in."""
        with self._database.transaction() as connection:
            batches.note_fed(connection, number, self._clock())

    def now(self) -> datetime:
        """The present moment."""
        return self._clock()

    def reader(self, options: Options) -> LineReader:
        """Reads the lines of a file that comes by and by."""
        templates = self._templates.of(options.project_id)
        return LineReader(self._limits, self._known_models, templates)

    def _row(self, number: int) -> BatchRow:
        with self._database.reading() as connection:
            batch = batches.by_number(connection, number)
        if batch is None:
            raise UnavailableError("the batch is gone: the database lost it")
        return batch

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
        content_bytes: int | None = None,
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
            content_bytes=content_bytes,
            optimise=options.optimise,
            pilot=options.pilot,
            max_quality_loss=options.max_quality_loss,
            traceparent=current_traceparent(),
        )
        with self._database.transaction() as connection:
            number = batches.create(connection, new)
            webhook = webhook_of(
                connection, options.project_id, options.webhook_url, options.name, now
            )
        reach(FaultPoint.AFTER_BATCH_ROW)
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
        batch = self._row(number)
        return Submitted(batch, taken.rejected, taken.rejected_count, webhook)
