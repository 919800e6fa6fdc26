"""Reading stored files into their batches, in the background of every API process.

A file is read by one process at a time, under a lease that is renewed as it goes on. First the
whole file is checked: one bad line fails the batch with the reasons, and nothing of it runs, unless
it was created with `partial`. Then its lines become jobs.

A process that is told to stop hands the file back; one that dies is succeeded when its lease is
over, after the last line that is in. A storage that does not answer is tried again.
Weakness: where no API process runs, no file is read.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from producer.accounts.key_limits import KeyLimits, TooManyTokensError, worst_case_tokens
from producer.accounts.templates import ProjectTemplates, TemplateShelf
from producer.filling import EndedMeanwhileError, Filler
from producer.intake import IntakeLimits, Line, RejectedLine, read_lines
from producer.intake.templates import no_templates
from producer.options import Allowance
from producer.storage import Storage
from shared.db.engine import Connection, Database
from shared.db.repositories import batch_moves, batches, intakes, jobs, key_use, projects
from shared.db.repositories.batches import BatchRow
from shared.db.repositories.intakes import IntakeRow
from shared.domain.batch import BatchStatus, Endpoint, Priority
from shared.domain.inference import Constraints, Preferences, Tier
from shared.errors import ConflictError, NotFoundError, UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.ids import claim_token
from shared.tracing import Tracing

log = structlog.get_logger(__name__)

ERRORS_SHOWN: Final = 100
_RENEWALS: Final = 4  # in the time of a lease
_AGAIN_AFTER: Final = timedelta(seconds=5)
_LINES_BETWEEN_LOOKS: Final = 256


class _ClaimLostError(Exception):
    """Another process reads the file by now."""


class _StoppedError(Exception):
    """This process was told to stop."""


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What lines take from their batch where they say nothing themselves."""

    preferences: Preferences | None
    constraints: Constraints

    def given_to(self, lines: Iterator[Line]) -> Iterator[Line]:
        """The lines, with the batch's where they have none of their own."""
        if self.preferences is None and self.constraints == Constraints():
            return lines
        return map(self._given, lines)

    def _given(self, line: Line) -> Line:
        if isinstance(line, RejectedLine):
            return line
        own = line.request
        weights = self.preferences if own.preferences is None else own.preferences
        limits = _filled(own.constraints, self.constraints)
        return line._replace(asked=replace(own, preferences=weights, constraints=limits))


@dataclass(frozen=True, slots=True)
class FileIntake:
    """Reads files. `run_once` may be called by several threads and processes at a time."""

    database: Database
    storage: Storage
    filler: Filler
    templates: TemplateShelf
    key_limits: KeyLimits
    known_models: frozenset[str]
    limits: IntakeLimits
    max_lines: int
    lease: timedelta
    tracing: Tracing | None
    clock: Callable[[], datetime]

    def run_once(self, stop: threading.Event) -> bool:
        """Read one file that nobody reads; False where there is none.

        `stop` is looked at while it reads: once it is set the file is handed back.
        """
        now = self.clock()
        with self.database.reading() as connection:
            if not intakes.any_due(connection, now):
                return False
        token = claim_token()
        with self.database.transaction() as connection:
            row = intakes.claim(connection, token, now, now + self.lease)
        if row is None:
            return False
        reach(FaultPoint.AFTER_INTAKE_CLAIM)
        _Reading(self, row, token, stop).run()
        return True


class _Reading:
    """One file read into its batch under one claim."""

    def __init__(
        self, parts: FileIntake, row: IntakeRow, token: str, stop: threading.Event
    ) -> None:
        self._parts = parts
        self._database = parts.database
        self._number: int = row.batch_number
        self._file_id: str = row.file_id
        self._is_partial: bool = row.options["partial"]
        self._deduplicate: bool | None = row.options.get("deduplicate")
        self._defaults = _defaults_of(row.options)
        self._templates: ProjectTemplates | None = None
        self._endpoint: Endpoint | None = None
        self._token = token
        self._stop = stop
        self._renewed_at = time.monotonic()

    def run(self) -> None:
        try:
            self._read()
        except _ClaimLostError:
            log.warning("another process reads the file", batch_number=self._number)
        except EndedMeanwhileError:
            self._finish()
        except _StoppedError:
            self._hand_back(None)
        except UnavailableError as error:
            log.warning("a file is read again later", reason=error.message, file=self._file_id)
            self._hand_back(self._parts.clock() + _AGAIN_AFTER)

    def _read(self) -> None:
        with self._database.reading() as connection:
            batch = batches.by_number(connection, self._number)
            done = jobs.last_line(connection, self._number)
        if batch is None or batch.status != BatchStatus.VALIDATING:
            self._finish()
            return
        if batch.expires_at <= self._parts.clock():
            self._fail(
                [_error("batch_expired", "The completion window ended before the file was read.")]
            )
            return
        self._templates = self._parts.templates.of(batch.project_id)
        self._endpoint = Endpoint(batch.endpoint)
        tracing = self._parts.tracing
        if tracing is None or batch.traceparent is None:
            self._take_in(batch, done)
            return
        traced = tracing.begin("intake", batch.traceparent, {"promptmill.batch.id": batch.id})
        with traced.as_current():
            self._take_in(batch, done)

    def _take_in(self, batch: BatchRow, done: int) -> None:
        try:
            errors = self._errors(batch) if not done else []
            if errors:
                self._fail(errors)
            else:
                self._fill(batch, done)
        except NotFoundError:
            message = "The input file is gone: it was deleted or has expired."
            self._fail([_error("input_file_gone", message)])

    def _errors(self, batch: BatchRow) -> list[dict[str, Any]]:
        """Why the batch fails, as OpenAI tells it; nothing where it runs."""
        allowance = self._allowance_of(batch)
        errors: list[dict[str, Any]] = []
        bad = total = tokens = 0
        for line in self._lines():
            total += 1
            if total > self._parts.max_lines:
                message = f"The file has more than {total - 1} lines; split it."
                return [_error("too_many_tasks", message)]
            if isinstance(line, RejectedLine):
                bad += 1
                if len(errors) < ERRORS_SHOWN:
                    errors.append(_error(line.code, line.message, line.field, line.line))
            elif allowance.tokens_per_day is not None:
                default = self._parts.key_limits.default_max_tokens
                tokens += worst_case_tokens(line.request, default)
        if not total:
            return [_error("empty_file", "The file has no lines.")]
        if not bad or (self._is_partial and bad < total):
            return self._counted(batch, allowance, tokens)
        if bad > len(errors):
            message = f"{bad - len(errors)} further lines are not valid either."
            errors.append(_error("more_errors", message))
        return errors

    def _allowance_of(self, batch: BatchRow) -> Allowance:
        if batch.key_id is None:
            return Allowance()
        with self._database.reading() as connection:
            key = projects.get_key(connection, batch.key_id)
        return Allowance(batch.key_id, None if key is None else key.tokens_per_day)

    def _counted(self, batch: BatchRow, allowance: Allowance, tokens: int) -> list[dict[str, Any]]:
        """Count the file against its API key's tokens of the day; why it fails, if it does."""
        if allowance.tokens_per_day is None:
            return []
        try:
            self._parts.key_limits.take_tokens(allowance, batch.id, tokens)
        except TooManyTokensError as error:
            return [_error(error.code, error.message)]
        with self._database.transaction() as connection:
            key_use.set_counted(connection, batch.number, tokens)
        return []

    def _fill(self, batch: BatchRow, done: int) -> None:
        self._parts.filler.fill(
            self._number,
            self._defaults.given_to(self._lines()),
            batch.project_id,
            Priority(batch.priority),
            already=batch.total,
            after=done,
            deduplicate=self._deduplicate,
            fence=self._hold,
            sealed=lambda connection: intakes.finish(connection, self._number),
        )
        self._finish()

    def _fail(self, errors: list[dict[str, Any]]) -> None:
        first = errors[0]
        try:
            with self._database.transaction() as connection:
                self._hold(connection)
                error = {**first, "data": errors}
                batch_moves.reject(connection, self._number, error, self._parts.clock())
                intakes.finish(connection, self._number)
        except ConflictError:
            self._finish()  # it was cancelled meanwhile

    def _lines(self) -> Iterator[Line]:
        parts = self._parts
        with parts.storage.reader(self._file_id) as content:
            blocks = parts.storage.blocks(content)
            lines = read_lines(
                blocks,
                parts.limits,
                parts.known_models,
                self._templates or no_templates,
                self._endpoint,
            )
            for count, line in enumerate(lines):
                if count % _LINES_BETWEEN_LOOKS == 0:
                    self._look_up()
                yield line

    def _look_up(self) -> None:
        """Stop where that was asked for; renew the lease in time."""
        if self._stop.is_set():
            raise _StoppedError
        held_s = time.monotonic() - self._renewed_at
        if held_s > self._parts.lease.total_seconds() / _RENEWALS:
            with self._database.transaction() as connection:
                self._hold(connection)
                batch = batches.by_number(connection, self._number)
            if batch is None or batch.status != BatchStatus.VALIDATING:
                raise EndedMeanwhileError

    def _hold(self, connection: Connection) -> None:
        until = self._parts.clock() + self._parts.lease
        if not intakes.renew(connection, self._number, self._token, until):
            raise _ClaimLostError
        self._renewed_at = time.monotonic()

    def _hand_back(self, due: datetime | None) -> None:
        with self._database.transaction() as connection:
            intakes.hand_back(connection, self._number, self._token, due)

    def _finish(self) -> None:
        with self._database.transaction() as connection:
            intakes.finish(connection, self._number)


def _error(
    code: str, message: str, param: str | None = None, line: int | None = None
) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}


def _defaults_of(options: Mapping[str, Any]) -> _Defaults:
    weights, limits = options["preferences"], dict(options["constraints"])
    if limits["allowed_models"] is not None:
        limits["allowed_models"] = tuple(limits["allowed_models"])
    if limits["min_tier"] is not None:
        limits["min_tier"] = Tier(limits["min_tier"])
    return _Defaults(None if weights is None else Preferences(**weights), Constraints(**limits))


def _filled(own: Constraints, batch: Constraints) -> Constraints:
    """A line's constraints with the batch's where the line has none."""

    def either(name: str) -> Any:
        value = getattr(own, name)
        return getattr(batch, name) if value is None else value

    return Constraints(
        either("max_cost_nusd"),
        either("max_latency_s"),
        either("allowed_models"),
        either("min_tier"),
    )
