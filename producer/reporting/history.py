"""Requests that have ended, newest first: a page of them, by filters, by what they say.

Nothing is kept for being searched: no index grows with each prompt, and intake pays nothing. A page
looks back through the newest requests for so long, and says how far it came where it is not full.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, takewhile
from time import monotonic
from typing import Any, Final

import orjson

from producer.cancellation import find
from shared.db.engine import Connection, Database
from shared.db.repositories import requests
from shared.db.repositories.requests import Span
from shared.domain.job import batch_number_of, job_id_of, line_of, parse_job_id, public_job_id
from shared.domain.money import usd_from_nusd
from shared.errors import UsageError

LONGEST_SEARCH: Final = 200
"""Characters."""
_LOOK_S: Final = 0.4
"""How long a page looks; what it has begun it ends."""
_CANDIDATES: Final = 200
_GROUP_BATCHES: Final = 500
_GROUP_JOBS: Final = 5000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests: values by names of `requests.FILTERS`; search: what stands in their prompt or
    custom_id, in capitals or not; batch_id: of this batch only; to: of batches made until this day
    in UTC (YYYY-MM-DD); after: the last id of the page before.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    search: str | None = None
    batch_id: str | None = None
    to: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page. after: the id after which the next one begins, None where there is no more; looked:
    about how many jobs it has looked through.
    """

    requests: Sequence[dict[str, Any]]
    after: str | None
    looked: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Jobs to be looked through at once, the last first, and the id below which the next part
    begins.
    """

    spans: Sequence[Span]
    jobs: int
    before: int


class History:
    """Reads only; `project_id` None means all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, project_id: str | None, wanted: Wanted, limit: int) -> Found:
        """At most `limit` requests; fewer where the time was over before they were found.

        Raises UsageError for what cannot be meant, NotFoundError for a batch the project has not.
        """
        until = monotonic() + _LOOK_S
        found: list[dict[str, Any]] = []
        looked = 0
        with self._database.reading() as connection:
            start = _start(connection, project_id, wanted)
            for part in _parts(connection, project_id, wanted, start):
                rows = _matching(connection, part.spans, wanted, limit - len(found))
                found += [_request(row) for row in rows]
                if len(found) == limit:
                    return Found(found, found[-1]["id"], looked)
                looked += part.jobs
                if monotonic() > until:
                    return Found(found, public_job_id(part.before), looked)
        return Found(found, None, looked)


def _start(connection: Connection, project_id: str | None, wanted: Wanted) -> int | None:
    """The id below which the page begins; None: the newest."""
    before = None
    if wanted.after is not None:
        before = parse_job_id(wanted.after)
        if before is None:
            raise UsageError("`after` is no job's id", code="invalid_value", param="after")
    if wanted.batch_id is not None:
        number = find(connection, wanted.batch_id, project_id).number
        end = job_id_of(number + 1, 0)
    elif wanted.to is not None:
        end = job_id_of(requests.last_before(connection, _end_of(wanted.to)) + 1, 0)
    else:
        return before
    return end if before is None else min(before, end)


def _end_of(day: str) -> datetime:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        raise UsageError(
            "`to` must be a date such as 2026-11-21", code="invalid_value", param="to"
        ) from None


def _parts(
    connection: Connection, project_id: str | None, wanted: Wanted, before: int | None
) -> Iterator[_Part]:
    """From `before` backwards, to the end of the batch where only one is meant."""
    splits = wanted.search is not None or bool(wanted.values)
    only = None if wanted.batch_id is None else batch_number_of((before or 1) - 1)
    while True:
        newest = None if before is None else batch_number_of(before - 1)
        if only is not None and newest != only:
            return
        count = _GROUP_BATCHES if only is None else 1
        rows = requests.newest_batches(connection, project_id, newest, count)
        if not rows:
            return
        part = _part([(row.number, row.total) for row in rows], before, splits=splits)
        yield part
        before = part.before


def _part(batches: Sequence[tuple[int, int]], before: int | None, *, splits: bool) -> _Part:
    """Of batches (number, jobs), the newest first: as many as hold few enough jobs together; of a
    larger one its last lines, where what is wanted may be far back (`splits`).
    """
    number, total = batches[0]
    end = job_id_of(number + 1, 0)
    if before is not None and before < end:
        end, total = before, min(total, line_of(before - 1))
    if splits and total > _GROUP_JOBS:
        first = job_id_of(number, total - _GROUP_JOBS + 1)
        return _Part([(first, end - 1)], _GROUP_JOBS, first)
    totals = list(accumulate([total, *(jobs for _, jobs in batches[1:])]))
    fitting = max(1, len(list(takewhile(lambda jobs: jobs <= _GROUP_JOBS, totals))))
    spans = _side_by_side([number for number, _ in batches[:fitting]])
    spans[0] = (spans[0][0], end - 1)
    return _Part(spans, totals[fitting - 1], spans[-1][0])


def _side_by_side(numbers: Sequence[int]) -> list[Span]:
    """The jobs of batches, given in falling order, in as few spans as their gaps allow."""
    runs: list[Span] = []
    for number in numbers:
        first, last = job_id_of(number, 0), job_id_of(number + 1, 0) - 1
        if runs and runs[-1][0] == last + 1:
            runs[-1] = (first, runs[-1][1])
        else:
            runs.append((first, last))
    return runs


def _matching(
    connection: Connection, spans: Sequence[Span], wanted: Wanted, limit: int
) -> Sequence[Any]:
    if wanted.search is None:
        return requests.ended(connection, spans, wanted=wanted.values, limit=limit)
    search = wanted.search.casefold()
    found: list[Any] = []
    while ids := requests.saying(connection, spans, wanted.search, _CANDIDATES):
        # The database finds it in the names of fields, too; here stays what says it.
        rows = requests.ended_of(connection, ids, wanted.values)
        found += [row for row in rows if _says(row, search)]
        if len(ids) < _CANDIDATES or len(found) >= limit:
            break
        spans = [(first, min(last, ids[-1] - 1)) for first, last in spans if first < ids[-1]]
    return found[:limit]


def _says(row: Any, search: str) -> bool:
    if search in (row.custom_id or "").casefold():
        return True
    request = orjson.loads(row.request or b"{}")
    asked = (request.get("messages"), request.get("embed"))
    return any(search in text.casefold() for text in _texts(asked))


def _texts(value: Any) -> Iterator[str]:
    """What is said in messages or inputs, their roles and kinds left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if name not in {"role", "type"}:
                yield from _texts(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part)


def _request(row: Any) -> dict[str, Any]:
    return {
        "id": public_job_id(row.job_id),
        "object": "request",
        "project": row.project_id,
        "batch_id": row.batch_id,
        "custom_id": row.custom_id,
        "line": line_of(row.job_id),
        "status": row.status,
        "model": row.model,
        "provider": row.provider,
        "tier": row.tier,
        "task_type": row.task_type,
        "difficulty": None if row.difficulty is None else row.difficulty / 1000,
        "attempts": row.attempts,
        "escalated": row.climbs > 0,
        "cached": bool(row.cached),
        **_money("cost", row.cost_nusd),
        **_money("saved", row.saved_nusd),
        "latency_ms": row.latency_ms,
        "ended_at": row.ended_at.isoformat(),
    }


def _money(name: str, nusd: int) -> dict[str, Any]:
    return {f"{name}_nusd": nusd, f"{name}_usd": usd_from_nusd(nusd)}
