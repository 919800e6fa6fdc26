"""What a submission comes to: its batch, its bad lines, its webhook; and how two are told apart."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from producer.filling import REJECTED_SHOWN
from producer.intake import RejectedLine
from producer.options import MAX_LABEL, Options
from producer.spool import Spool
from shared.db.engine import Connection
from shared.db.repositories import results, webhook_endpoints
from shared.db.repositories.batches import BatchRow
from shared.domain.job import line_of
from shared.errors import UsageError

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


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch into which an upload is read while it comes: `already` lines, those up to line
    `after`, are in.
    """

    id: str
    number: int
    webhook: WebhookOfSubmission | None = None
    already: int = 0
    after: int = 0


class BadLinesError(UsageError):
    """A strict submission has bad lines, so nothing was created."""

    code = "invalid_lines"

    def __init__(self, rejected: Sequence[RejectedLine], count: int) -> None:
        lines = "1 bad line" if count == 1 else f"{count} bad lines"
        super().__init__(f"the file has {lines}; with `strict` nothing of it runs")
        self.rejected = rejected
        self.rejected_count = count


def content_digest(file_sha256: str, options: Options) -> str:
    """What tells submissions under one key apart: the file's hash, or that of its beginning, with
    the options.
    """
    return hashlib.sha256(file_sha256.encode() + options.fingerprint()).hexdigest()


def is_the_same(batch: BatchRow, digest: str, spool: Spool, options: Options) -> bool:
    """Whether a batch is of this file, as far as is known of it."""
    if batch.content_bytes is not None:
        if batch.content_bytes > spool.size:
            return False
        digest = content_digest(spool.sha256_of_first(batch.content_bytes), options)
    return bool(batch.content_sha256 == digest)


def webhook_of(
    connection: Connection, project_id: str, url: str | None, name: str | None, now: datetime
) -> WebhookOfSubmission | None:
    """The project's endpoint with this URL, made where it is missing; the URL was checked."""
    if url is None:
        return None
    known = webhook_endpoints.find_by_url(connection, project_id, url)
    if known is not None:
        return WebhookOfSubmission(known.id)
    made, secret = webhook_endpoints.create(
        connection, project_id, url, (name or "submission")[:MAX_LABEL], None, now
    )
    return WebhookOfSubmission(made.id, secret)


def webhook_again(
    connection: Connection, batch: BatchRow, url: str | None, now: datetime
) -> WebhookOfSubmission | None:
    """The endpoint of a submission that is told once more, a minute long with the secret of one
    that it made: the first answer may have been lost on its way.
    """
    known = (
        None if url is None else webhook_endpoints.find_by_url(connection, batch.project_id, url)
    )
    if known is None:
        return None
    is_its_own = known.created_at == batch.created_at
    fresh = is_its_own and webhook_endpoints.is_untouched_since(known, now - TOLD_AGAIN_WITHIN)
    return WebhookOfSubmission(known.id, known.secret if fresh else None)


def stored_rejections(connection: Connection, batch: BatchRow) -> list[RejectedLine]:
    """The first bad lines of a batch, as the database keeps them."""
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
