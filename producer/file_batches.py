"""A batch made from an uploaded file, as OpenAI's API makes it: at once, and validated afterwards.

What is asked for is checked here; the file itself is read in the background (`file_intake`) by
whichever API process comes first. Creating is one transaction, so the batch and the work that is
owed to it exist together or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from producer.accounts.key_limits import KeyLimits
from producer.arrival import Arrival, Mark
from producer.files import BATCH_PURPOSE, checked_expiry
from producer.intake import fields
from producer.intake.refusal import Refusal
from producer.options import (
    MAX_NAME,
    MAX_URL,
    Allowance,
    metadata,
    optimise,
    pilot,
    priority,
    text,
    usd,
    window_of,
)
from producer.submitted import WebhookOfSubmission, webhook_again, webhook_of
from shared.catalog.spec import Catalog
from shared.db.engine import Connection, Database
from shared.db.repositories import batches, files, intakes
from shared.db.repositories.batches import BatchRow, NewBatch
from shared.domain.batch import Endpoint, Priority
from shared.domain.inference import Constraints, Preferences
from shared.errors import ConflictError, NotFoundError, UsageError
from shared.fault_points import FaultPoint, reach
from shared.ids import new_id
from shared.tracing import current_traceparent
from shared.webhooks import url_guard

RETRIED_WITHIN: Final = timedelta(seconds=60)
"""How long after a batch was made a repetition of its request is still that request."""

_REQUIRED: Final = ("input_file_id", "endpoint", "completion_window")
_KNOWN: Final = frozenset(
    {
        *_REQUIRED, "metadata", "output_expires_after", "max_cost_usd", "preferences",
        "constraints", "webhook_url", "priority", "partial", "name", "project", "deduplicate",
        "optimise", "pilot", "max_quality_loss",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileBatch:
    """What was asked for. `partial` runs a file's good lines although it has bad ones;
    `deduplicate` as the filler takes it.
    """

    input_file_id: str
    completion_window: str
    priority: Priority = Priority.BATCH
    partial: bool = False
    max_cost_nusd: int | None = None
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    output_expires_after_s: int | None = None
    preferences: Preferences | None = None
    constraints: Constraints = field(default_factory=Constraints)
    deduplicate: bool | None = None
    optimise: str | None = None
    pilot: bool = False
    max_quality_loss: float | None = None
    endpoint: Endpoint = Endpoint.CHAT

    def fingerprint(self) -> bytes:
        """What makes a request the same one."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    def intake_options(self) -> dict[str, Any]:
        """What the reading of the file needs to know."""
        return {
            "partial": self.partial,
            "preferences": None if self.preferences is None else asdict(self.preferences),
            "constraints": asdict(self.constraints),
            "deduplicate": self.deduplicate,
        }


@dataclass(frozen=True, slots=True)
class MadeBatch:
    """The batch, and the endpoint that will be told of its end."""

    batch: BatchRow
    webhook: WebhookOfSubmission | None = None


class FileBatches:
    """Makes batches from files. Thread-safe."""

    def __init__(
        self,
        database: Database,
        key_limits: KeyLimits,
        *,
        webhook_allowed_cidrs: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._key_limits = key_limits
        self._allowed_cidrs = webhook_allowed_cidrs
        self._clock = clock

    def create(
        self,
        wanted: FileBatch,
        project_id: str,
        arrival: Arrival,
        allowance: Allowance,
    ) -> MadeBatch:
        """Make the batch, or find the one that this very request has made before: under the same
        key, or, as a repetition, a minute ago; or, overtaken by its own repetition, meanwhile.

        Raises ConflictError (`idempotency_conflict`) for a key that was used for
        something else, NotFoundError for an unknown file, UsageError for a forbidden webhook.
        """
        mark = arrival.mark(wanted.fingerprint())
        with self._database.reading() as connection:
            earlier = self._earlier(connection, project_id, arrival, mark)
            if earlier is not None:
                return self._found(connection, earlier, wanted)
        self._key_limits.check_spend(allowance)
        if wanted.webhook_url is not None:
            url_guard.check(wanted.webhook_url, self._allowed_cidrs)
        with self._database.transaction() as connection:
            # Once more under the lock: the first request may have got there just now.
            batches.hold_content(connection, mark.first)
            earlier = self._earlier(connection, project_id, arrival, mark)
            if earlier is not None:
                return self._found(connection, earlier, wanted)
            try:
                return self._make(connection, wanted, project_id, arrival.key, mark, allowance)
            except ConflictError as error:
                earlier = self._earlier(connection, project_id, arrival, mark)
                if error.code != "idempotency_key_taken" or earlier is None:
                    raise
                return self._found(connection, earlier, wanted)

    def _make(
        self,
        connection: Connection,
        wanted: FileBatch,
        project_id: str,
        key: str | None,
        mark: Mark,
        allowance: Allowance,
    ) -> MadeBatch:
        now = self._clock()
        _check_file(connection, wanted.input_file_id, project_id, now)
        new = NewBatch(
            id=new_id("batch"),
            project_id=project_id,
            content_sha256=mark.own,
            priority=wanted.priority,
            completion_window=wanted.completion_window,
            created_at=now,
            expires_at=now + window_of(wanted.completion_window),
            idempotency_key=key,
            name=wanted.name,
            max_cost_nusd=wanted.max_cost_nusd,
            metadata=wanted.metadata,
            input_file_id=wanted.input_file_id,
            output_expires_after_s=wanted.output_expires_after_s,
            endpoint=wanted.endpoint,
            key_id=allowance.key_id,
            optimise=wanted.optimise,
            pilot=wanted.pilot,
            max_quality_loss=wanted.max_quality_loss,
            traceparent=current_traceparent(),
        )
        number = batches.create(connection, new)
        intakes.add(connection, number, wanted.input_file_id, wanted.intake_options())
        webhook = webhook_of(connection, project_id, wanted.webhook_url, wanted.name, now)
        batch = batches.by_number(connection, number)
        if batch is None:
            raise LookupError(f"batch {number} was just made")
        reach(FaultPoint.BEFORE_FILE_BATCH_COMMIT)
        return MadeBatch(batch, webhook)

    def _earlier(
        self, connection: Connection, project_id: str, arrival: Arrival, mark: Mark
    ) -> BatchRow | None:
        if arrival.key is None and not arrival.is_repetition:
            return batches.twin(connection, project_id, mark.again, since=arrival.at)
        if arrival.key is None:
            since = self._clock() - RETRIED_WITHIN
            return batches.twin(connection, project_id, mark.first, mark.again, since=since)
        batch = batches.by_idempotency_key(connection, project_id, arrival.key)
        if batch is not None and batch.content_sha256 != mark.first:
            raise ConflictError(
                "this key was used for another request: use a new one",
                code="idempotency_conflict",
                param="Idempotency-Key",
            )
        return batch

    def _found(self, connection: Connection, batch: BatchRow, wanted: FileBatch) -> MadeBatch:
        if wanted.webhook_url is None:
            return MadeBatch(batch)
        return MadeBatch(batch, webhook_again(connection, batch, wanted.webhook_url, self._clock()))


def read_file_batch(body: object, catalog: Catalog) -> FileBatch:
    """What the body of a request asks for; raises UsageError naming the field."""
    given = _object(body)
    for name in given:
        if name not in _KNOWN:
            raise UsageError(
                f"Unknown parameter: '{name[:64]}'.", code="unknown_parameter", param=name[:64]
            )
    for name in _REQUIRED:
        if given.get(name) is None:
            raise UsageError(
                f"Missing required parameter: '{name}'.",
                code="missing_required_parameter",
                param=name,
            )
    endpoint = _endpoint(_text(given, "endpoint"))
    window = _text(given, "completion_window") or ""
    window_of(window)
    cost = given.get("max_cost_usd")
    after = given.get("output_expires_after") or {}
    if not isinstance(after, dict):
        raise _wrong_type("output_expires_after", "an object of anchor and seconds")
    partial, deduplicate = _flag(given, "partial"), _flag(given, "deduplicate")
    weights, limits = _routing(given, catalog)
    cap = None if cost is None else usd(cost, "max_cost_usd")
    spread = optimise(_text(given, "optimise"), cap)
    loss = _share(given, "max_quality_loss")
    return FileBatch(
        input_file_id=_text(given, "input_file_id") or "",
        completion_window=window,
        priority=priority(_text(given, "priority")),
        partial=bool(partial),
        max_cost_nusd=cap,
        name=text(_text(given, "name"), "name", MAX_NAME),
        metadata=metadata(given.get("metadata")),
        webhook_url=text(_text(given, "webhook_url"), "webhook_url", MAX_URL),
        output_expires_after_s=checked_expiry(
            after.get("anchor"), after.get("seconds"), "output_expires_after"
        ),
        preferences=weights,
        constraints=limits,
        deduplicate=deduplicate,
        optimise=spread,
        pilot=pilot(_flag(given, "pilot"), loss, spread),
        max_quality_loss=loss,
        endpoint=endpoint,
    )


def named_project(body: object) -> str | None:
    """The project that a body names, for the admin key."""
    name = body.get("project") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _routing(given: Mapping[str, Any], catalog: Catalog) -> tuple[Preferences | None, Constraints]:
    weights, limits = given.get("preferences"), given.get("constraints")
    try:
        return (
            None if weights is None else fields.preferences(weights, "preferences"),
            Constraints()
            if limits is None
            else fields.constraints(limits, frozenset(catalog.models), "constraints"),
        )
    except Refusal as refusal:
        message = f"{refusal.field}: {refusal.message}"
        raise UsageError(message, code=refusal.code, param=refusal.field) from None


def _endpoint(named: str | None) -> Endpoint:
    try:
        return Endpoint(named or "")
    except ValueError:
        raise UsageError(
            f"batches of this endpoint are not supported; supported are {', '.join(Endpoint)}",
            code="unsupported_endpoint",
            param="endpoint",
        ) from None


def _check_file(connection: Connection, file_id: str, project_id: str, now: datetime) -> None:
    row = files.get(connection, file_id, project_id, now)
    if row is None:
        raise NotFoundError(
            "No such File object in this project.", code="file_not_found", param="input_file_id"
        )
    if row.purpose != BATCH_PURPOSE:
        raise UsageError(
            f"the file's purpose is {row.purpose}; upload it with the purpose {BATCH_PURPOSE}",
            code="invalid_file_purpose",
            param="input_file_id",
        )


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise UsageError("the body must be a JSON object", code="invalid_type")
    return body


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(name, "a string")
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong_type(name, "true or false")
    return value


def _share(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _wrong_type(name, "a number")
    return None if value is None else float(value)


def _wrong_type(name: str, wanted: str) -> UsageError:
    return UsageError(f"{name} must be {wanted}", code="invalid_type", param=name)
